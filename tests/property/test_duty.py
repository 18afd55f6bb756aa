"""A device against a rig with a will of its own: thousands of random days, always the same rules.

A failure prints the seed; ``run_trace(seed)`` replays it.
"""

from __future__ import annotations

import random
from collections import deque

import pytest

from potminer.core.duty.effects import Effect, PauseMiner, ResumeMiner, StartWork, StopWork
from potminer.core.duty.events import (
    Ask,
    Event,
    JournalRestored,
    MinerReplied,
    Overridden,
    Sampled,
    WorkerFailed,
    WorkerReleased,
)
from potminer.core.duty.machine import Device
from potminer.core.duty.parameters import HOUR_MS, Parameters
from potminer.core.duty.state import Mode, Policy, State
from potminer.core.duty.steady import Steady
from potminer.core.machine import Persist, SetTimer, TimerFired
from potminer.wire.facts import CPU, GpuSample, HostSample, MinerSample

GIB = 1024**3
OURS = (State.RELEASING, State.VERIFYING, State.TRAINING, State.DRAINING)
OVERRIDES = (Mode.AUTO, Mode.AUTO, Mode.MINE, Mode.TRAIN, Mode.OFF)


class Miner:
    """A real one: it pauses when asked (if it likes), dies, comes back, and is touched by its owner."""

    def __init__(self, rng: random.Random) -> None:
        self.alive = rng.random() < 0.9
        self.paused_by = "owner" if rng.random() < 0.2 else ""
        self.rate = rng.choice([0, 0, 1_000])

    def obey(self, ask: Ask) -> None:
        if ask is Ask.RESUME:
            self.paused_by = ""
        elif not self.paused_by:
            self.paused_by = "us"

    @property
    def uses_device(self) -> bool:
        return self.alive and not self.paused_by


