"""Judging one unit: by its auditors' integers, or by the committee's in a dispute."""

from __future__ import annotations

from dataclasses import dataclass, field

from potminer.base.quorum import is_quorum, is_weak_quorum
from potminer.core.ledger.sketch import contradiction
from potminer.wire.record import Audit, CommitteeRecord, Outcome, UnitRecord, Verdict
from potminer.wire.task import TaskSpec
from potminer.wire.tx import Finding

BAD = (Outcome.OUT_OF_TOLERANCE, Outcome.MALFORMED)
"""What a quorum of judges calls proven."""


@dataclass(frozen=True, slots=True)
class UnitRuling:
    """*outcome* is None while the committee may still agree. *rulings* are those on its segments."""

    outcome: Outcome | None
    measured_ppm: int | None = None
    rulings: dict[int, Outcome] = field(default_factory=dict)
    measured: dict[int, int] = field(default_factory=dict)
    """The quorum's number on a segment that it found out of tolerance."""
    lazy: list[bytes] = field(default_factory=list)
    """Auditors that a quorum's own residues prove not to have recomputed."""
    hidden: list[int] = field(default_factory=list)
    """Segments that no quorum could look at, though it is not the judges' absence alone."""


def audit_passes(verdict: Verdict, allowed_ppm: int | None) -> bool:
    """Whether *verdict* is at most what its unit's audits allow; before they are drawn that is nothing."""
    return verdict.finding == Finding.MEASURED and allowed_ppm is not None and verdict.error_ppm <= allowed_ppm


def verdict_of(audit: Audit, unit: UnitRecord) -> Verdict | None:
    """What the auditor of *audit* said."""
    of = (said for said in unit.verdicts if said.judge == audit.auditor and said.segment == audit.segment)
    return next(of, None)


def rule_unit(
    audits: list[Audit], unit: UnitRecord, committee: CommitteeRecord, spec: TaskSpec, *, final: bool
) -> UnitRuling:
    """One bad segment makes a unit bad, whatever the others are; it is good once all that was disputed is."""
    rulings: dict[int, Outcome] = {}
    lazy: list[bytes] = []
    hidden: list[int] = []
    measured: list[int] = []
    waiting = False
    for audit in audits:
        verdict = verdict_of(audit, unit)
        if not audit.disputed:
            measured += [verdict.error_ppm] if verdict is not None else []
            continue
        passed = verdict is not None and audit_passes(verdict, unit.allowed_ppm)
        otherwise = (Outcome.ACCEPTED, verdict.error_ppm) if verdict is not None and passed else None
        judges = tuple(j for j in unit.judges if j.segment == audit.segment and j.judge in committee.members)
        ruling = resolve_dispute(
            judges, committee, tolerance_ppm=unit.allowed_ppm or 0, final=final, otherwise=otherwise
        )
        doubt = contradiction(audit, unit, verdict, spec) if _sketched_by_judges(audit, audits) else None
        if verdict is not None and doubt is not None and (ruling is None or ruling[0] == Outcome.ACCEPTED):
            good = [said for said in judges if audit_passes(said, unit.allowed_ppm)]
            if _agreed(doubt.with_auditor(good), committee):
                ruling = (Outcome.FALSE_RESIDUES, None)
            elif _agreed(doubt.with_trainer(good), committee):
                lazy.append(verdict.judge)
            elif not final and len(judges) < len(committee.members):
                ruling = None  # who of the two lied may still come out
        if ruling is None:
            waiting = True
            continue
        rulings[audit.segment] = ruling[0]
        if audit.segment not in hidden and is_hidden(judges, committee, tolerance_ppm=unit.allowed_ppm or 0):
            hidden.append(audit.segment)
        if ruling[0] in (*BAD, Outcome.FALSE_RESIDUES):
            found = {audit.segment: ruling[1]} if ruling[1] is not None else {}
            return UnitRuling(*ruling, rulings, found, lazy, hidden)
        measured += [ruling[1]] if ruling[1] is not None else []
    if waiting:
        return UnitRuling(None)
    if Outcome.UNAVAILABLE in rulings.values():
        return UnitRuling(Outcome.UNAVAILABLE, None, rulings, {}, lazy, hidden)
    return UnitRuling(Outcome.ACCEPTED, max(measured, default=None), rulings, {}, lazy, hidden)


