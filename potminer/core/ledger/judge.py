"""Judging one unit: by its auditor's integer, or by the committee's in a dispute."""

from __future__ import annotations

from potminer.base.quorum import is_quorum
from potminer.wire.record import CommitteeRecord, Outcome, Verdict
from potminer.wire.tx import Finding


def audit_passes(verdict: Verdict, tolerance_ppm: int) -> bool:
    return verdict.finding == Finding.MEASURED and verdict.error_ppm <= tolerance_ppm


def resolve_dispute(
    judges: tuple[Verdict, ...], committee: CommitteeRecord, *, tolerance_ppm: int, final: bool
) -> tuple[Outcome, int | None] | None:
    """Outcome and measured ppm once a quorum of the committee agrees, or None while it may still.

    Without a quorum at the deadline (*final*), or when all have spoken, the unit counts as
    unavailable: unpaid, nobody punished.
    """
    power = dict(zip(committee.members, committee.powers, strict=True))
    total = sum(committee.powers)

    def agreed(side: list[Verdict]) -> bool:
        return is_quorum(sum(power[v.judge] for v in side), total)

    good = [v for v in judges if audit_passes(v, tolerance_ppm)]
    measured_bad = [v for v in judges if v.finding == Finding.MEASURED and v.error_ppm > tolerance_ppm]
    malformed = [v for v in judges if v.finding == Finding.MALFORMED]
    absent = [v for v in judges if v.finding == Finding.UNAVAILABLE]
    if agreed(good):
        return Outcome.ACCEPTED, _median_ppm(good)
    if agreed(measured_bad + malformed):
        if len(malformed) > len(measured_bad):
            return Outcome.MALFORMED, None
        return Outcome.OUT_OF_TOLERANCE, _median_ppm(measured_bad)
    if agreed(absent) or final or len(judges) == len(committee.members):
        return Outcome.UNAVAILABLE, None
    return None


def _median_ppm(verdicts: list[Verdict]) -> int:
    """Lower median: between honest judges' numbers whatever a minority says."""
    ordered = sorted(v.error_ppm for v in verdicts)
    return ordered[(len(ordered) - 1) // 2]
