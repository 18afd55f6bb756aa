"""What an auditor or a judge found in a segment, as the ledger keeps it."""

from __future__ import annotations

from potminer.base.bounded import U8, Ppm, PublicKey
from potminer.wire.codec import Wire
from potminer.wire.residue import Sketch
from potminer.wire.tx import Finding


class Verdict(Wire, frozen=True):
    judge: PublicKey
    segment: U8
    finding: Finding
    error_ppm: Ppm
    sketch: Sketch = b""
    cheat_ppm: Ppm = 0
