"""What a rig did minute by minute: a bounded series, one point per interval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from potminer.wire.answers import DAY_POINTS, DayPoint
from potminer.wire.control import DeviceState, DeviceView, Snapshot

INTERVAL_MS = 60_000
POINTS = DAY_POINTS
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
IDLE = "i"


@dataclass(frozen=True, slots=True)
class History:
    """Immutable; ``remember`` gives the next one."""

    points: tuple[DayPoint, ...] = ()

    def remember(self, snapshot: Snapshot) -> History:
        return self.look(snapshot.devices, snapshot.taken_ms)

    def look(self, devices: Sequence[DeviceView], now_ms: int) -> History:
        """The newest look of an interval stands for it; older looks are ignored."""
        point = _point(devices, now_ms)
        if not self.points:
            return History((point,))
        last = self.points[-1]
        if point.at_ms < last.at_ms:
            return self
        kept = self.points[:-1] if point.at_ms == last.at_ms else self.points
        return History((*kept, point)[-POINTS:])

    def join(self, points: Iterable[DayPoint]) -> History:
        """With *points* of another witness; where both saw a minute, this one is believed."""
        seen = {point.at_ms: point for point in (*points, *self.points)}
        return History(tuple(seen[at] for at in sorted(seen))[-POINTS:])

    def strip(self) -> str:
        """The points as letters: T training, M mining, i idle, b blocked, o off, ! fault."""
        return "".join(letter(point) for point in self.points)


def letter(point: DayPoint) -> str:
    return IDLE if point.state is None else LETTERS.get(point.state, IDLE)


def known_sum(values: list[int | None]) -> int | None:
    """Sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _point(devices: Sequence[DeviceView], now_ms: int) -> DayPoint:
    """What the devices mostly do, and their rates added up."""
    states = {device.state for device in devices}
    leading = next((state for state in _RANK if state in states), None)
    if leading is None and states:
        leading = DeviceState.OFF if states == {DeviceState.OFF} else DeviceState.IDLE_WAIT
    return DayPoint(
        at_ms=now_ms // INTERVAL_MS * INTERVAL_MS,
        state=leading,
        samples_per_s_milli=known_sum([d.samples_per_s_milli for d in devices]),
        hashrate_hs=known_sum([d.hashrate_hs for d in devices]),
        power_mw=known_sum([d.power_mw for d in devices]),
    )
