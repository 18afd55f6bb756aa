"""A recorded day played through the real duty machines in virtual time.

Readings, prices and the owner's words come from the recording; what follows from our own doing is made here: a miner
that was asked pauses after a second, and then hashes nothing and loads nothing; a worker that was told lets go after
a second. The recording says what the miner would do if nobody disturbed it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec.structs import replace

from potminer.base.errors import ConfigError
from potminer.core.duty.company import HOLDING, Company
from potminer.core.duty.duties import Duties
from potminer.core.duty.effects import Effect, FinishWork, Note, PauseMiner, ResumeMiner, StartWork, StopWork
from potminer.core.duty.events import (
    Ask,
    Event,
    FinishAsked,
    MinerReplied,
    Overridden,
    Sampled,
    WorkerReleased,
)
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import HOUR_MS, Parameters
from potminer.core.duty.state import Mode, Reason, State
from potminer.core.machine import Persist, SetTimer, TimerFired
from potminer.wire import trace
from potminer.wire.facts import GpuSample, MinerSample, Terms
from potminer.wire.trace import GAP_MS, LINE_BYTES, TRACE_BYTES, Lines, LookLine, RigLine, SaidLine, TraceDevice

LOOK_MS = 2_000
LOOK_TRAINING_MS = 1_000
ANSWER_MS = 1_000
AFTER_MS = 15 * 60_000
"""The day goes on a little after its last line, with the owner's OFF: is everything given back?"""
_MILLION = 1_000_000


# ---- what is told ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """A device entered *state*, or its *reasons* changed."""

    at_ms: int
    bus: str
    state: State
    reasons: tuple[Reason, ...]


@dataclass(slots=True)
class Account:
    """What became of one device. Times in ms, money in millionths, None where a price or a power was not known."""

    bus: str
    in_state: dict[State, int] = field(default_factory=dict)
    switches: int = 0
    runs: int = 0
    mining_ms: int = 0
    """How long its miner earned, or would have."""
    lost_ms: int = 0
    """How much of that it did not, because of us."""
    training_micro: int | None = 0
    mining_micro: int | None = 0
    """Of training and of mining, each net of power, as it came about."""
    undisturbed_micro: int | None = 0
    """What mining alone would have earned."""


@dataclass(frozen=True, slots=True)
class Played:
    moments: tuple[Moment, ...]
    accounts: tuple[Account, ...]
    from_ms: int
    to_ms: int
    violations: tuple[str, ...]
    """Of what must never happen: two owners, more switches than allowed, a miner not given back."""


# ---- reading -----------------------------------------------------------------------------


def read_trace(path: Path) -> list[Lines]:
    """All lines of the recording; ConfigError names the first that is none."""
    lines: list[Lines] = []
    decoder = msgspec.json.Decoder(Lines)
    last = 0
    for number, text in enumerate(_texts(path), 1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise ConfigError(f"{path}: line {number}: {error}", "docs/spec/duty.md, section 10.") from error
        if isinstance(line, RigLine) != (not lines):
            raise ConfigError(f"{path}: line {number}: the first line, and no other, names the rig")
        if not isinstance(line, RigLine):
            if line.at_ms < last:
                raise ConfigError(f"{path}: line {number}: time runs backwards")
            last = line.at_ms
        lines.append(line)
    if len(lines) < 2:
        raise ConfigError(f"{path}: nothing was recorded")
    return lines


def _texts(path: Path) -> Iterator[bytes]:
    try:
        if path.stat().st_size > TRACE_BYTES:
            raise ConfigError(f"{path} is longer than {TRACE_BYTES:,} bytes")
        with path.open("rb") as file:
            while text := file.readline(LINE_BYTES + 1):
                if len(text) > LINE_BYTES:
                    raise ConfigError(f"{path}: a line is longer than {LINE_BYTES:,} bytes")
                yield text
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or type(error).__name__}") from error


def parameters_of(rig: RigLine, **changes: object) -> Parameters:
    try:
        return msgspec.convert({**rig.parameters, **changes}, Parameters)
    except (msgspec.ValidationError, AssertionError) as error:
        raise ConfigError(f"the recording's parameters of duty: {error}") from error


# ---- playing -----------------------------------------------------------------------------


