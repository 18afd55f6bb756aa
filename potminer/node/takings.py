"""Takings: what this rig earned, added up by day, task and device as it happens. Nothing decides by it.

The store adds the same amounts up in the transaction that writes their block, so a restart takes the sums from
there: they hold however much of the story was dropped since.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from potminer.world.store.takings import AMOUNTS, Row

DAY_MS = 24 * 3_600_000
DAYS_KEPT = 400
UNKNOWN_DAY = 0
"""Of what was earned or paid in blocks that were leapt over."""


@dataclass(slots=True)
class Sums:
    """Grains, and units of this rig. *released* left the dispute window, *kept* of it became bond; *lost* was
    forfeited inside the window, *forfeited* out of the bond. *by_units* is what of *earned* units brought."""

    earned: int = 0
    released: int = 0
    kept: int = 0
    lost: int = 0
    forfeited: int = 0
    accepted: int = 0
    refused: int = 0
    by_units: int = 0

    def add(self, amounts: Iterable[int]) -> None:
        for name, amount in zip(AMOUNTS, amounts, strict=True):
            setattr(self, name, getattr(self, name) + amount)

    @property
    def amounts(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in AMOUNTS)

    @property
    def pending(self) -> int:
        return self.earned - self.released - self.lost

    @property
    def bond(self) -> int:
        return self.kept - self.forfeited

    @property
    def paid(self) -> int:
        return self.released - self.kept

    @property
    def total(self) -> int:
        return self.earned - self.lost - self.forfeited


assert tuple(each.name for each in fields(Sums)) == AMOUNTS


class Takings:
    """*all*, and the same by task, by device (empty where none is known) and, newest last, by day of UTC."""

    def __init__(self) -> None:
        self.all = Sums()
        self.tasks: dict[bytes, Sums] = {}
        self.devices: dict[str, Sums] = {}
        self.days: dict[int, Sums] = {}
        self._fresh: dict[tuple[int, bytes, str], Sums] = {}

    def restore(self, rows: Iterable[Row]) -> None:
        """Begin with what the store has added up; what was added before does not count."""
        self.__init__()  # type: ignore[misc]
        for day, task, bus, amounts in rows:
            self._add(day, task, bus, amounts)

    def add(self, time_ms: int, task: bytes, bus: str = "", **amounts: int) -> None:
        """At a block's time: amounts by their names in ``Sums``."""
        if not any(amounts.values()):
            return
        said = Sums(**amounts)
        day = time_ms - time_ms % DAY_MS
        self._add(day, task, bus, said.amounts)
        self._fresh.setdefault((day, task, bus), Sums()).add(said.amounts)

    def drain(self) -> tuple[Row, ...]:
        """What was added since the last time, for the store."""
        fresh, self._fresh = self._fresh, {}
        return tuple((*place, sums.amounts) for place, sums in fresh.items())

    def task(self, task: bytes) -> Sums:
        return self.tasks.get(task, _NOTHING)

    def day(self, day_ms: int) -> Sums:
        return self.days.get(day_ms, _NOTHING)

    def _add(self, day: int, task: bytes, bus: str, amounts: tuple[int, ...]) -> None:
        self.all.add(amounts)
        self.tasks.setdefault(task, Sums()).add(amounts)
        self.devices.setdefault(bus, Sums()).add(amounts)
        self.days.setdefault(day, Sums()).add(amounts)
        while len(self.days) > DAYS_KEPT:
            del self.days[min(day for day in self.days if day != UNKNOWN_DAY)]


_NOTHING = Sums()
