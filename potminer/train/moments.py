"""The second moment that a round ends with: one vector of all accepted units' own, exactly and in no order.

A unit's moment is ``half`` floats without a sign: eight bits of precision and an exponent E for every element. For the
``mean``, per element:

1. top = the largest E of the units;
2. a unit's integer of eight bits, its hidden one included, is shifted left by 32 and right by top - E: what
   is below 2**-32 of the largest is cut off;
3. the integers are summed in int64: 4,096 of 255 * 2**32 stay below 2**52;
4. in float64: sum * 2**(top - 134 - 32), divided by N; rounded to float32 once, as every number of a model is.

With a robust rule of aggregation it is the lower median of every coordinate: half floats without a sign are ordered
as their integers are. Both are the same for a slice as for the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from potminer.train.aggregate import rounded
from potminer.train.grid import powers
from potminer.train.half import Half
from potminer.train.weights import Floats
from potminer.wire.task import Aggregation, Mean

Moments = Callable[[], Iterable[Half]]

HEADROOM = 32
_BIAS = 134
"""Of a bfloat16's exponent, and the seven bits behind its hidden one."""
_CHUNK = 2**16


def combined(moments: Moments, rule: Aggregation) -> Floats:
    """The next model's moment from at least one. *moments* may be called twice and must give the same ones."""
    return _mean(moments) if isinstance(rule, Mean) else _median([moment.levels for moment in moments()])


def _mean(moments: Moments) -> Floats:
    top, count = np.zeros(0, np.int64), 0
    for moment in moments():
        exponents = (moment.levels >> 7).astype(np.int64)
        top = np.maximum(top, exponents) if count else exponents
        count += 1
    sums = np.zeros_like(top)
    for moment in moments():
        levels = moment.levels.astype(np.int64)
        exponents = levels >> 7
        integers = np.where(levels > 0, levels & 0x7F | 0x80, 0) << HEADROOM
        sums += integers >> np.minimum(top - exponents, 63)
    return rounded(sums.astype(np.float64) * powers(top - _BIAS - HEADROOM) / float(count))


def _median(levels: list[np.ndarray[tuple[int], np.dtype[np.uint16]]]) -> Floats:
    middle, found = (len(levels) - 1) // 2, np.empty_like(levels[0])
    for first in range(0, len(found), _CHUNK):
        part = slice(first, first + _CHUNK)
        found[part] = np.partition([each[part] for each in levels], middle, axis=0)[middle]
    return Half(found).values()