class Rig:
    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.seed = seed
        self.bus = rng.choice([CPU, "0000:01:00.0"])
        policy = rng.choice([Policy.IDLE_ONLY, Policy.IDLE_ONLY, Policy.ALWAYS])
        self.parameters = Parameters(policy=policy, switches_per_hour=rng.choice([2, 4, 5]))
        self.miner = Miner(rng) if rng.random() < 0.7 else None
        self.display = rng.choice([True, False, None])
        self.away, self.load, self.milli_c = True, 0, 50_000
        self.now = 10 * HOUR_MS
        self.disk: dict[bytes, bytes] = {}
        self.asks: deque[Ask] = deque()
        self.boot()

    def boot(self) -> None:
        """A fresh process: no worker, no memory, only the disk."""
        self.device = Device(bus=self.bus, has_miner=self.miner is not None, parameters=self.parameters)
        self.steady = Steady()
        self.working: int | None = None
        self.stuck = False
        self.asks.clear()
        self.timer_at: int | None = None
        self.last_miner: MinerSample | None = None
        self.switches: deque[int] = deque()
        if (value := self.disk.get(self.device.key)) is not None:
            self.tell(JournalRestored(value))

    # ---- the rules -------------------------------------------------------------------------

    def tell(self, event: Event, *, crash_after: int | None = None) -> list[Effect]:
        before = self.device.state
        self.steady.tick(self.now)
        effects = self.device.handle(event, self.now)
        for count, effect in enumerate(effects):
            if count == crash_after:
                self.boot()
                return effects
            self.perform(effect)
        self.count_switches(before, self.device.state)
        return effects

    def perform(self, effect: Effect) -> None:
        match effect:
            case Persist(key, None):
                self.disk.pop(key, None)
            case Persist(key, value):
                assert value is not None
                self.disk[key] = value
            case PauseMiner():
                assert self.device.key in self.disk, "the journal is written before the miner is touched"
                self.asks.append(Ask.PAUSE)
            case ResumeMiner():
                assert self.working is None, "two owners: the miner resumed beside our work"
                assert self.device.key in self.disk, "only a miner that we paused is resumed"
                self.asks.append(Ask.RESUME)
            case StartWork(_, run):
                assert self.working is None, "two workers on one device"
                assert self.miner is None or self.verified_free(), "two owners: work beside an unverified miner"
                self.working, self.stuck = run, self.rng.random() < 0.1
            case StopWork(_, run, deadline_ms):
                assert run == self.working
                self.stuck = self.stuck and deadline_ms > 0
            case SetTimer(_, delay_ms):
                assert delay_ms > 0
                self.timer_at = self.now + delay_ms
            case _:
                pass

    def verified_free(self) -> bool:
        return self.last_miner is not None and (not self.last_miner.alive or self.last_miner.paused is True)

    def count_switches(self, before: State, after: State) -> None:
        if (before in OURS) == (after in OURS):
            return
        at = self.steady.now
        self.switches.append(at)
        while self.switches[0] <= at - HOUR_MS:
            self.switches.popleft()
        assert len(self.switches) <= self.parameters.switches_per_hour

    def look(self) -> list[Effect]:
        idle = 600_000 if self.away else 100
        load = 0 if self.away else self.load
        gpu = None
        if self.bus != CPU and self.rng.random() < 0.98:
            gpu = GpuSample(
                self.bus, "card", GIB, 8 * GIB, None, load, self.milli_c, None, None, self.display, self.now
            )
        miner = None if self.miner is None or self.rng.random() < 0.03 else self.miner_sample(self.miner)
        before, mode = self.device.state, self.device.status(self.now).mode
        effects = self.tell(Sampled(HostSample(load, None, None, False, idle, True, self.now), gpu, miner))
        mode_now = self.device.status(self.now).mode
        returned = load >= 500_000 or (self.bus != CPU and self.display is not False and not self.away)
        if before is State.TRAINING and returned and mode is mode_now is Mode.AUTO:
            waits = self.parameters.policy is Policy.IDLE_ONLY
            assert not waits or any(isinstance(e, StopWork) for e in effects), "the owner returned"
        if before is State.TRAINING and miner is not None and miner.alive and not miner.paused:
            assert any(isinstance(e, StopWork) for e in effects), "the miner runs beside our work"
        return effects

    def miner_sample(self, miner: Miner) -> MinerSample:
        taken = self.now - self.rng.choice([0, 0, 500])
        rate = miner.rate if miner.uses_device else None
        paused = bool(miner.paused_by) if miner.alive else None
        self.last_miner = MinerSample("xmrig", "xmrig", "6", miner.alive, paused, rate, 1, 0, 0, False, (), taken)
        return self.last_miner

    # ---- the world's will ------------------------------------------------------------------

    def live(self) -> None:
        rng = self.rng
        self.now += rng.choice([500, 2_000, 2_000, 2_000, 5_000])
        draw = rng.random()
        if draw < 0.55:
            for _ in range(rng.choice([1, 3, 40])):
                self.now += 2_000
                self.pass_time()
                self.look()
        elif draw < 0.65:
            self.away = not self.away
            self.load = rng.choice([0, 150_000, 900_000])
        elif draw < 0.72:
            until = rng.choice([None, self.now + rng.choice([1_000, 600_000])])
            self.tell(Overridden(rng.choice(OVERRIDES), until))
        elif draw < 0.78 and self.miner is not None:
            self.touch_miner(self.miner)
        elif draw < 0.82:
            self.milli_c = rng.choice([50_000, 80_000, 90_000])
        elif draw < 0.86:
            self.now += rng.choice([-HOUR_MS, -5_000, 60_000, HOUR_MS])
        elif draw < 0.90 and self.working is not None:
            run, self.working = self.working, None
            self.tell(WorkerFailed(run))
        elif draw < 0.94:
            self.look_and_crash()
        self.pass_time()

    def touch_miner(self, miner: Miner) -> None:
        match self.rng.randrange(4):
            case 0:
                miner.rate = self.rng.choice([0, 1_000, 1_000])
            case 1:
                miner.alive = not miner.alive
                miner.paused_by = ""
            case 2:
                miner.paused_by = miner.paused_by or "owner"
            case _:
                miner.paused_by = ""

    def pass_time(self) -> None:
        """Answers arrive, in order; timers fire."""
        while self.asks and self.rng.random() < 0.8:
            ask = self.asks.popleft()
            heeded = self.miner is not None and self.miner.alive and self.rng.random() < 0.9
            if heeded and self.miner is not None:
                self.miner.obey(ask)
            self.tell(MinerReplied(ask, ok=heeded and self.rng.random() < 0.95))
        if self.device.state is State.DRAINING and self.working is not None and not self.stuck:
            run, self.working = self.working, None
            self.tell(WorkerReleased(run))
        if self.timer_at is not None and self.now >= self.timer_at:
            self.timer_at = None
            self.tell(TimerFired(self.device.timer))

    def look_and_crash(self) -> None:
        """The power goes somewhere in the list of effects."""
        gpu = None if self.bus == CPU else GpuSample(
            self.bus, "card", GIB, 8 * GIB, None, 0, 50_000, None, None, False, self.now
        )
        miner = None if self.miner is None else self.miner_sample(self.miner)
        event = Sampled(HostSample(0, None, None, False, 600_000, False, self.now), gpu, miner)
        self.tell(event, crash_after=self.rng.randrange(3))
        if self.rng.random() < 0.5:
            self.boot()

    def settle(self) -> None:
        """The owner says off, everything works: in the end nothing of ours is left."""
        if self.rng.random() < 0.5:
            self.boot()
        self.tell(Overridden(Mode.OFF))
        self.stuck = False
        for _ in range(600):
            self.now += 2_000
            self.pass_time()
            self.look()
            if self.device.state is State.OFF and not self.asks:
                break
        assert self.device.state is State.OFF
        assert self.working is None
        assert self.miner is None or self.miner.paused_by != "us" or not self.miner.alive, "the miner stays paused"


