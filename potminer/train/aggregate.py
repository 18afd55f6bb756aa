"""The next model, bit for bit: theta' = theta - eta * (1/N) * sum of updates, or Nesterov's step with that mean.

Everything here is exact or a single IEEE operation in a written order, so any machine gets
the same bytes, whatever the order in which updates arrive:

1. per block, grid = (largest exponent among the updates) - 32;
2. each integer is moved to the grid: shifted left by e - grid where that is >= 0 (at most
   32), else (q + 2**(d-1)) >> d with d = min(grid - e, 8), which rounds it (to 0 from 8 on);
3. the moved integers are summed in int64: 4,096 updates of 126 * 2**32 stay below 2**51;
4. in float64: the mean d = sum * 2**grid, exactly, divided by N;
5. with an outer momentum mu = outer_momentum_nano / 10**9, rounded once: the new buffer
   m' = mu * m + d is rounded to float32 and d becomes d + mu * m'. Without, m is not there;
6. d times eta, where eta is outer_rate_nano / 10**9 rounded once; subtracted from theta;
7. rounding to float32: a result below 2**-126 in magnitude is +0.

A result that is not finite stops the round: nothing ever steps on it. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from potminer.base import limits
from potminer.train.dither import Doubles
from potminer.train.grid import Grid, powers
from potminer.train.refusal import Reason, Refused
from potminer.train.weights import Floats, Model
from potminer.wire.task import BLOCK

HEADROOM = 32
_SMALLEST = 2.0**-126

Sums = npt.NDArray[np.int64]


def aggregate(
    base: Model, updates: Callable[[], Iterable[Grid]], *, rate_nano: int, momentum_nano: int = 0
) -> Model:
    """The next model from *base* and at least one update of as many parameters.

    *updates* is called twice and must give the same ones: once for their exponents, once for
    their integers, so that only one is in memory at a time.
    """
    grid, count = _grid(updates())
    if not 0 < count <= limits.UNITS_PER_ROUND:
        raise AssertionError(f"{count} updates to aggregate")
    sums = np.zeros((len(grid), BLOCK), np.int64)
    for update in updates():
        sums += _moved(update, grid)
    mean = (sums.astype(np.float64) * powers(grid)[:, None]).reshape(-1)[: len(base.weights)] / float(count)
    momentum = _next_momentum(base, mean, momentum_nano)
    if momentum is not None:
        mean = mean + momentum.astype(np.float64) * (momentum_nano / 10**9)
    mean *= rate_nano / 10**9
    return Model(_rounded(base.weights.astype(np.float64) - mean), momentum)


def _next_momentum(base: Model, mean: Doubles, momentum_nano: int) -> Floats | None:
    if not momentum_nano:
        return None
    if base.momentum is None:  # the first round's model is weights alone
        return _rounded(mean)
    return _rounded(base.momentum.astype(np.float64) * (momentum_nano / 10**9) + mean)


def _grid(updates: Iterable[Grid]) -> tuple[Sums, int]:
    largest: Sums = np.zeros(0, np.int64)
    count = 0
    for update in updates:
        exponents = update.exponents.astype(np.int64)
        largest = np.maximum(largest, exponents) if count else exponents
        count += 1
    return largest - HEADROOM, count


def _moved(update: Grid, grid: Sums) -> Sums:
    """The update's integers on the grid, [blocks, 256]; elements beyond the last parameter are 0."""
    levels = np.zeros((len(grid), BLOCK), np.int64)
    levels.reshape(-1)[: len(update.levels)] = update.levels
    shift = (update.exponents.astype(np.int64) - grid)[:, None]
    up, down = np.clip(shift, 0, HEADROOM), np.clip(-shift, 1, 8)
    halves = np.left_shift(np.int64(1), down - 1)
    return np.asarray(np.where(shift >= 0, levels << up, (levels + halves) >> down), np.int64)


def _rounded(values: Doubles) -> Floats:
    """To float32, once; Refused where a number is not finite."""
    values = np.where(np.abs(values) < _SMALLEST, 0.0, values)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if not bool(np.all(np.isfinite(rounded))):
        raise Refused(Reason.DIVERGED, "a number of the next model is not finite")
    return rounded
