"""Whether an auditor recomputed what it was paid for: its sketch against a leaf that the trainer was bound to.

The two have residues at the same 128 probes. Whoever computed the segment differs by hardly anything; who guesses is
56/15 off on average, as two points on a circle of 15 are. The border lies at 7/3 (figures and tails:
docs/spec/training.md).
"""

from __future__ import annotations

from potminer.wire.residue import LEVELS, VOID, levels

FEWEST = 32
"""Residues that must count: below, a guess would pass too often and nothing follows from it."""
BORDER = 7, 3
"""Largest mean distance of a sketch that agrees, as a fraction."""


def differs(sketch: bytes, leaf: bytes) -> bool:
    """Whether the two were not computed from the same segment. False also where too little counts to tell.

    A residue that only one of them calls void is as wrong as can be; what both call void does not count.
    """
    counted = distance = 0
    for ours, theirs in zip(levels(sketch), levels(leaf), strict=True):
        if ours == theirs == VOID:
            continue
        counted += 1
        apart = abs(ours - theirs)
        distance += LEVELS // 2 if VOID in (ours, theirs) else min(apart, LEVELS - apart)
    return counted >= FEWEST and distance * BORDER[1] > counted * BORDER[0]
