"""The interval audit: how far a claimed snapshot is from what its segment really computes.

Nobody requantises: an integer q stands for the interval [(q - r) * s, (q - r + 1) * s) of the
state it came from, and the error is the distance of the recomputed state to these
intervals, relative to the segment's own change. Honest noise of 1e-6 almost never leaves
an interval, so it measures as nothing.

A wide interval would hide anything, so the scale must be the recomputed one. Its neighbour
is accepted where the block's recomputed peak is within 2**-10 of the boundary between the
two. A block with any other scale counts with its whole change, or with the distance to the
far ends of its intervals where that is more.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from potminer.train.refusal import Refused
from potminer.train.snap import (
    BLOCK,
    PEAK,
    Doubles,
    Exponents,
    Snapshot,
    blocks,
    dithers,
    exponents_of,
    part_of,
    peaks,
    powers,
)
from potminer.train.weights import Floats, flush
from potminer.wire.task import Unit

WORST_PPM = 2**40
_NEAR = 2.0**-10


def segment_error_ppm(*, claimed: Snapshot, recomputed: Floats, before: Floats, unit: Unit, segment: int) -> int:
    """Relative L2 error of *claimed* in parts per million, rounded up, at most WORST_PPM.

    *recomputed* [n] is the state after the segment, *before* [n] the one it started from.
    """
    recomputed = flush(recomputed)
    try:
        expected = exponents_of(recomputed)
    except Refused:
        return WORST_PPM  # no honest trainer can have a snapshot of this
    fair = _scales_agree(claimed.exponents, expected, peaks(recomputed))
    near, far, change = _distances(claimed, recomputed, before, unit, segment)
    error = float(np.where(fair, near, np.maximum(far, change)).sum())
    return _ppm(error, float(change.sum()))


def _scales_agree(claimed: Exponents, expected: Exponents, peak: Floats) -> npt.NDArray[np.bool_]:
    step = claimed.astype(np.int32) - expected
    boundary = PEAK * powers(expected - (step < 0))
    beside = np.abs(peak - boundary) <= boundary * _NEAR
    return np.asarray((step == 0) | ((np.abs(step) == 1) & beside), np.bool_)


def _distances(
    claimed: Snapshot, recomputed: Floats, before: Floats, unit: Unit, segment: int
) -> tuple[Doubles, Doubles, Doubles]:
    """Squared, per block: distance to the intervals, to their far ends, and the segment's own change."""
    total = blocks(len(recomputed))
    near, far, change = np.zeros(total), np.zeros(total), np.zeros(total)
    for part, dither in dithers(unit, segment, len(recomputed)):
        scale = powers(part_of(claimed.exponents, part))
        low = (claimed.levels[part] - dither) * scale
        value = recomputed[part].astype(np.float64)
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


def _ppm(error: float, change: float) -> int:
    if error == 0:
        return 0
    if change == 0:
        return WORST_PPM
    return min(WORST_PPM, math.ceil(1e6 * math.sqrt(error / change)))