def run_trace(seed: int) -> int:
    """Number of runs of work that the trace saw."""
    rig = Rig(seed)
    runs = 0
    for _ in range(30):
        working = rig.working
        rig.live()
        runs += rig.working is not None and rig.working != working
    rig.settle()
    return runs


@pytest.mark.parametrize("block", range(6))
def test_rules_hold_on_random_days(block: int) -> None:
    runs = 0
    for seed in range(block * 200, (block + 1) * 200):
        try:
            runs += run_trace(seed)
        except AssertionError as error:
            raise AssertionError(f"run_trace({seed}): {error}") from error
    assert runs > 100, "traces that never train prove nothing"


class PowerCut(Exception):
    pass


class FrailRig(Rig):
    """One device lent by an idling miner; the power goes after *crash_at* effects that matter."""

    def __init__(self, crash_at: int) -> None:
        self.left = crash_at
        super().__init__(0)
        self.bus, self.display, self.parameters = CPU, False, Parameters()
        self.away, self.load = True, 0
        self.miner = Miner(self.rng)
        self.miner.alive, self.miner.paused_by, self.miner.rate = True, "", 0
        self.disk.clear()
        self.boot()

    def perform(self, effect: Effect) -> None:
        super().perform(effect)
        if not isinstance(effect, SetTimer):
            self.left -= 1
            if self.left == 0:
                raise PowerCut


def test_a_power_cut_after_any_effect_gives_the_miner_back() -> None:
    cuts = 0
    for crash_at in range(1, 40):
        rig = FrailRig(crash_at)
        try:
            for _ in range(2_000):
                rig.now += 2_000
                rig.pass_time()
                rig.look()
        except PowerCut:
            cuts += 1
            rig.boot()
        rig.left = 0
        rig.settle()
    assert cuts > 15
