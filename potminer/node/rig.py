"""The rig: looks at it, lets duty decide, and keeps the worker that duty allows.

One device works, with one worker; it is named in the config or
is the first GPU found, otherwise the CPU. A validator has no duty: its worker starts when there is
something to judge or to aggregate.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from potminer.core.duty import events as duty
from potminer.core.duty.effects import Note, PauseMiner, ResumeMiner, StartWork, StopWork
from potminer.core.duty.events import Ask, MinerReplied, Overridden, Sampled, WorkerFailed, WorkerReleased
from potminer.core.duty.machine import Device
from potminer.core.duty.state import Mode as DutyMode
from potminer.core.duty.state import State
from potminer.core.machine import Persist, SetTimer, TimerFired
from potminer.wire.control import ControlView, DeviceKind, DeviceState, DeviceView, MinerView, Mode
from potminer.wire.facts import CPU, GpuSample, MinerSample, RigSample
from potminer.wire.trainer import Audited, Failed, Job, Ready, Report, Trained
from potminer.world.child import Child, ChildState, Launch
from potminer.world.rig.kernels import verdict
from potminer.world.rig.look import Look
from potminer.world.rig.miners.interface import MinerAdapter, MinerError
from potminer.world.rig.miners.registry import KINDS

POLL_S = 2.0
POLL_TRAINING_S = 1.0
"""The owner waits for us at most this long and the stop itself: two seconds in all."""
RATE_WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True)
class RigHands:
    """What the rig tells the node. *persist* is durable when it returns."""

    clock: Callable[[], int]
    persist: Callable[[Sequence[tuple[bytes, bytes | None]]], Awaitable[None]]
    may_train: Callable[[bool], None]
    note: Callable[[str, str], None]
    changed: Callable[[], None]


class Rig:
    """*device* is None for a validator. Use ``run`` in one task; ``work`` and ``cancel`` at any time."""

    def __init__(
        self, *, device: Device | None, look: Look, miner: MinerAdapter | None, launch: Launch, hands: RigHands
    ) -> None:
        self._device = device
        self._look = look
        self._miner = miner
        self._launch = launch
        self._hands = hands
        self._child: Child | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._sample: RigSample | None = None
        self._events: asyncio.Queue[duty.Event] = asyncio.Queue(1_000)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: deque[tuple[int, int]] = deque(maxlen=10_000)
        self._began_ms = hands.clock()
        self._paused = False
        self.compute_us = 0
        self.audit_us = 0
        self.samples = 0

    # ---- living ---------------------------------------------------------------------------

    async def run(self, journal: bytes | None) -> None:
        """Poll and decide until cancelled; then the worker is stopped and the miner given back."""
        if self._device is not None and journal is not None:
            self._events.put_nowait(duty.JournalRestored(journal))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._poll())
                group.create_task(self._decide())
        finally:
            for timer in self._timers.values():
                timer.cancel()
            await self._stop_child()

    async def _poll(self) -> None:
        while True:
            self._sample = await self._look.take()
            if self._device is not None:
                self._events.put_nowait(self._sampled(self._device.bus, self._sample))
            self._hands.changed()
            training = self._device is not None and self._device.state is State.TRAINING
            await asyncio.sleep(POLL_TRAINING_S if training else POLL_S)

    def _sampled(self, bus: str, sample: RigSample) -> Sampled:
        gpu = next((gpu for gpu in sample.gpus if gpu.bus == bus), None)
        return Sampled(sample.host, gpu, sample.miners[0] if sample.miners else None)

    async def _decide(self) -> None:
        while True:
            event = await self._events.get()
            if self._device is not None:
                await self._perform(self._device.handle(event, self._hands.clock()))

    async def _perform(self, effects: Sequence[object]) -> None:
        for effect in effects:
            match effect:
                case Persist(key, value):
                    await self._hands.persist([(key, value)])
                case StartWork(_, run):
                    await self._start_work(run)
                case StopWork(_, run, deadline_ms):
                    self._spawn(self._stop_work(run, deadline_ms))
                case PauseMiner() | ResumeMiner():
                    ask = Ask.PAUSE if isinstance(effect, PauseMiner) else Ask.RESUME
                    self._spawn(self._ask_miner(ask))
                case SetTimer(name, delay_ms):
                    self._set_timer(name, delay_ms)
                case Note(bus, state, reasons):
                    why = f" ({', '.join(sorted(reasons))})" if reasons else ""
                    self._hands.note("info", f"{bus}: {state}{why}")
                    self._hands.changed()
                case _:
                    raise AssertionError(f"nobody performs {effect!r}")

    # ---- the worker -----------------------------------------------------------------------

    async def work(self, job: Job) -> Report:
        """The one answer to *job*; Failed where duty does not allow work."""
        if self._device is None:
            self._ensure_child()
        if self._child is None:
            return Failed(job.job, "stopped", "duty does not allow work")
        report = await self._child.request(job)
        if isinstance(report, Trained):
            self._done.append((self._hands.clock(), report.samples))
            self.samples += report.samples
            self.compute_us += report.compute_us
        elif isinstance(report, Audited):
            self.audit_us += report.compute_us
        elif isinstance(report, Failed) and report.reason not in ("cancelled", "stopped"):
            self._hands.note("warning", f"worker: {report.reason}: {report.detail}")
        return report

    def cancel(self, job: int) -> None:
        if self._child is not None:
            self._child.cancel(job)

    def _ensure_child(self, on_state: Callable[[ChildState], None] = lambda state: None) -> None:
        if self._child is None:
            self._child = Child(self._launch, on_state=on_state, on_ready=self._introduce)
            self._child.start()

    def _introduce(self, ready: Ready) -> None:
        self._hands.note("info", f"worker {ready.pid}: device {ready.device} ({ready.reason})")

    async def _start_work(self, run: int) -> None:
        """Duty has the device: a worker for this run, then the rounds may train."""
        if self._stopping is not None:
            await self._stopping
        self._began_ms = self._hands.clock()

        def watch(state: ChildState) -> None:
            if state is ChildState.WAITING:
                self._hands.may_train(False)
                self._events.put_nowait(WorkerFailed(run))

        self._ensure_child(watch)
        self._hands.may_train(True)

    async def _stop_work(self, run: int, deadline_ms: int) -> None:
        """Within the deadline the worker is gone and the device's memory free."""
        self._hands.may_train(False)
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_child(deadline_ms))
        await self._stopping
        self._stopping = None
        self._events.put_nowait(WorkerReleased(run))

    async def _stop_child(self, deadline_ms: int = 2_000) -> None:
        child, self._child = self._child, None
        if child is not None:
            # A quarter of the deadline is the worker's own; the rest is for the kill, the driver and our last look.
            await child.stop(within_ms=deadline_ms // 4)

    async def _ask_miner(self, ask: Ask) -> None:
        if self._miner is None:
            raise AssertionError("duty asks a miner that is not there")
        try:
            await (self._miner.pause() if ask is Ask.PAUSE else self._miner.resume())
            ok = True
        except MinerError as error:
            self._hands.note("warning", f"miner: {error}")
            ok = False
        self._events.put_nowait(MinerReplied(ask, ok))

    # ---- the owner ------------------------------------------------------------------------

    def override(self, mode: Mode, for_ms: int | None, *, paused: bool = False) -> None:
        until = None if for_ms is None else self._hands.clock() + for_ms
        self._paused = paused
        self._events.put_nowait(Overridden(DutyMode(mode.value), until))

    # ---- for faces ------------------------------------------------------------------------

    def samples_per_s_milli(self, now: int) -> int | None:
        """Thousandths of a sample a second over the last minute of work, or since it began."""
        recent = [samples for at, samples in self._done if at > now - RATE_WINDOW_MS]
        window_ms = min(RATE_WINDOW_MS, max(1_000, now - self._began_ms))
        return sum(recent) * 1_000_000 // window_ms if recent else None

    def control(self, now: int) -> ControlView:
        if self._device is None:
            return ControlView()
        status = self._device.status(now)
        until = None if status.override_left_ms is None else now + status.override_left_ms
        paused = self._paused and status.mode is DutyMode.OFF
        return ControlView(
            mode=Mode(status.mode.value), until_ms=until, paused=paused, paused_until_ms=until if paused else None
        )

    def devices(self, now: int, *, samples_per_s_milli: int | None) -> tuple[DeviceView, ...]:
        if self._device is None:
            return ()
        status = self._device.status(now)
        gpu = self._gpu(self._device.bus)
        view = DeviceView(
            bus=self._device.bus,
            name=gpu.name if gpu is not None else "CPU",
            kind=DeviceKind.CPU if self._device.bus == CPU else DeviceKind.GPU,
            state=DeviceState(status.state.value),
            since_ms=max(0, now - status.for_ms),
            reasons=tuple(sorted(reason.value for reason in status.reasons))[:8],
            samples_per_s_milli=samples_per_s_milli if status.state is State.TRAINING else None,
        )
        miner = self._sample.miners[0] if self._sample is not None and self._sample.miners else None
        if miner is not None:
            view = replace(view, hashrate_hs=miner.hashrate_hs)
        if gpu is not None:
            view = replace(
                view,
                power_mw=gpu.power_mw,
                temperature_milli_c=gpu.temperature_milli_c,
                memory_used=gpu.memory_used_bytes,
                memory_total=gpu.memory_total_bytes,
                memory_temperature_milli_c=gpu.memory_temperature_milli_c,
                utilisation_ppm=gpu.utilisation_ppm,
                power_limit_mw=gpu.power_limit_mw,
                fan_ppm=gpu.fan_ppm,
                link_width=gpu.link_width,
                drives_display=gpu.drives_display,
                torch=verdict(gpu.architecture).build if gpu.architecture else None,
            )
        return (view,)

    def miners(self) -> tuple[MinerView, ...]:
        found = self._sample.miners if self._sample is not None else ()
        return tuple(_miner_view(miner) for miner in found)

    def next_check_ms(self, now: int) -> int | None:
        if self._device is None:
            return None
        left = self._device.status(now).next_ms
        return None if left is None else now + left

    def _gpu(self, bus: str) -> GpuSample | None:
        gpus = self._sample.gpus if self._sample is not None else ()
        return next((gpu for gpu in gpus if gpu.bus == bus), None)

    # ---- means ----------------------------------------------------------------------------

    def _set_timer(self, name: str, delay_ms: int) -> None:
        old = self._timers.pop(name, None)
        if old is not None:
            old.cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(delay_ms / 1000, self._events.put_nowait, TimerFired(name))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _miner_view(miner: MinerSample) -> MinerView:
    state = "dead" if not miner.alive else "paused" if miner.paused else "mining" if miner.hashrate_hs else "idle"
    return MinerView(
        name=miner.kind,
        address="",
        version=miner.version or None,
        state=state,
        control=KINDS[miner.kind].control.value,
        hashrate_hs=miner.hashrate_hs,
        last_reply_ms=miner.taken_at_ms,
        algorithm=miner.algorithm or None,
        uptime_s=miner.uptime_s,
        accepted=miner.accepted,
        rejected=miner.rejected,
    )
