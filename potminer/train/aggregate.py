"""The next model, bit for bit: theta' = theta - eta * (1/N) * sum of updates.

Everything here is exact or a single IEEE operation in a written order, so any machine gets
the same bytes, whatever the order in which updates arrive:

1. per block, grid = (largest exponent among the updates) - 32;
2. each integer is moved to the grid: shifted left by e - grid where that is >= 0 (at most
   32), else (q + 2**(d-1)) >> d with d = min(grid - e, 8), which rounds it (to 0 from 8 on);
3. the moved integers are summed in int64: 4,096 updates of 126 * 2**32 stay below 2**51;
4. in float64: sum * 2**grid, exactly; divided by N; times eta, where eta is
   outer_rate_nano / 10**9 rounded once; subtracted from theta;
5. a result below 2**-126 in magnitude is +0; the rest is rounded to float32.

A result that is not finite stops the round: nothing ever steps on it. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from potminer.base import limits
from potminer.train.refusal import Reason, Refused
from potminer.train.snap import BLOCK, Snapshot, powers
from potminer.train.weights import Floats

HEADROOM = 32
_SMALLEST = 2.0**-126

Sums = npt.NDArray[np.int64]


def aggregate(base: Floats, updates: Callable[[], Iterable[Snapshot]], *, rate_nano: int) -> Floats:
    """The next flat weights from *base* [n] and at least one update of n parameters.

    *updates* is called twice and must give the same snapshots: once for their exponents,
    once for their integers, so that only one is in memory at a time.
    """
    grid, count = _grid(updates())
    if not 0 < count <= limits.UNITS_PER_ROUND:
        raise AssertionError(f"{count} updates to aggregate")
    sums = np.zeros((len(grid), BLOCK), np.int64)
    for update in updates():
        sums += _moved(update, grid)
    return _outer_step(base, sums, grid, count=count, rate_nano=rate_nano)


def _grid(updates: Iterable[Snapshot]) -> tuple[Sums, int]:
    largest: Sums = np.zeros(0, np.int64)
    count = 0
    for update in updates:
        exponents = update.exponents.astype(np.int64)
        largest = np.maximum(largest, exponents) if count else exponents
        count += 1
    return largest - HEADROOM, count


def _moved(update: Snapshot, grid: Sums) -> Sums:
    """The update's integers on the grid, [blocks, 256]; elements beyond the last parameter are 0."""
    levels = np.zeros((len(grid), BLOCK), np.int64)
    levels.reshape(-1)[: len(update.levels)] = update.levels
    shift = (update.exponents.astype(np.int64) - grid)[:, None]
    up, down = np.clip(shift, 0, HEADROOM), np.clip(-shift, 1, 8)
    halves = np.left_shift(np.int64(1), down - 1)
    return np.asarray(np.where(shift >= 0, levels << up, (levels + halves) >> down), np.int64)


def _outer_step(base: Floats, sums: Sums, grid: Sums, *, count: int, rate_nano: int) -> Floats:
    exact = sums.astype(np.float64) * powers(grid)[:, None]
    step = exact.reshape(-1)[: len(base)] / float(count)
    step *= rate_nano / 10**9
    result = base.astype(np.float64) - step
    result[np.abs(result) < _SMALLEST] = 0.0
    with np.errstate(over="ignore"):
        rounded = result.astype(np.float32)
    if not bool(np.all(np.isfinite(rounded))):
        raise Refused(Reason.DIVERGED, "a weight of the next model is not finite")
    return rounded
