"""Residues of a recomputed segment: proof that whoever states them has computed it.

A snapshot's integer says which interval of width s a value u lay in. Its residue says where u lay on a circle of
circumference t, half the scale that 8 bits would have, in fifteenths:

    residue = floor(15 * frac(u / t))

Nobody can read it out of snapshots: for them one place in an interval is about as likely as another. Where the value
moved less than t in the segment they could (it is about where it was), so such a residue is void and counts for
nothing. Rounding errors of other machines are a small part of a fifteenth (figures: docs/spec/training.md).

Residues are taken at 4,096 probes of the update alone, drawn for unit and segment: half of them uniformly, half by
turns from each tensor, or a rig could leave out whatever the largest tensor does not need.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from potminer.base.digest import Domain, digest, number
from potminer.train.dither import Doubles
from potminer.train.grid import LEAST, Grid, powers
from potminer.train.shapes import parameters
from potminer.train.weights import Floats, flush
from potminer.wire.model import ModelSpec
from potminer.wire.residue import LEAVES, LEVELS, PER_LEAF, VOID
from potminer.wire.task import BLOCK, Unit, unit_digest

PROBES = LEAVES * PER_LEAF
FINER = {8: 1, 4: 5, 2: 8}
"""By how many powers of two t is below the scale of each width; so a block's peak is 112 to 256 times t."""

Places = npt.NDArray[np.int64]


def probes(model: ModelSpec, unit: Unit, segment: int) -> Places:
    """Coordinates of the update, [PROBES], with repetitions.

    Word i of a Philox 4x64-10 stream (key: the first 16 bytes, little-endian, of digest(RESIDUES, unit digest, segment
    as eight bytes); counter from zero as numpy starts it) draws probe i: (word >> 32) * size >> 32 in the whole update
    where i is even, in tensor (i // 2) mod their number where it is odd.
    """
    key = digest(Domain.RESIDUES, unit_digest(unit), number(segment))
    words = np.random.Philox(key=int.from_bytes(key[:16], "little")).random_raw(PROBES) >> np.uint64(32)
    placed = parameters(model)
    starts, sizes = np.zeros(PROBES, np.uint64), np.full(PROBES, placed[-1].stop, np.uint64)
    turn = np.arange(PROBES // 2) % len(placed)
    starts[1::2] = np.array([p.start for p in placed], np.uint64)[turn]
    sizes[1::2] = np.array([p.stop - p.start for p in placed], np.uint64)[turn]
    return (starts + (words * sizes >> np.uint64(32))).astype(np.int64)


def residues(claimed: Grid, reached: Floats, before: Floats, at: Places) -> bytes:
    """Residues at the probes *at* of the update *reached*, not yet snapped, that began the segment as *before*.

    *claimed* is the snapshot made of it; its scales alone matter. Packed as ``wire.residue`` says.
    """
    exponents = claimed.exponents[at // BLOCK]
    circle = powers(exponents - np.int16(FINER[claimed.bits]))
    value = flush(reached[at]).astype(np.float64)
    moved = np.abs(value - before[at])
    void = ~(moved >= circle) | ~np.isfinite(value) | (exponents <= LEAST)
    turns: Doubles = np.where(void, 0.0, value / circle)
    levels = np.minimum(np.floor((turns - np.floor(turns)) * LEVELS), LEVELS - 1).astype(np.uint8)
    levels[void] = VOID
    return (levels[0::2] | levels[1::2] << 4).tobytes()
