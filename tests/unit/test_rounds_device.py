"""The device behind a unit: named when it commits, measured first where it is new, given up where it is unfit."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.core.rounds.events import DutyChanged, Reported
from potminer.wire.record import Audit, Judgement, Outcome, Phase, Standing, UnitRecord
from potminer.wire.trainer import Audited, AuditJob, Trained
from potminer.wire.tx import AuditVerdict, CommitWork, Finding, JoinTask, LeaveTask
from tests.unit.rounds_node import (
    DATA,
    OTHER,
    OWN,
    RESIDUES,
    SNAPSHOTS,
    TASK,
    THEIRS,
    Node,
    current,
    jobs,
    said,
    seen,
)

OWN_UNIT = UnitRecord(OWN, snapshots=SNAPSHOTS)
THEIR_UNIT = UnitRecord(OTHER, snapshots=THEIRS)
AUDIT = current(Phase.AUDIT, audits=(Audit(1, 3, OWN),))


def auditing(*, have: tuple[bytes, ...] = (*DATA, *THEIRS), conduct: str | None = None) -> Node:
    node = Node(have=have, conduct=conduct)
    node.tell(DutyChanged(True))
    return node


def test_a_commitment_names_the_device_that_computed_and_a_calibrating_unit_has_the_smallest_cheat_measured() -> None:
    node = Node(have=DATA)
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(current())))
    made = Trained(job.job, SNAPSHOTS, 500_000, 32, 1, RESIDUES, (30_000,), "cuda-8.6")
    (work,) = said(node.tell(Reported(made)))
    assert isinstance(work, CommitWork)
    assert work.device == "cuda-8.6"
    for calibrating in (False, True):
        theirs = replace(THEIR_UNIT, calibrating=calibrating)
        auditor = auditing()
        (audit,) = jobs(auditor.tell(seen(AUDIT, (OWN_UNIT, theirs))))
        assert isinstance(audit, AuditJob)
        assert audit.calibrate == calibrating
        (verdict,) = said(auditor.tell(Reported(Audited(audit.job, Finding.MEASURED, 7, 1, 1, b"sketch", 40_000))))
        assert isinstance(verdict, AuditVerdict)
        assert verdict.cheat_ppm == 40_000


@pytest.mark.parametrize(
    ("measured", "allowed", "calibrating", "leaves"),
    [(11, 10, False, False), (101, 10, False, True), (1_001, 1_000, True, True), (None, 10, False, False)],
)
def test_who_finds_its_device_unfit_leaves_before_it_costs_the_bond(
    measured: int | None, allowed: int, calibrating: bool, leaves: bool
) -> None:
    ended = Judgement(Outcome.OUT_OF_TOLERANCE, measured, allowed)
    bad = replace(OWN_UNIT, judgement=ended, calibrating=calibrating)
    for conduct in (None, "lazy-2"):
        node = auditing(conduct=conduct)
        effects = node.tell(seen(current(Phase.AGGREGATE), (bad, THEIR_UNIT)))
        assert (LeaveTask(TASK) in said(effects)) == (leaves and conduct is None)
        back = said(node.tell(seen(None, standing=Standing.LEFT), after_ms=60_000))
        assert (JoinTask(TASK) in back) != (leaves and conduct is None)
