"""What a trainer opens, when, and that it can after a restart; what an auditor sketches."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.rounds import machine as rounds
from potminer.core.rounds.events import DutyChanged, Reported
from potminer.core.rounds.means import RESUBMIT_MS
from potminer.wire.record import Audit, Opening, Phase, UnitRecord, Verdict
from potminer.wire.residue import leaf_holds, leaf_number, leaves_of, residue_root
from potminer.wire.trainer import Audited, AuditJob
from potminer.wire.tx import AuditVerdict, Body, Finding, OpenResidue, RevealWork
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import (
    DATA,
    OTHER,
    OWN,
    RESIDUES,
    SNAPSHOTS,
    TASK,
    THEIRS,
    Node,
    committed,
    current,
    jobs,
    said,
    seen,
)

AUDITS = (Audit(0, 2, OTHER, 5), Audit(0, 3, blob("third"), 31), Audit(1, 1, OWN, 9))
AUDIT = current(Phase.AUDIT, audits=AUDITS)
THEIR_UNIT = UnitRecord(OTHER, blob("c"), 0, THEIRS)
SKETCH = bytes(64)


def mine(node: Node, *verdicts: Verdict, openings: tuple[Opening, ...] = ()) -> UnitRecord:
    work = node.machine._bound.work((TASK, 0, 0, 0))
    assert work is not None
    return UnitRecord(OWN, blob("c"), 0, SNAPSHOTS, verdicts, residues=work.residues, openings=openings)


def openings(bodies: list[Body]) -> list[OpenResidue]:
    return [body for body in bodies if isinstance(body, OpenResidue)]


def spoke(judge: bytes, segment: int, finding: Finding = Finding.MEASURED) -> Verdict:
    return Verdict(judge, segment, finding, 0, SKETCH if finding == Finding.MEASURED else b"")


def bound() -> Node:
    node = Node(have=DATA)
    committed(node)
    return node


def test_the_root_of_all_residues_is_in_the_reveal() -> None:
    node = bound()
    shown = said(node.tell(seen(current(Phase.REVEAL), (UnitRecord(OWN, blob("c")), UnitRecord(OTHER)))))
    work = next(body for body in shown if isinstance(body, RevealWork))
    assert work.residues == residue_root(RESIDUES)


def test_a_leaf_is_opened_once_its_auditor_has_spoken_on_the_ledger_and_not_before() -> None:
    node = bound()
    assert openings(said(node.tell(seen(AUDIT, (mine(node), THEIR_UNIT))))) == []
    (opening,) = openings(said(node.tell(seen(AUDIT, (mine(node, spoke(OTHER, 2)), THEIR_UNIT)))))
    at = leaf_number(2, 5)
    assert (opening.segment, opening.leaf, opening.residues) == (2, 5, leaves_of(RESIDUES)[at])
    assert leaf_holds(residue_root(RESIDUES), opening.residues, opening.siblings, number=at, segments=4)
    both = mine(node, spoke(OTHER, 2), spoke(blob("third"), 3), openings=(Opening(2, 5, opening.residues),))
    again = openings(said(node.tell(seen(AUDIT, (both, THEIR_UNIT)), after_ms=RESUBMIT_MS)))
    assert [(o.segment, o.leaf) for o in again] == [(3, 31)], "what the ledger has is not said again"


def test_nothing_is_opened_to_whoever_sketched_nothing_or_was_not_drawn() -> None:
    node = bound()
    for verdict in (spoke(OTHER, 2, Finding.MALFORMED), spoke(OTHER, 3), spoke(blob("stranger"), 2)):
        assert openings(said(node.tell(seen(AUDIT, (mine(node, verdict), THEIR_UNIT))))) == []


def test_what_was_asked_for_is_opened_without_duty_and_after_a_restart() -> None:
    before = bound()
    asked = mine(before, spoke(OTHER, 2))
    before.tell(DutyChanged(False))
    opening_phase = replace(AUDIT, phase=Phase.OPEN)
    (expected,) = openings(said(before.tell(seen(opening_phase, (asked, THEIR_UNIT)))))
    after = Node(persisted=before.stored)
    assert openings(said(after.tell(seen(opening_phase, (asked, THEIR_UNIT))))) == [expected]


def test_many_openings_are_said_some_at_a_time_and_the_others_once_those_are_in() -> None:
    node = bound()
    audits = tuple(Audit(0, segment, OTHER, leaf) for segment in (1, 2, 3) for leaf in range(32))
    asked = mine(node, *(spoke(OTHER, segment) for segment in (1, 2, 3)))
    at = current(Phase.AUDIT, audits=audits)
    first = openings(said(node.tell(seen(at, (asked, THEIR_UNIT)))))
    assert len(first) == rounds.OPENINGS_AT_ONCE
    in_block = tuple(Opening(o.segment, o.leaf, o.residues) for o in first)
    second = openings(said(node.tell(seen(at, (replace(asked, openings=in_block), THEIR_UNIT)))))
    assert {(o.segment, o.leaf) for o in (*first, *second)} == {(a.segment, a.leaf) for a in audits}


def test_residues_are_forgotten_with_their_round() -> None:
    node = bound()
    assert len(node.stored) == 1
    node.tell(seen(current(number=1), round=1))
    assert node.stored == {}


def test_an_auditor_sketches_the_leaf_that_was_drawn() -> None:
    node = Node(have=(*DATA, *THEIRS))
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(seen(AUDIT, (UnitRecord(OWN, blob("c"), 0, SNAPSHOTS), THEIR_UNIT))))
    assert isinstance(job, AuditJob)
    assert (job.segment, job.leaf) == (1, 9)
    (verdict,) = said(node.tell(Reported(Audited(job.job, Finding.MEASURED, 7, 1, 1, SKETCH))))
    assert isinstance(verdict, AuditVerdict)
    assert verdict.sketch == SKETCH


def test_a_judge_sketches_the_first_disputed_leaf_of_a_segment() -> None:
    node = Node(payout=False, validator=True, have=(*DATA, *THEIRS))
    audits = (Audit(1, 1, OTHER, 4), Audit(1, 1, OWN, 7, disputed=True), Audit(1, 1, OWN, 9, disputed=True))
    dispute = current(Phase.DISPUTE, audits=audits)
    (job,) = jobs(node.tell(seen(dispute, (UnitRecord(OTHER), THEIR_UNIT))))
    assert isinstance(job, AuditJob)
    assert job.leaf == 7


def test_a_rubber_stamp_invents_a_sketch() -> None:
    node = Node(conduct="rubber-stamp")
    node.tell(DutyChanged(True))
    effects = node.tell(seen(AUDIT, (UnitRecord(OWN, blob("c"), 0, SNAPSHOTS), THEIR_UNIT)))
    (verdict,) = [body for body in said(effects) if isinstance(body, AuditVerdict)]
    assert (verdict.error_ppm, len(verdict.sketch)) == (0, 64)