class Player:
    """One recording, once. ``play`` returns what happened."""

    def __init__(self, lines: Sequence[Lines], parameters: Parameters) -> None:
        rig = lines[0]
        if not isinstance(rig, RigLine):
            raise AssertionError("a recording begins with its rig")
        self._parameters = parameters
        self._rig = rig
        self._lines = [line for line in lines[1:] if not isinstance(line, RigLine)]
        self._kin = {device.bus: device for device in rig.devices}
        self._duties = Duties(self._devices(rig.devices))
        self._accounts = {device.bus: Account(device.bus) for device in rig.devices}
        self._paused: set[str] = set()  # devices on which the miner rests because of us
        self._working: dict[str, int] = {}
        self._free_will: dict[str, trace.TraceMiner] = {}
        self._soon: list[tuple[int, int, str, Event]] = []
        self._count = 0
        self._timers: dict[str, int] = {}
        self._moments: list[Moment] = []
        self._switched: dict[str, list[int]] = {bus: [] for bus in self._kin}
        self._violations: list[str] = []
        self._journal: set[bytes] = set()
        self._look: LookLine | None = None
        self._now = 0

    def _devices(self, devices: Iterable[TraceDevice]) -> list[Device]:
        companies = {device.miner: Company() for device in devices if device.miner and not device.single}
        return [
            Device(
                bus=each.bus, has_miner=bool(each.miner), parameters=self._parameters,
                company=companies.get(each.miner),
            )
            for each in devices
        ]

    def play(self) -> Played:
        begun = self._now = self._lines[0].at_ms
        for line in self._lines:
            self._live_until(line.at_ms)
            if isinstance(line, LookLine):
                self._look = line
                self._remember(line)
                self._sample()
            else:
                self._say(line)
        ended, moments = self._now, len(self._moments)
        accounts = tuple(self._accounts.values())
        self._accounts = {bus: Account(bus) for bus in self._kin}
        self._settle()
        return Played(tuple(self._moments[:moments]), accounts, begun, ended, tuple(self._violations))

    def _settle(self) -> None:
        """The owner ends the day: nothing of ours may stay."""
        for bus in self._kin:
            self._tell(bus, Overridden(Mode.OFF))
        end = self._now + AFTER_MS
        while self._now < end:
            self._look = None if self._look is None else replace(self._look, at_ms=self._now)
            self._live_until(min(end, self._now + GAP_MS // 2))
        for bus in sorted(self._working):
            self._violations.append(f"{bus}: a worker was left")
        for bus in sorted(self._paused):
            if self._miner_of(bus) is not None and self._alive(bus):
                self._violations.append(f"{bus}: its miner was not given back")

    # ---- time -----------------------------------------------------------------------------

    def _live_until(self, end: int) -> None:
        while self._now < end:
            step = LOOK_TRAINING_MS if self._working else LOOK_MS
            self._pass(min(end, self._now + step))
            if self._now < end:
                self._sample()

    def _pass(self, until: int) -> None:
        """Answers and timers that are due, each at its moment."""
        while True:
            due = min([*self._timers.values(), *(at for at, *_ in self._soon[:1])], default=until + 1)
            if due > until:
                break
            self._advance(due)
            for name in [name for name, at in self._timers.items() if at <= due]:
                del self._timers[name]
                self._tell(name.partition("/")[2], TimerFired(name))
            while self._soon and self._soon[0][0] <= due:
                _, _, bus, event = heapq.heappop(self._soon)
                self._arrive(bus, event)
        self._advance(until)

    def _advance(self, to: int) -> None:
        """Count what happened between now and *to*; states do not change in between."""
        passed = max(0, to - self._now)
        for bus, account in self._accounts.items():
            device = self._duties.devices[bus]
            account.in_state[device.state] = account.in_state.get(device.state, 0) + passed
            self._count_money(account, device.state, passed)
        self._now = max(self._now, to)

    def _count_money(self, account: Account, state: State, passed: int) -> None:
        bus = account.bus
        gpu, terms = self._gpu(bus), self._terms(bus) or Terms()
        known = gpu is not None and gpu.power_mw is not None and terms.kwh is not None
        cost = (gpu.power_mw or 0) * (terms.kwh or 0) // _MILLION if gpu is not None and known else None
        if self._would_earn(bus):
            account.mining_ms += passed
            earned = _earned(terms.mine_h, cost, passed)
            account.undisturbed_micro = _plus(account.undisturbed_micro, earned)
            if bus in self._paused or state in HOLDING:
                account.lost_ms += passed
            else:
                account.mining_micro = _plus(account.mining_micro, earned)
        if state is State.TRAINING:
            account.training_micro = _plus(account.training_micro, _earned(terms.pay_h, cost, passed))

    # ---- the rig --------------------------------------------------------------------------

    def _sample(self) -> None:
        look = self._look
        if look is None or self._now - look.at_ms > GAP_MS:
            return  # nobody looked: the machines are blind
        host = trace.host_sample(look.host, self._now)
        for bus in self._kin:
            self._tell(bus, Sampled(host, self._gpu(bus), self._miner_now(bus), self._terms(bus)))

    def _gpu(self, bus: str) -> GpuSample | None:
        gpus = () if self._look is None else self._look.gpus
        found = next((trace.gpu_sample(gpu, self._now) for gpu in gpus if gpu.bus == bus), None)
        if found is not None and bus in self._paused and self._would_earn(bus):
            return replace(found, foreign_utilisation_ppm=0)  # what loads it in the recording is the miner
        return found

    def _terms(self, bus: str) -> Terms | None:
        return None if self._look is None else trace.terms_of(self._look.terms, bus)

    def _miner_of(self, bus: str) -> trace.TraceMiner | None:
        """What the recording says of the miner, or said before potminer disturbed it."""
        return self._free_will.get(self._kin[bus].miner)

    def _alive(self, bus: str) -> bool:
        miner = self._miner_of(bus)
        return miner is not None and miner.alive

    def _would_earn(self, bus: str) -> bool:
        miner = self._miner_of(bus)
        if miner is None or not miner.alive or miner.paused:
            return False
        own = next((gpu for gpu in miner.gpus if gpu.bus == bus), None)
        return bool(miner.hashrate_hs if own is None else own.hashrate_hs and not own.paused)

    def _remember(self, look: LookLine) -> None:
        for miner in look.miners:
            users = [device.bus for device in self._rig.devices if device.miner == miner.name]
            if not miner.alive:
                self._paused.difference_update(users)  # a program that ended forgets that it was paused
            if not (set(users) & set(look.held) and miner.alive) or miner.name not in self._free_will:
                self._free_will[miner.name] = miner

    def _miner_now(self, bus: str) -> MinerSample | None:
        """What the miner would say with our doing added."""
        kin, miner = self._kin[bus], self._miner_of(bus)
        if miner is None or self._look is None or all(each.name != miner.name for each in self._look.miners):
            return None
        sample = trace.miner_sample(miner, self._now)
        if not miner.alive or not self._paused:
            return sample
        if kin.single:
            gpus = tuple(
                replace(gpu, paused=True, hashrate_hs=0) if gpu.bus in self._paused else gpu for gpu in sample.gpus
            )
            return replace(sample, gpus=gpus)
        return replace(sample, paused=True, hashrate_hs=None) if bus in self._paused else sample

    # ---- events and effects ---------------------------------------------------------------

    def _say(self, line: SaidLine) -> None:
        until = None if line.for_ms is None else self._now + line.for_ms
        for bus in self._kin:
            if line.device in (None, bus):
                self._tell(bus, FinishAsked() if line.finish else Overridden(Mode(line.mode.value), until))

    def _arrive(self, bus: str, event: Event) -> None:
        if isinstance(event, MinerReplied):
            users = {bus} if self._kin[bus].single else self._users(bus)
            if not self._alive(bus):
                event = MinerReplied(event.ask, False)
            elif event.ask is Ask.PAUSE:
                self._paused |= users
            else:
                self._paused -= users
                self._must_be_free(users)
        if isinstance(event, WorkerReleased):
            self._working.pop(bus, None)
        self._tell(bus, event)

    def _users(self, bus: str) -> set[str]:
        return {device.bus for device in self._rig.devices if device.miner == self._kin[bus].miner}

    def _must_be_free(self, buses: Iterable[str]) -> None:
        for bus in buses:
            if bus in self._working:
                self._violations.append(f"{bus} at {self._now}: two owners")

    def _tell(self, bus: str, event: Event) -> None:
        before = {each: device.state in HOLDING for each, device in self._duties.devices.items()}
        for effect in self._duties.handle(bus, event, self._now):
            self._perform(effect)
        for each, device in self._duties.devices.items():
            if before[each] != (device.state in HOLDING):
                self._count_switch(each)

    def _count_switch(self, bus: str) -> None:
        self._accounts[bus].switches += 1
        times = self._switched[bus]
        times.append(self._now)
        cap = self._parameters.switches_per_hour
        if len(times) > cap and times[-1] - times[-1 - cap] < HOUR_MS:
            self._violations.append(f"{bus} at {self._now}: more than {cap} switches in an hour")

    def _later(self, bus: str, event: Event, after_ms: int = ANSWER_MS) -> None:
        self._count += 1
        heapq.heappush(self._soon, (self._now + after_ms, self._count, bus, event))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case StartWork(bus, run):
                self._accounts[bus].runs += 1
                if self._alive(bus) and self._miner_runs(bus):
                    self._violations.append(f"{bus} at {self._now}: two owners")
                self._working[bus] = run
            case StopWork(bus, run, _) | FinishWork(bus, run):
                self._later(bus, WorkerReleased(run))
            case PauseMiner(bus):
                if self._duties.devices[bus].key not in self._journal:
                    self._violations.append(f"{bus} at {self._now}: the miner was asked before it was written down")
                self._later(bus, MinerReplied(Ask.PAUSE, True))
            case ResumeMiner(bus):
                self._later(bus, MinerReplied(Ask.RESUME, True))
            case Persist(key, value):
                (self._journal.discard if value is None else self._journal.add)(key)
            case SetTimer(name, delay_ms):
                self._timers[name] = self._now + delay_ms
            case Note(bus, state, reasons):
                self._moments.append(Moment(self._now, bus, state, tuple(sorted(reasons))))

    def _miner_runs(self, bus: str) -> bool:
        miner = self._miner_of(bus)
        return miner is not None and miner.alive and not miner.paused and bus not in self._paused


def _earned(pay_h: int | None, cost_h: int | None, passed_ms: int) -> int | None:
    return None if pay_h is None or cost_h is None else (pay_h - cost_h) * passed_ms


def _plus(total: int | None, part: int | None) -> int | None:
    return None if total is None or part is None else total + part


def play(lines: Sequence[Lines], parameters: Parameters) -> Played:
    """The day as duty would have it; money in millionths."""
    played = Player(lines, parameters).play()
    for account in played.accounts:
        for name in ("training_micro", "mining_micro", "undisturbed_micro"):
            value = getattr(account, name)
            setattr(account, name, None if value is None else value // HOUR_MS)
    return played
