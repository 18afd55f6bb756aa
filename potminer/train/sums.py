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

from potminer.train.dither import Doubles
from potminer.train.grid import PEAKS, Grid, powers
from potminer.wire.task import BLOCK

Integers = npt.NDArray[np.int64]
_ROWS = 128
"""Blocks added at a time: their temporaries, a quarter of a MiB, stay in a processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class Total:
    """The combined update is *sums* [blocks, 256], integers, times 2**grid, divided by *divisor*."""

    sums: Integers | Doubles
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


def add(sums: Doubles, update: Grid, grid: Integers) -> None:
    """Add the update's integers on the roomy *grid* to *sums* [blocks, 256]: the numbers of ``moved``. As doubles they
    and all sums below 2**53 are exact, and a shift to the left is one multiplication."""
    shift = update.exponents.astype(np.int64) - grid
    scale = np.where(shift >= 0, powers(np.maximum(shift, 0)), 0.0)
    whole, room = len(update.levels) // BLOCK, np.empty((_ROWS, BLOCK))
    by_block = update.levels[: whole * BLOCK].reshape(-1, BLOCK)
    for first in range(0, whole, _ROWS):
        rows = slice(first, min(first + _ROWS, whole))
        part = room[: rows.stop - first]
        np.multiply(by_block[rows], scale[rows, None], out=part)
        sums[rows] += part
    rest = update.levels[whole * BLOCK :]
    sums[whole:, : len(rest)] += rest * scale[whole:, None]
    low = np.flatnonzero(shift[:whole] < 0)  # so far below the largest that it is rounded
    for first in range(0, len(low), _ROWS):
        chosen = low[first : first + _ROWS]
        sums[chosen] += _down(by_block[chosen].astype(np.int64), shift[chosen, None])
    if len(rest) and shift[whole] < 0:
        sums[whole, : len(rest)] += _down(rest.astype(np.int64), shift[whole])


def _down(levels: Integers, shift: Integers) -> Integers:
    """*levels* times 2**shift, below 1, rounded."""
    down = np.clip(-shift, 1, 8)
    return np.asarray((levels + np.left_shift(np.int64(1), down - 1)) >> down, np.int64)


def moved(update: Grid, grid: Integers, *, headroom: int, first: int = 0) -> Integers:
    """The update's integers of the blocks from *first* on that *grid* is of, [len(grid), 256]; elements beyond the
    last parameter are 0."""
    last = first + len(grid)
    said = update.levels[first * BLOCK : last * BLOCK]
    levels = np.zeros((len(grid), BLOCK), np.int64)
    levels.reshape(-1)[: len(said)] = said
    shift = (update.exponents[first:last].astype(np.int64) - grid)[:, None]
    inside = np.where(shift >= 0, levels << np.clip(shift, 0, headroom), _down(levels, shift))
    return np.asarray(np.where(shift > headroom, np.sign(levels) * (PEAKS[8] << headroom), inside), np.int64)