def _sketched_by_judges(audit: Audit, audits: list[Audit]) -> bool:
    """A judge recomputes a segment once, and sketches the leaf of the first audit of it that is disputed."""
    return audit == next(a for a in audits if a.disputed and a.segment == audit.segment)


def _agreed(side: list[Verdict], committee: CommitteeRecord) -> bool:
    power = dict(zip(committee.members, committee.powers, strict=True))
    return is_quorum(sum(power.get(said.judge, 0) for said in side), sum(committee.powers))


def resolve_dispute(
    judges: tuple[Verdict, ...], committee: CommitteeRecord, *, tolerance_ppm: int, final: bool,
    otherwise: tuple[Outcome, int | None] | None = None,
) -> tuple[Outcome, int | None] | None:
    """Outcome and measured ppm once a quorum of the committee agrees, or None while it may still.
    What was said by somebody who no longer sits does not count.

    Without a quorum at the deadline (*final*), or when all have spoken, it is *otherwise*: by default unavailable,
    unpaid, nobody punished.
    """
    judges = tuple(said for said in judges if said.judge in committee.members)
    good = [v for v in judges if audit_passes(v, tolerance_ppm)]
    measured_bad = [v for v in judges if v.finding == Finding.MEASURED and v.error_ppm > tolerance_ppm]
    malformed = [v for v in judges if v.finding == Finding.MALFORMED]
    absent = [v for v in judges if v.finding == Finding.UNAVAILABLE]
    if _agreed(good, committee):
        return Outcome.ACCEPTED, median_ppm([v.error_ppm for v in good])
    if _agreed(measured_bad + malformed, committee):
        if len(malformed) > len(measured_bad):
            return Outcome.MALFORMED, None
        return Outcome.OUT_OF_TOLERANCE, median_ppm([v.error_ppm for v in measured_bad])
    if _agreed(absent, committee):
        return Outcome.UNAVAILABLE, None
    if final or len(judges) == len(committee.members):
        return otherwise or (Outcome.UNAVAILABLE, None)
    return None


def is_hidden(judges: tuple[Verdict, ...], committee: CommitteeRecord, *, tolerance_ppm: int) -> bool:
    """Whether no quorum measured, and judges with more than a third of the power, so an honest one, could not fetch or
    found the work bad. Silence counts for nothing: who cannot compute says nothing. Nor is hidden what judges with more
    than a third pass: one of them is honest, and looked at it."""
    power = dict(zip(committee.members, committee.powers, strict=True))
    good = [said for said in judges if audit_passes(said, tolerance_ppm)]
    absent = [said for said in judges if said.finding == Finding.UNAVAILABLE]
    bad = [said for said in judges if said not in good and said not in absent]
    if is_passed_by_some(judges, committee, tolerance_ppm=tolerance_ppm) or _agreed(bad, committee):
        return False
    return is_weak_quorum(sum(power.get(said.judge, 0) for said in (*absent, *bad)), sum(committee.powers))


def is_passed_by_some(judges: tuple[Verdict, ...], committee: CommitteeRecord, *, tolerance_ppm: int) -> bool:
    """Whether judges with more than a third of the power, so an honest one, recomputed the work and found it good."""
    power = dict(zip(committee.members, committee.powers, strict=True))
    good = sum(power.get(said.judge, 0) for said in judges if audit_passes(said, tolerance_ppm))
    return is_weak_quorum(good, sum(committee.powers))


def median_ppm(errors: list[int]) -> int:
    """Lower median: between honest judges' numbers whatever a minority says."""
    ordered = sorted(errors)
    return ordered[(len(ordered) - 1) // 2]
