"""Updates on one common grid of integers, where sums are exact and have no order.

Per block of 256 the grid is an exponent: for the mean (largest among the updates) - headroom. An update's integer q
of exponent e is moved there: shifted left by e - grid where that is >= 0, else (q + 2**(d-1)) >> d with
d = min(grid - e, 8), which rounds it, to 0 from 8 on. Where a rule's grid leaves an update no room it is held at the
end: 126 * 2**headroom.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from potminer.train.grid import PEAKS, Grid
from potminer.wire.task import BLOCK

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """The combined update is *sums* [blocks, 256] times 2**grid, divided by *divisor*."""

    sums: Integers
    grid: Integers
    divisor: int


def roomy_grid(updates: Iterable[Grid], *, headroom: int) -> tuple[Integers, int]:
    """The grid that has room for every update, and how many there are."""
    largest: Integers = np.zeros(0, np.int64)
    count = 0
    for update in updates:
        exponents = update.exponents.astype(np.int64)
        largest = np.maximum(largest, exponents) if count else exponents
        count += 1
    return largest - headroom, count


def moved(update: Grid, grid: Integers, *, headroom: int, first: int = 0) -> Integers:
    """The update's integers of the blocks from *first* on that *grid* is of, [len(grid), 256]; elements beyond the
    last parameter are 0."""
    last = first + len(grid)
    said = update.levels[first * BLOCK : last * BLOCK]
    levels = np.zeros((len(grid), BLOCK), np.int64)
    levels.reshape(-1)[: len(said)] = said
    shift = (update.exponents[first:last].astype(np.int64) - grid)[:, None]
    up, down = np.clip(shift, 0, headroom), np.clip(-shift, 1, 8)
    halves = np.left_shift(np.int64(1), down - 1)
    inside = np.where(shift >= 0, levels << up, (levels + halves) >> down)
    return np.asarray(np.where(shift > headroom, np.sign(levels) * (PEAKS[8] << headroom), inside), np.int64)
