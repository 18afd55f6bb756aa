"""The machine around the devices: load by others, memory, battery, and whether somebody sits here.

Everything is best effort and says None where it cannot know. All calls may block for some
milliseconds: use it through ``aside.Aside``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import psutil

from potminer.base.bounded import MILLION
from potminer.wire.facts import HostSample
from potminer.world.rig.person import Person

OWN_PROCESSES = 64


@dataclass(frozen=True, slots=True)
class Work:
    """Processor seconds since the machine started, over all cores."""

    total_s: float
    busy_s: float
    own_s: dict[int, float]
    """Of our own processes, by pid."""


def others_load_ppm(before: Work, after: Work) -> int | None:
    """Share of all cores that processes other than ours used between two readings.

    A process of ours that ended in between is counted with what it had before; the clock
    ticks of the kernel are coarse, so the result is held within 0 and one million.
    """
    total = after.total_s - before.total_s
    if total <= 0:
        return None
    own = sum(max(0.0, seconds - before.own_s.get(pid, 0.0)) for pid, seconds in after.own_s.items())
    others = after.busy_s - before.busy_s - own
    return min(MILLION, max(0, round(others / total * MILLION)))


class HostProbe:
    """*own_pids* names our processes: the daemon and its workers, not a miner that it started."""

    def __init__(self, *, clock: Callable[[], int], own_pids: Callable[[], Collection[int]], person: Person) -> None:
        self._clock = clock
        self._own_pids = own_pids
        self._person = person
        self._processes: dict[int, psutil.Process] = {}
        self._before = self._work()

    def sample(self) -> HostSample:
        """Load since the last sample (or since the probe was made)."""
        after = self._work()
        load, self._before = others_load_ppm(self._before, after), after
        memory = psutil.virtual_memory()
        seat = self._person.has_seat()
        return HostSample(
            cpu_load_ppm=load,
            memory_total_bytes=memory.total,
            memory_available_bytes=memory.available,
            on_battery=_on_battery(),
            input_idle_ms=None if seat is False else self._person.idle_ms(),
            has_seat=seat,
            taken_at_ms=self._clock(),
        )

    def _work(self) -> Work:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # guest time is contained in user time on Linux
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        pids = list(self._own_pids())[:OWN_PROCESSES]
        self._processes = {pid: found for pid in pids if (found := self._process(pid)) is not None}
        own = {pid: spent for pid, each in self._processes.items() if (spent := _process_seconds(each)) is not None}
        return Work(total_s=total, busy_s=total - idle, own_s=own)

    def _process(self, pid: int) -> psutil.Process | None:
        try:
            return self._processes.get(pid) or psutil.Process(pid)
        except psutil.Error:
            return None


def _process_seconds(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def _on_battery() -> bool | None:
    """False where the machine has no battery; None where it cannot be read."""
    read = getattr(psutil, "sensors_battery", None)
    if read is None:
        return None
    try:
        battery = read()
    except (OSError, RuntimeError, ValueError):
        return None
    if battery is None:
        return False
    return None if battery.power_plugged is None else not battery.power_plugged
