"""Updates that are unusually long: of these everything is audited, for a sum takes each at its own length.

What is usual is said by trainers, not by units: of each the median, and of these the median. So it lies between two
honest ones as long as fewer than half of the trainers lie, however many units they have.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from potminer.wire.length import square_of
from potminer.wire.record import UnitRecord

LONG = 9
"""An outlier is more than three times as long as usual: squares are compared."""


def outliers(units: Mapping[int, UnitRecord]) -> frozenset[int]:
    """Which slots of *units*, all that are drawn, hold one."""
    squares = {slot: square_of(unit.lengths) for slot, unit in units.items()}
    of: defaultdict[bytes, list[int]] = defaultdict(list)
    for slot, unit in units.items():
        of[unit.trainer].append(squares[slot])
    if not of:
        return frozenset()
    usual = _lower_median([_lower_median(each) for each in of.values()])
    return frozenset(slot for slot, square in squares.items() if square > LONG * usual)


def _lower_median(numbers: list[int]) -> int:
    return sorted(numbers)[(len(numbers) - 1) // 2]
