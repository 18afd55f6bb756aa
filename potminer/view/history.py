"""What a face remembers of the photographs it saw: bounded series, one point per interval."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.wire.control import DeviceState, Snapshot

INTERVAL_MS = 60_000
POINTS = 24 * 60
"""A day of minutes."""

_RANK = (
    DeviceState.FAULT,
    DeviceState.BLOCKED,
    DeviceState.TRAINING,
    DeviceState.MINING,
)
LETTERS = {
    DeviceState.FAULT: "!",
    DeviceState.BLOCKED: "b",
    DeviceState.TRAINING: "T",
    DeviceState.MINING: "M",
    DeviceState.OFF: "o",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One interval: rates summed over the devices that know theirs, and what the rig mostly did."""

    at_ms: int
    samples_per_s_milli: int | None
    hashrate_hs: int | None
    power_mw: int | None
    letter: str


@dataclass(frozen=True, slots=True)
class History:
    """Immutable; ``remember`` gives the next one."""

    points: tuple[Point, ...] = ()

    def remember(self, snapshot: Snapshot) -> History:
        """The newest photograph of an interval stands for it; older photographs are ignored."""
        point = _point(snapshot)
        if not self.points:
            return History((point,))
        last = self.points[-1]
        if point.at_ms < last.at_ms:
            return self
        kept = self.points[:-1] if point.at_ms == last.at_ms else self.points
        return History((*kept, point)[-POINTS:])

    def strip(self) -> str:
        """The day as letters: T training, M mining, i idle, b blocked, o off, ! fault."""
        return "".join(point.letter for point in self.points)


def known_sum(values: list[int | None]) -> int | None:
    """Sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _point(snapshot: Snapshot) -> Point:
    states = {device.state for device in snapshot.devices}
    leading = next((state for state in _RANK if state in states), None)
    if leading is None and states == {DeviceState.OFF}:
        leading = DeviceState.OFF
    return Point(
        at_ms=snapshot.taken_ms // INTERVAL_MS * INTERVAL_MS,
        samples_per_s_milli=known_sum([d.samples_per_s_milli for d in snapshot.devices]),
        hashrate_hs=known_sum([d.hashrate_hs for d in snapshot.devices]),
        power_mw=known_sum([d.power_mw for d in snapshot.devices]),
        letter="i" if leading is None else LETTERS[leading],
    )
