"""What the devices of this rig are worth: units of a rehearsed task on each, in the workers that the daemon starts.

One device after the other, so that none takes the host from another. The first unit of a worker loads torch and warms
the card up; it does not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median_low

import psutil

from potminer.node.energy import Meter
from potminer.node.outfit import Cards
from potminer.train.folder import Folder
from potminer.train.rehearsal import unit
from potminer.view.measured import Measured
from potminer.wire.facts import CPU, GpuSample
from potminer.wire.task import TaskSpec
from potminer.wire.trainer import Failed, Initialised, InitialiseJob, Trained, TrainJob
from potminer.world.child import Child, Launch
from potminer.world.rig.cards import Cards as Watched

LOOK_S = 0.5
LEAST_UNITS = 2
FIRST_S = 240.0
"""What the first unit may take: torch from a cold disk, and a slow card that meets a kernel for the first time."""
MOST_UNITS = 10_000


@dataclass(slots=True)
class _Seen:
    """What was read beside the work."""

    meter: Meter = field(default_factory=Meter)
    power_mw: list[int] = field(default_factory=list)
    used_bytes: list[int] = field(default_factory=list)
    resident_bytes: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Measurement:
    """Measures *spec*, which ``rehearse`` prepared in *folder*, for *seconds* on a device. *launches*: its workers."""

    launches: Mapping[str, Sequence[Launch]]
    cards: Cards
    folder: Folder
    spec: TaskSpec
    seconds: float
    clock: Callable[[], int]

    async def measure(self, bus: str) -> Measured:
        """Never raises for what a device lacks: that is its fault."""
        card = next((gpu for gpu in self.cards.seen.gpus if gpu.bus == bus), None)
        name = card.name if card is not None else "CPU" if bus == CPU else bus
        launches = self.launches[bus]
        seen, ready = _Seen(), asyncio.Event()
        hands = [_Hand(self, launch, seen, at) for at, launch in enumerate(launches)]
        watch = asyncio.create_task(self._watch(bus, hands, seen, ready), name="measure-watch")
        try:
            faults = [said for said in await asyncio.gather(*(hand.begin() for hand in hands)) if said]
            if not faults:
                ready.set()
                faults = [said for said in await asyncio.gather(*(hand.work() for hand in hands)) if said]
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            await asyncio.gather(*(hand.child.stop(2_000) for hand in hands))
        if faults:
            return Measured(bus, name, len(launches), fault=faults[0])
        return _summed(bus, name, hands, seen, card)

    async def _watch(self, bus: str, hands: Sequence[_Hand], seen: _Seen, ready: asyncio.Event) -> None:
        """Readings of the card and of the workers' memory, twice a second while they work."""
        probes = Watched(self.cards.probes, deadline_ms=2_000)
        while True:
            resident = sum(_resident(hand.child) for hand in hands)
            seen.resident_bytes = max(seen.resident_bytes, resident)
            if bus != CPU:
                sight = await probes.take()
                card = next((gpu for gpu in sight.gpus if gpu.bus == bus), None)
                if card is not None:
                    self._read(card, seen, working=ready.is_set())
            await asyncio.sleep(LOOK_S)

    def _read(self, card: GpuSample, seen: _Seen, *, working: bool) -> None:
        seen.meter.look(self.clock(), training=working, power_mw=card.power_mw, carbon_g_kwh=None)
        if card.memory_used_bytes is not None:
            seen.used_bytes.append(card.memory_used_bytes)
        if working and card.power_mw is not None:
            seen.power_mw.append(card.power_mw)


class _Hand:
    """One worker of the device that is measured, and what its units took."""

    def __init__(self, whole: Measurement, launch: Launch, seen: _Seen, at: int) -> None:
        self._whole, self._seen, self._at = whole, seen, at
        self._base = b""
        self._device = ""
        self.child = Child(launch, on_ready=lambda said: self._note(said.device))
        self.took: list[tuple[int, int]] = []
        """Samples and microseconds of every unit."""

    @property
    def device(self) -> str:
        return self._device

    def _note(self, device: str) -> None:
        self._device = device

    async def begin(self) -> str:
        """The first model and a unit that does not count; why it did not work, else nothing."""
        self.child.start()
        spec = self._whole.spec
        try:
            async with asyncio.timeout(FIRST_S):
                first = await self.child.request(InitialiseJob(self.child.next_job(), spec.model, 1))
                if isinstance(first, Initialised):
                    self._base = first.model
                    return await self._unit(0, counts=False)
        except TimeoutError:
            return f"no unit was done within {FIRST_S:.0f} s"
        return _said(first)

    async def work(self) -> str:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._whole.seconds
        while len(self.took) < LEAST_UNITS or (loop.time() < ends and len(self.took) < MOST_UNITS):
            try:
                async with asyncio.timeout(FIRST_S):
                    fault = await self._unit(1 + len(self.took), counts=True)
            except TimeoutError:
                return f"a unit was not done within {FIRST_S:.0f} s"
            if fault:
                return fault
        return ""

    async def _unit(self, number: int, *, counts: bool) -> str:
        job = TrainJob(self.child.next_job(), self._whole.spec, unit(self._at * MOST_UNITS + number), self._base)
        report = await self.child.request(job)
        if not isinstance(report, Trained):
            return _said(report)
        if counts:
            self.took.append((report.samples, max(1, report.compute_us)))
        for blob in report.snapshots:
            self._whole.folder.path(blob).unlink(missing_ok=True)
        return ""


def _summed(bus: str, name: str, hands: Sequence[_Hand], seen: _Seen, card: GpuSample | None) -> Measured:
    rates = [sorted(samples * 10**9 // us for samples, us in hand.took) for hand in hands]
    samples = sum(samples for hand in hands for samples, _ in hand.took)
    before = None if card is None else card.memory_used_bytes
    return Measured(
        bus=bus, name=name, workers=len(hands), device=hands[0].device, units=sum(len(hand.took) for hand in hands),
        samples=samples, rate_milli=sum(median_low(each) for each in rates),
        slowest_milli=sum(each[0] for each in rates), fastest_milli=sum(each[-1] for each in rates),
        power_mw=median_low(seen.power_mw) if seen.power_mw else None,
        energy_mj_per_1000=seen.meter.energy_mj(samples), resident_bytes=seen.resident_bytes or None,
        memory_bytes=max(0, max(seen.used_bytes) - before) if seen.used_bytes and before is not None else None,
    )


def _said(report: object) -> str:
    return f"{report.reason}: {report.detail}" if isinstance(report, Failed) else f"answered {type(report).__name__}"


def _resident(child: Child) -> int:
    ready = child.ready
    if ready is None:
        return 0
    try:
        return int(psutil.Process(ready.pid).memory_info().rss)
    except psutil.Error:
        return child.resident_bytes
