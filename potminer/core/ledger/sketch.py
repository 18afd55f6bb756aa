"""Whether an auditor recomputed what it was paid for: its sketch against the leaf that the trainer opens.

The two have residues at the same 128 probes. Whoever computed the segment differs by hardly anything; who guesses is
56/15 off on average, as two points on a circle of 15 are. The border lies at 7/3 (figures and tails:
docs/spec/training.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from potminer.wire.record import Audit, UnitRecord, Verdict
from potminer.wire.residue import LEVELS, VOID, levels
from potminer.wire.task import TaskSpec

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


SURELY_PROVES_PPM = 300
"""Noise that measures as so little never looks like a guess, however wide the intervals are."""


def proves_ppm(spec: TaskSpec, segment: int) -> int:
    """Largest allowed error of *segment* under which residues prove anything: honest noise that is allowed more than
    this could look like a guess. The wide intervals of a payload of two bits hide more noise."""
    return SURELY_PROVES_PPM if segment == spec.segments and spec.compression == "wan2" else 5_000


def opened(audit: Audit, unit: UnitRecord) -> bytes | None:
    """The leaf of *audit* as the trainer of *unit* showed it."""
    of = (shown for shown in unit.openings if (shown.segment, shown.leaf) == (audit.segment, audit.leaf))
    return next((shown.residues for shown in of), None)


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An auditor's *sketch* and the *leaf* that the trainer was bound to: one of the two was not computed."""

    sketch: bytes
    leaf: bytes

    def with_trainer(self, judges: list[Verdict]) -> list[Verdict]:
        """Judges whose own residues show that the trainer told the truth, so that the auditor did not recompute."""
        return [said for said in judges if differs(said.sketch, self.sketch) and not differs(said.sketch, self.leaf)]

    def with_auditor(self, judges: list[Verdict]) -> list[Verdict]:
        """Judges whose own residues show that the trainer was bound to false ones."""
        return [said for said in judges if differs(said.sketch, self.leaf) and not differs(said.sketch, self.sketch)]


def contradiction(audit: Audit, unit: UnitRecord, verdict: Verdict | None, spec: TaskSpec) -> Contradiction | None:
    leaf, cap = opened(audit, unit), spec.audit.tolerance_ppm
    allowed = cap if unit.allowed_ppm is None else unit.allowed_ppm
    if verdict is None or not verdict.sketch or leaf is None or allowed > proves_ppm(spec, audit.segment):
        return None
    if not differs(verdict.sketch, leaf):
        return None
    return Contradiction(verdict.sketch, leaf)
