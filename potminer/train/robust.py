"""Aggregation that a minority of bad updates cannot steer, in the same exact arithmetic as the mean.

Both rules see all updates at once, block by block, and depend on nothing but their contents. The grid of a block is
that of its median exponent with 8 bits of room above: were it the largest, one enormous update would round all others
to nothing. With integers of at most 126 * 2**24 a sum of 4,096 of them, weighted with 12 * 1,024, stays below 2**60.

``trimmed``: of every coordinate the lowest and the highest values are left out (Yin et al. 2018).
``clipped``: what lies far from the middle is drawn towards it (Karimireddy, He, Jaggi 2021), after averaging random
buckets, which makes honest but unlike updates alike (the same, 2022). The middle is the median of every coordinate,
not the last round's step: it needs no memory, and no earlier round can have moved it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from potminer.base import draw
from potminer.base.bounded import MILLION
from potminer.train.grid import Grid
from potminer.train.sums import Integers, Total, moved
from potminer.wire.slice import LENGTH_UNIT
from potminer.wire.task import BLOCK, Clipped, Trimmed

HEADROOM, _ROOM_ABOVE = 24, 8
WHOLE = 1_024
"""A clipping factor of one."""
_EVEN = 12
"""Divided by a bucket's size (1 to 4) without a remainder."""
_COARSE = 14
"""Low bits that a distance does without: squares of a block then sum exactly."""
_HALF = 26
"""Low bits of a square that are summed apart from the others."""
_CHUNK = 2**23
"""Integers looked at together."""

Bucket = tuple[Grid, ...]


def trimmed(updates: Sequence[Grid], rule: Trimmed) -> Total:
    """The mean of what is left when floor(N * share) values at either end of every coordinate are gone."""
    grid, count = _grid(updates), len(updates)
    cut = count * rule.share_ppm // MILLION
    buckets = [(update,) for update in updates]
    sums = np.zeros((len(grid), BLOCK), np.int64)
    for rows, values in _chunks(buckets, grid):
        values.sort(axis=0)
        sums[rows] = values[cut : count - cut].sum(axis=0)
    return Total(sums, grid, _EVEN * (count - 2 * cut))


def clipped(
    updates: Sequence[Grid], rule: Clipped, *, seed: bytes, lengths: Sequence[int] | None = None
) -> Total:
    """middle + mean of c * (bucket - middle), where c = min(1, radius / distance) in 1,024ths, rounded down, and
    radius = the lower median of the distances, times the rule's factor.

    *updates* are in an order that everybody has; *seed* draws the buckets. *lengths* are those of whole updates, where
    *updates* are a slice of each; None where they are whole themselves.
    """
    grid = _grid(updates)
    buckets = _buckets(updates, size=rule.bucket, seed=seed)
    middle, squares = _measured(buckets, grid)
    factors = _factors(squares if lengths is None else lengths, factor_ppm=rule.radius_ppm)
    sums = middle * (WHOLE * len(buckets))
    for rows, values in _chunks(buckets, grid):
        sums[rows] += ((values - middle[rows]) * factors[:, None, None]).sum(axis=0)
    return Total(sums, grid, _EVEN * WHOLE * len(buckets))


def lengths(updates: Sequence[Grid], rule: Clipped, *, seed: bytes) -> tuple[int, ...]:
    """The square of every bucket's distance from the middle, in units of 2**``LENGTH_UNIT``, exactly: those of slices
    sum to those of the whole."""
    return _measured(_buckets(updates, size=rule.bucket, seed=seed), _grid(updates))[1]


def _measured(buckets: Sequence[Bucket], grid: Integers) -> tuple[Integers, tuple[int, ...]]:
    """The middle [blocks, 256], and the lengths."""
    middle = np.zeros((len(grid), BLOCK), np.int64)
    squares = np.zeros((len(buckets), len(grid)), np.int64)
    for rows, values in _chunks(buckets, grid):
        middle[rows] = np.partition(values, (len(buckets) - 1) // 2, axis=0)[(len(buckets) - 1) // 2]
        coarse = (values - middle[rows]) >> _COARSE
        squares[:, rows] = (coarse * coarse).sum(axis=2)
    return middle, exact(squares, 2 * (grid + _COARSE) - LENGTH_UNIT)


def exact(squares: Integers, shifts: Integers) -> tuple[int, ...]:
    """Per bucket the sum of *squares* [buckets, blocks] times 2**shift, as one integer. Squares stay below 2**52;
    their halves are summed apart, so that no sum of blocks of one shift overflows."""
    order = np.argsort(shifts, kind="stable")
    firsts = np.flatnonzero(np.diff(shifts[order], prepend=-1))
    halves = [
        np.add.reduceat(half[:, order], firsts, axis=1).tolist()
        for half in (squares & (2**_HALF - 1), squares >> _HALF)
    ]
    ups = shifts[order][firsts].tolist()
    return tuple(
        sum((low + (high << _HALF)) << up for low, high, up in zip(*row, ups, strict=True))
        for row in zip(*halves, strict=True)
    )


def _grid(updates: Sequence[Grid]) -> Integers:
    exponents = np.array([update.exponents for update in updates], np.int64)
    middle = (len(updates) - 1) // 2
    return np.asarray(np.partition(exponents, middle, axis=0)[middle] + _ROOM_ABOVE - HEADROOM, np.int64)


def _buckets(updates: Sequence[Grid], *, size: int, seed: bytes) -> list[Bucket]:
    order = draw.shuffled(draw.words(seed, b"buckets"), updates)
    return [tuple(order[at : at + size]) for at in range(0, len(order), size)]


def _chunks(buckets: Sequence[Bucket], grid: Integers) -> Iterator[tuple[slice, Integers]]:
    """Blocks of all buckets side by side, [buckets, blocks, 256]: the mean of each bucket, times 12."""
    step = max(1, _CHUNK // (BLOCK * len(buckets)))
    for first in range(0, len(grid), step):
        rows = slice(first, min(first + step, len(grid)))
        values = np.zeros((len(buckets), rows.stop - first, BLOCK), np.int64)
        for at, bucket in enumerate(buckets):
            for update in bucket:
                values[at] += moved(update, grid[rows], headroom=HEADROOM, first=first)
            values[at] *= _EVEN // len(bucket)
        yield rows, values


def _factors(squares: Sequence[int], *, factor_ppm: int) -> Integers:
    """Each number is one correctly rounded operation on exact ones (dividing integers rounds once), the same
    everywhere."""
    distances = [math.sqrt(square / 2**-LENGTH_UNIT) for square in squares]
    radius = sorted(distances)[(len(distances) - 1) // 2] * factor_ppm / MILLION
    return np.array([WHOLE if d <= radius else int(WHOLE * radius / d) for d in distances], np.int64)
