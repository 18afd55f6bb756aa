"""The interval audit: how far a claimed snapshot is from what its segment really computes.

Nobody requantises: an integer q stands for the interval of values that it came from, and the
error is the distance of the recomputed state to these intervals, relative to the segment's own change.
Honest noise of 1e-6 almost never leaves an interval, so it measures as nothing. Each vector
of a snapshot is held against its own change; the worst of them is the segment's error.

A wide interval would hide anything, so a grid's scale must be the recomputed one. Its neighbour
is accepted where the block's recomputed peak is within 2**-10 of the boundary between the
two. A block with any other scale counts with its whole change, or with the distance to the
far ends of its intervals where that is more. A ``half`` has no scale to lie about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from potminer.train.dither import Doubles, dithers, half_words
from potminer.train.grid import PEAKS, Exponents, Grid, blocks, exponents_of, part_of, peaks, powers
from potminer.train.half import Half, intervals
from potminer.train.refusal import Refused
from potminer.train.snap import Snapshot, State
from potminer.train.weights import Floats, flush
from potminer.wire.task import BLOCK, Unit

WORST_PPM = 2**40
_NEAR = 2.0**-10


def segment_error_ppm(*, claimed: Snapshot, recomputed: State, before: State, unit: Unit, segment: int) -> int:
    """Relative L2 error of *claimed* in parts per million, rounded up, at most WORST_PPM.

    *recomputed* is the state after the segment, *before* the one it started from.
    """
    errors = []
    for at, vector in enumerate(claimed.vectors):
        reached = flush(recomputed[at])
        measure = _grid_error if isinstance(vector, Grid) else _half_error
        errors.append(measure(vector, reached, before[at], unit, segment, at))  # type: ignore[arg-type]
    return max(errors)


# ---- grids -------------------------------------------------------------------------------


def _grid_error(claimed: Grid, reached: Floats, before: Floats, unit: Unit, segment: int, vector: int) -> int:
    try:
        expected = exponents_of(reached, bits=claimed.bits)
    except Refused:
        return WORST_PPM  # no honest trainer can have a snapshot of this
    fair = _scales_agree(claimed.exponents, expected, peaks(reached), PEAKS[claimed.bits])
    near, far, change = _distances(claimed, reached, before, dithers(unit, segment, len(reached), vector=vector))
    error = float(np.where(fair, near, np.maximum(far, change)).sum())
    return _ppm(error, float(change.sum()))


def _scales_agree(claimed: Exponents, expected: Exponents, peak: Floats, most: int) -> npt.NDArray[np.bool_]:
    step = claimed.astype(np.int32) - expected
    boundary = most * powers(expected - (step < 0))
    beside = np.abs(peak - boundary) <= boundary * _NEAR
    return np.asarray((step == 0) | ((np.abs(step) == 1) & beside), np.bool_)


def _distances(
    claimed: Grid, reached: Floats, before: Floats, dither: Iterable[tuple[slice, Doubles]]
) -> tuple[Doubles, Doubles, Doubles]:
    """Squared, per block: distance to the intervals, to their far ends, and the segment's own change."""
    total = blocks(len(reached))
    near, far, change = np.zeros(total), np.zeros(total), np.zeros(total)
    for part, drawn in dither:
        scale = powers(part_of(claimed.exponents, part))
        low = (claimed.levels[part] - drawn) * scale
        value = reached[part].astype(np.float64)
        below, above = low - value, value - (low + scale)
        inside = slice(part.start // BLOCK, blocks(part.stop))
        near[inside] = _block_squares(np.maximum(np.maximum(below, above), 0))
        far[inside] = _block_squares(np.maximum(np.abs(below), np.abs(above)))
        change[inside] = _block_squares(value - before[part])
    return near, far, change


def _block_squares(values: Doubles) -> Doubles:
    padded = np.zeros(blocks(len(values)) * BLOCK)
    np.square(values, out=padded[: len(values)])
    return np.asarray(padded.reshape(-1, BLOCK).sum(axis=1), np.float64)


# ---- half floats -------------------------------------------------------------------------


def _half_error(claimed: Half, reached: Floats, before: Floats, unit: Unit, segment: int, vector: int) -> int:
    if not bool(np.all(np.isfinite(reached))):
        return WORST_PPM
    error = change = 0.0
    magnitudes, negative = claimed.magnitudes(), claimed.levels >> 15 == 1
    for part, words in half_words(unit, segment, len(reached), vector=vector):
        near, far = (end.astype(np.float64) for end in intervals(magnitudes[part], words))
        value = reached[part].astype(np.float64)
        # A zero says no sign; everything else is measured in the direction that its sign gives.
        along = np.where(magnitudes[part] == 0, np.abs(value), np.where(negative[part], -value, value))
        error += float(np.square(np.maximum(np.maximum(near - along, along - far), 0)).sum())
        change += float(np.square(value - before[part]).sum())
    return _ppm(error, change)


def _ppm(error: float, change: float) -> int:
    if error == 0:
        return 0
    if change == 0:
        return WORST_PPM
    return min(WORST_PPM, math.ceil(1e6 * math.sqrt(error / change)))
