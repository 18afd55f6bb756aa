"""The rig: looks at it, lets duty decide for every device, and keeps the workers that duty allows.

A validator has no duty: its worker starts when there is something to judge or to aggregate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from potminer.base.errors import UsageError
from potminer.core.duty import events as duty
from potminer.core.duty.duties import Duties
from potminer.core.duty.effects import FinishWork, Note, PauseMiner, ResumeMiner, StartWork, StopWork
from potminer.core.duty.entry import PREFIX as DUTY_PREFIX
from potminer.core.duty.entry import promises
from potminer.core.duty.events import (
    Ask,
    FinishAsked,
    KernelsChecked,
    MinerReplied,
    Overridden,
    Sampled,
    WorkerFailed,
    WorkerReleased,
)
from potminer.core.duty.machine import Device
from potminer.core.duty.state import Mode as DutyMode
from potminer.core.duty.state import State
from potminer.core.machine import Persist, SetTimer, TimerFired
from potminer.node.crew import Crew, CrewHands
from potminer.node.energy import Meter
from potminer.node.recorder import Recorder
from potminer.node.rigview import device_view, miner_view
from potminer.node.terms import Market
from potminer.wire.control import ControlView, DeviceView, MinerView, Mode
from potminer.wire.facts import CPU, GpuSample, MinerSample, RigSample, Terms
from potminer.wire.task import Unit
from potminer.wire.trace import SaidLine
from potminer.wire.trainer import Job, Report
from potminer.world.child import Launch
from potminer.world.rig.look import Look
from potminer.world.rig.miners.interface import MinerAdapter, MinerError
from potminer.world.rig.miners.process import ProcessMiner

POLL_S = 2.0
RESUME_AGAIN_S = 30.0
POLL_TRAINING_S = 1.0
"""The owner waits for us at most this long and the stop itself: two seconds in all."""


@dataclass(frozen=True, slots=True)
class RigHands:
    """What the rig tells the node. *persist* is durable when it returns. *may_train* hears how many workers take
    jobs, and whether some are to end after the one they have. *kernels* tells whether the installed torch has
    kernels for the cards of these architectures; it may take a minute."""

    clock: Callable[[], int]
    persist: Callable[[Sequence[tuple[bytes, bytes | None]]], Awaitable[None]]
    may_train: Callable[[int, bool], None]
    note: Callable[[str, str], None]
    changed: Callable[[], None]
    kernels: Callable[[Sequence[str]], Awaitable[Mapping[str, bool | None]]]
    worked: Callable[[Unit, str], None] = lambda unit, bus: None
    """A device begins a unit."""


@dataclass(frozen=True, slots=True)
class Outfit:
    """What the rig consists of. *launches*: the workers of every device; without duty those of ``cpu`` begin when
    there is work. *miners*: which miner may use a device. *one_by_one*: the host has little memory."""

    duties: Duties
    look: Look
    launches: Mapping[str, Sequence[Launch]]
    miners: Mapping[str, MinerAdapter] = field(default_factory=dict)
    market: Market | None = None
    recorder: Recorder | None = None
    currency: str = ""
    every: tuple[MinerAdapter, ...] = ()
    """All miners, also those of no device of ours. Those that are our own children are kept running while nobody
    paused them, and end with us."""
    one_by_one: bool = False


class Rig:
    """Use ``run`` in one task; ``work`` and ``cancel`` at any time."""

    def __init__(self, outfit: Outfit, hands: RigHands) -> None:
        self._duties = outfit.duties
        self._look = outfit.look
        self._miners = outfit.miners
        self._market = outfit.market
        self._every = outfit.every
        self._owned = [miner for miner in outfit.every if isinstance(miner, ProcessMiner)]
        self._recorder, self._currency = outfit.recorder, outfit.currency
        self._hands = hands
        self._crew = Crew(
            outfit.launches,
            one_by_one=outfit.one_by_one,
            hands=CrewHands(
                hands.clock, hands.note, self._worker_failed,
                lambda bus: self._tell(bus, KernelsChecked(False)),
                lambda bus, run: self._spawn(self._stop_work(bus, run, 2_000)),
                hands.worked,
            ),
        )
        self._sample: RigSample | None = None
        self._meters = {bus: Meter() for bus in outfit.duties.devices}
        self._events: asyncio.Queue[tuple[str, duty.Event]] = asyncio.Queue(10_000)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused: set[str] = set()

    @property
    def devices_by_bus(self) -> Mapping[str, Device]:
        return self._duties.devices

    # ---- living ---------------------------------------------------------------------------

    async def run(self, journal: Mapping[bytes, bytes]) -> None:
        """Poll and decide until cancelled; then the workers are stopped. *journal* holds what devices persisted."""
        for bus, device in self._duties.devices.items():
            if device.key in journal:
                self._tell(bus, duty.JournalRestored(journal[device.key]))
        if self._recorder is not None:
            kin = {bus: (miner.name, miner.capabilities.single_gpus) for bus, miner in self._miners.items()}
            self._recorder.begin(list(self._duties.devices.values()), kin, self._currency)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll())
                group.create_task(self._decide())
                group.create_task(self._ask_kernels())
                group.create_task(self._resume_forgotten(journal))
                for miner in self._owned:
                    group.create_task(miner.follow(self._hands.note))
                if self._market is not None:
                    group.create_task(self._market.source.follow(self._hands.note))
        finally:
            for timer in self._timers.values():
                timer.cancel()
            await self._crew.stop_all()
            await asyncio.gather(*(miner.close() for miner in self._owned))
            if self._recorder is not None:
                self._recorder.close()

    async def _poll(self) -> None:
        while True:
            sample = self._sample = await self._look.take()
            market = self._market
            terms = {} if market is None else {bus: market.terms(bus) for bus in self._duties.devices}
            for bus in self._duties.devices:
                self._tell(bus, Sampled(sample.host, self._gpu(bus), self._miner_of(bus), terms.get(bus)))
                self._measure(bus, terms.get(bus))
            if self._recorder is not None:
                self._recorder.look(sample, terms, list(self._duties.devices.values()), self._hands.clock())
            self._hands.changed()
            training = any(device.state is State.TRAINING for device in self._duties.devices.values())
            await asyncio.sleep(POLL_TRAINING_S if training else POLL_S)

    def _measure(self, bus: str, terms: Terms | None) -> None:
        gpu = self._gpu(bus)
        self._meters[bus].look(
            self._hands.clock(), training=self._duties.devices[bus].state is State.TRAINING,
            power_mw=None if gpu is None else gpu.power_mw, carbon_g_kwh=None if terms is None else terms.carbon_g_kwh,
        )

    async def _resume_forgotten(self, journal: Mapping[bytes, bytes]) -> None:
        """A device that is no longer ours had paused a miner: somebody changed the config meanwhile. Which miner it
        was is not known any more, so all are told to run that no device of ours speaks to."""
        known = {device.key for device in self._duties.devices.values()}
        spoken_to = {miner.name for miner in self._miners.values()}
        for key, value in journal.items():
            if not key.startswith(DUTY_PREFIX) or key in known:
                continue
            if promises(value):
                for miner in self._every:
                    if miner.name not in spoken_to and miner.capabilities.pauses:
                        await self._resume_one(miner)
            await self._hands.persist([(key, None)])

    async def _resume_one(self, miner: MinerAdapter) -> None:
        while True:
            try:
                await miner.resume()
                return
            except MinerError as error:
                self._hands.note("warning", f"{miner.name} was paused for a device that is gone: {error}")
            await asyncio.sleep(RESUME_AGAIN_S)

    async def _ask_kernels(self) -> None:
        """Before a card trains: has the installed torch kernels for it?"""
        cards = [bus for bus in self._duties.devices if bus != CPU]
        fits = await self._hands.kernels(cards) if cards else {}
        for bus in cards:
            self._tell(bus, KernelsChecked(fits.get(bus)))

    async def _decide(self) -> None:
        while True:
            bus, event = await self._events.get()
            await self._perform(self._duties.handle(bus, event, self._hands.clock()))

    def _tell(self, bus: str, event: duty.Event) -> None:
        if bus in self._duties.devices:
            self._events.put_nowait((bus, event))

    async def _perform(self, effects: Sequence[object]) -> None:
        for effect in effects:
            match effect:
                case Persist(key, value):
                    await self._hands.persist([(key, value)])
                case StartWork(bus, run):
                    await self._crew.start(bus, run)
                    self._tell_rounds()
                case StopWork(bus, run, deadline_ms):
                    self._spawn(self._stop_work(bus, run, deadline_ms))
                case FinishWork(bus, run):
                    self._crew.finish(bus, run)
                    self._tell_rounds()
                case PauseMiner(bus) | ResumeMiner(bus):
                    self._spawn(self._ask_miner(bus, Ask.PAUSE if isinstance(effect, PauseMiner) else Ask.RESUME))
                case SetTimer(name, delay_ms):
                    self._set_timer(name, delay_ms)
                case Note(bus, state, reasons):
                    why = f" ({', '.join(sorted(reasons))})" if reasons else ""
                    self._hands.note("info", f"{bus}: {state}{why}")
                    self._hands.changed()
                case _:
                    raise AssertionError(f"nobody performs {effect!r}")

    # ---- the workers ----------------------------------------------------------------------

    async def work(self, job: Job) -> Report:
        """The one answer to *job*; Failed where duty does not allow work."""
        if not self._duties.devices:
            await self._crew.start(CPU, 0)
        return await self._crew.work(job)

    def cancel(self, job: int) -> None:
        self._crew.cancel(job)

    @property
    def compute_us(self) -> int:
        return self._crew.compute_us

    @property
    def audit_us(self) -> int:
        return self._crew.audit_us

    @property
    def samples(self) -> int:
        return self._crew.samples

    def _tell_rounds(self) -> None:
        if self._duties.devices:
            self._hands.may_train(self._crew.willing, self._crew.finishing)

    async def _stop_work(self, bus: str, run: int, deadline_ms: int) -> None:
        """Within the deadline the workers are gone and the device's memory free."""
        stopping = self._crew.stop(bus, deadline_ms)
        self._tell_rounds()
        await stopping
        self._tell_rounds()
        self._tell(bus, WorkerReleased(run))

    def _worker_failed(self, bus: str, run: int) -> None:
        self._tell_rounds()
        self._tell(bus, WorkerFailed(run))

    async def _ask_miner(self, bus: str, ask: Ask) -> None:
        miner = self._miners.get(bus)
        if miner is None:
            raise AssertionError(f"duty asks a miner of {bus} that is not there")
        alone = bus if miner.capabilities.single_gpus and bus != CPU else None
        try:
            await (miner.pause(alone) if ask is Ask.PAUSE else miner.resume(alone))
            ok = True
        except MinerError as error:
            self._hands.note("warning", f"{bus}: miner: {error}")
            ok = False
        self._tell(bus, MinerReplied(ask, ok))

    # ---- the owner ------------------------------------------------------------------------

    def override(self, mode: Mode, for_ms: int | None, *, device: str | None = None, paused: bool = False) -> None:
        """For *device*, or for all."""
        until = None if for_ms is None else self._hands.clock() + for_ms
        chosen = self._chosen(device)
        self._record(SaidLine(at_ms=self._hands.clock(), device=device, mode=mode, for_ms=for_ms))
        for bus in chosen:
            self._paused.discard(bus)
            if paused:
                self._paused.add(bus)
            self._tell(bus, Overridden(DutyMode(mode.value), until))

    def finish(self, device: str | None = None) -> None:
        """End the units under way, begin none; then the devices are off until changed."""
        chosen = self._chosen(device)
        self._record(SaidLine(at_ms=self._hands.clock(), device=device, finish=True))
        for bus in chosen:
            self._paused.add(bus)
            self._tell(bus, FinishAsked())

    def _record(self, line: SaidLine) -> None:
        if self._recorder is not None:
            self._recorder.said(line)

    def _chosen(self, device: str | None) -> list[str]:
        found = [bus for bus in self._duties.devices if device in (None, bus)]
        if device is not None and not found:
            raise UsageError(f"no device here is called {device}", "potminer status shows the devices that may train.")
        return found

    # ---- for faces ------------------------------------------------------------------------

    def control(self, now: int) -> ControlView:
        """What the owner said of all devices; of the first that is in another mode than auto, where they differ."""
        said = [(bus, device.status(now)) for bus, device in self._duties.devices.items()]
        found = next(((bus, status) for bus, status in said if status.mode is not DutyMode.AUTO), None)
        if found is None:
            return ControlView()
        bus, status = found
        until = None if status.override_left_ms is None else now + status.override_left_ms
        paused = bus in self._paused and status.mode is DutyMode.OFF
        return ControlView(
            mode=Mode(status.mode.value), until_ms=until, paused=paused, paused_until_ms=until if paused else None
        )

    def devices(self, now: int) -> tuple[DeviceView, ...]:
        return tuple(
            replace(
                device_view(
                    device.status(now), self._gpu(bus), self._miner_of(bus),
                    samples_per_s_milli=self._crew.samples_per_s_milli(bus, now), now=now,
                ),
                energy_mj_per_1000=self._meters[bus].energy_mj(self._crew.trained[bus]),
                carbon_mg_per_1000=self._meters[bus].carbon_mg(self._crew.trained[bus]),
            )
            for bus, device in self._duties.devices.items()
        )

    def miners(self) -> tuple[MinerView, ...]:
        found = self._sample.miners if self._sample is not None else ()
        return tuple(
            miner_view(miner, tuple(bus for bus, other in self._miners.items() if other.name == miner.name))
            for miner in found
        )

    def next_check_ms(self, now: int) -> int | None:
        lefts = (device.status(now).next_ms for device in self._duties.devices.values())
        left = min((each for each in lefts if each is not None), default=None)
        return None if left is None else now + left

    def _gpu(self, bus: str) -> GpuSample | None:
        gpus = self._sample.gpus if self._sample is not None else ()
        return next((gpu for gpu in gpus if gpu.bus == bus), None)

    def _miner_of(self, bus: str) -> MinerSample | None:
        own, miners = self._miners.get(bus), self._sample.miners if self._sample is not None else ()
        return None if own is None else next((miner for miner in miners if miner.name == own.name), None)

    # ---- means ----------------------------------------------------------------------------

    def _set_timer(self, name: str, delay_ms: int) -> None:
        old = self._timers.pop(name, None)
        if old is not None:
            old.cancel()
        loop = asyncio.get_running_loop()
        bus = name.partition("/")[2]
        self._timers[name] = loop.call_later(delay_ms / 1000, self._tell, bus, TimerFired(name))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
