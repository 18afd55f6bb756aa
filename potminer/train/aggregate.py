"""The next model, bit for bit: theta' = theta - eta * (1/N) * sum of updates, or Nesterov's step with that mean.

Everything here is exact or a single IEEE operation in a written order, so any machine gets
the same bytes, whatever the order in which updates arrive:

1. per block, grid = (largest exponent among the updates) - 32;
2. each integer is moved to the grid (``sums``);
3. the moved integers are summed in int64: 4,096 updates of 126 * 2**32 stay below 2**51;
   the rules of ``robust`` combine them in their own way, and end in a sum and a divisor too;
4. in float64: d = sum * 2**grid, divided by the divisor, N for the mean;
5. with an outer momentum mu = outer_momentum_nano / 10**9, rounded once: the new buffer
   m' = mu * m + d is rounded to float32 and d becomes d + mu * m'. Without, m is not there,
   or m' = d where units begin with the last round's momentum;
6. d times eta, where eta is outer_rate_nano / 10**9 rounded once; subtracted from theta;
7. rounding to float32: a result below 2**-126 in magnitude is +0.

A result that is not finite stops the round: nothing ever steps on it. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

import numpy as np

from potminer.base import limits
from potminer.train import robust
from potminer.train.dither import Doubles
from potminer.train.grid import Grid, powers
from potminer.train.refusal import Reason, Refused
from potminer.train.sums import Total, add, roomy_grid
from potminer.train.weights import Floats, Model
from potminer.wire.task import BLOCK, Aggregation, Clipped, Mean, Trimmed

HEADROOM = 32
_SMALLEST = 2.0**-126
_ROWS = 128
"""Blocks stepped at a time: their temporaries stay in a processor's cache."""
_MEAN = Mean()

Updates = Callable[[], Iterable[Grid]]


def aggregate(
    base: Model, updates: Updates, *, rate_nano: int, momentum_nano: int = 0, kept: bool = False,
    rule: Aggregation = _MEAN, seed: bytes = b"", lengths: Sequence[int] | None = None,
) -> Model:
    """The next model from *base* and at least one update of as many parameters.

    *updates* may be called twice and must give the same ones. For the mean only one is in memory at a time; the
    other rules hold all of them, in an order that everybody has, and draw from *seed*. *kept*: a momentum lies beside
    the weights even where its share is 0, and is the mean then. *lengths* are those of whole updates, where clipping
    is given a slice of each.
    """
    total = _combined(updates, rule, seed, lengths)
    weights = np.empty_like(base.weights)
    momentum = np.empty_like(base.weights) if kept or momentum_nano else None
    scale = powers(total.grid)[:, None]
    for first in range(0, len(total.grid), _ROWS):
        rows, part = slice(first, first + _ROWS), slice(first * BLOCK, (first + _ROWS) * BLOCK)
        was = base.weights[part].astype(np.float64)
        step = (total.sums[rows] * scale[rows]).reshape(-1)[: len(was)]
        step /= float(total.divisor)
        if momentum is not None:
            momentum[part] = _next_momentum(base.momentum, part, step, momentum_nano)
            step += momentum[part].astype(np.float64) * (momentum_nano / 10**9)
        step *= rate_nano / 10**9
        weights[part] = rounded(was - step)
    return Model(weights, momentum)


def _next_momentum(before: Floats | None, part: slice, mean: Doubles, momentum_nano: int) -> Floats:
    if before is None:  # the first round's model is weights alone
        return rounded(mean)
    return rounded(before[part].astype(np.float64) * (momentum_nano / 10**9) + mean)


def _combined(updates: Updates, rule: Aggregation, seed: bytes, lengths: Sequence[int] | None) -> Total:
    match rule:
        case Mean():
            return _mean(updates)
        case Trimmed():
            return robust.trimmed(_counted(updates()), rule)
        case Clipped():
            return robust.clipped(_counted(updates()), rule, seed=seed, lengths=lengths)
        case _:
            assert_never(rule)


def _mean(updates: Updates) -> Total:
    grid, count = roomy_grid(updates(), headroom=HEADROOM)
    _check_count(count)
    sums = np.zeros((len(grid), BLOCK))
    for update in updates():
        add(sums, update, grid)
    return Total(sums, grid, count)


def _counted(updates: Iterable[Grid]) -> list[Grid]:
    held = list(updates)
    _check_count(len(held))
    return held


def _check_count(count: int) -> None:
    if not 0 < count <= limits.UNITS_PER_ROUND:
        raise AssertionError(f"{count} updates to aggregate")


def rounded(values: Doubles) -> Floats:
    """To float32, once; Refused where a number is not finite."""
    values = np.where(np.abs(values) < _SMALLEST, 0.0, values)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    if not bool(np.all(np.isfinite(rounded))):
        raise Refused(Reason.DIVERGED, "a number of the next model is not finite")
    return rounded
