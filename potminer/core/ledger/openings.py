"""What trainers owe to the auditors of their units once these have spoken."""

from __future__ import annotations

from collections import Counter

from potminer.core.ledger.judge import audit_passes, verdict_of
from potminer.core.ledger.sketch import opened
from potminer.wire.record import Audit, RoundRecord, UnitRecord
from potminer.wire.task import TaskSpec

AT_ONCE = 64
"""Openings that a trainer is given the time of a reveal for."""


def owed(current: RoundRecord, units: list[UnitRecord]) -> list[Audit]:
    """Audits that found the work good and whose leaf is not open yet. To an auditor that finds it bad nothing is
    owed: the committee recomputes it anyway, and silence must not be a way around that."""
    found = []
    for audit in current.audits:
        unit = units[audit.slot]
        verdict = verdict_of(audit, unit)
        passed = verdict is not None and audit_passes(verdict, unit.allowed_ppm)
        if passed and unit.judgement is None and opened(audit, unit) is None:
            found.append(audit)
    return found


def opening_ms(audits: list[Audit], current: RoundRecord, spec: TaskSpec) -> int:
    """How long all of *audits* may take their trainers to open."""
    most = max(Counter(current.slots[audit.slot] for audit in audits).values(), default=0)
    return spec.deadlines.reveal_ms * max(1, -(-most // AT_ONCE))
