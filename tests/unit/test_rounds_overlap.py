"""What a node does while one round is audited and the next one trains."""

from __future__ import annotations

from dataclasses import replace as with_

import pytest
from msgspec.structs import replace

from potminer.core.rounds.events import DutyChanged, Reported, TaskSeen
from potminer.wire.record import Audit, Judgement, Outcome, Phase, RoundRecord, UnitRecord
from potminer.wire.task import AuditSpec
from potminer.wire.trainer import Aggregated, AggregateJob, Audited, AuditJob, TrainJob
from potminer.wire.tx import AggregateResult, AuditVerdict, CommitWork, Finding
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import (
    ACCEPTED,
    BASE,
    DATA,
    OTHER,
    OWN,
    SNAPSHOTS,
    SPEC,
    TASK,
    THEIRS,
    Node,
    cancelled,
    current,
    jobs,
    said,
    seen,
    trained,
)

OVERLAPPING = replace(SPEC, audit=AuditSpec(1_000_000, 1_000, overlap=True))
NEXT = blob("next")
UNITS = (UnitRecord(OWN, blob("c"), 0, SNAPSHOTS), UnitRecord(OTHER, blob("c"), 0, THEIRS))
MINE = (Audit(1, 2, OWN, 0),)
BAD = Judgement(Outcome.OUT_OF_TOLERANCE, 900_000, 1_000)


def overlapping(first: RoundRecord, units: tuple[UnitRecord, ...], ahead: RoundRecord | None = None) -> TaskSeen:
    beside = None if ahead is None else seen(ahead, spec=OVERLAPPING)
    return with_(seen(first, units, spec=OVERLAPPING), ahead=beside)


def two(*, audits: tuple[Audit, ...] = (), phase: Phase = Phase.AUDIT) -> TaskSeen:
    ahead = current(number=1, base=NEXT, seed=blob("other seed"))
    return overlapping(current(phase, audits=audits), UNITS, ahead)


def trainer() -> Node:
    node = Node(have=(*DATA, NEXT, *SNAPSHOTS, *THEIRS))
    node.tell(DutyChanged(True))
    return node


def test_a_trainer_audits_first_and_then_trains_on_what_was_shown() -> None:
    node = trainer()
    (audit,) = jobs(node.tell(two(audits=MINE)))
    assert isinstance(audit, AuditJob)
    effects = node.tell(Reported(Audited(audit.job, Finding.MEASURED, 3, 8, 1, bytes(64))))
    (job,) = jobs(effects)
    assert isinstance(job, TrainJob)
    assert (job.base, job.unit.round, job.unit.seed) == (NEXT, 1, blob("other seed"))
    assert [type(body) for body in said(effects)] == [AuditVerdict]
    (work,) = said(node.tell(trained(job, tuple(blob("new", i) for i in range(4)))))
    assert isinstance(work, CommitWork)
    assert (work.round, work.base) == (1, NEXT)


def test_it_does_not_begin_to_train_while_what_its_audit_needs_is_on_its_way() -> None:
    node = Node(have=(*DATA, NEXT))
    node.tell(DutyChanged(True))
    assert jobs(node.tell(two(audits=MINE))) == []
    (job,) = jobs(node.tell(two()))
    assert isinstance(job, TrainJob)


def test_with_two_workers_it_does_both() -> None:
    node = trainer()
    node.tell(DutyChanged(True, workers=2))
    assert {type(job) for job in jobs(node.tell(two(audits=MINE)))} == {AuditJob, TrainJob}


def test_what_was_trained_for_a_round_ahead_outlives_the_first_and_not_its_own_end() -> None:
    node = trainer()
    (job,) = jobs(node.tell(two()))
    ahead = current(number=1, base=NEXT, seed=blob("other seed"))
    assert cancelled(node.tell(seen(ahead, round=1, spec=OVERLAPPING))) == [], "the first has closed"
    node = trainer()
    (job,) = jobs(node.tell(two()))
    assert cancelled(node.tell(overlapping(current(Phase.AGGREGATE), UNITS))) == [job.job], "it is void"


@pytest.mark.parametrize("phase", [Phase.AUDIT, Phase.OPEN, Phase.DISPUTE])
def test_a_validator_says_early_what_all_that_was_shown_makes(phase: Phase) -> None:
    node = Node(payout=False, validator=True, have=(BASE, SNAPSHOTS[3], THEIRS[3]))
    copy = UnitRecord(OTHER, blob("c"), 0, THEIRS, judgement=Judgement(Outcome.DUPLICATE, None, 1_000))
    first = current(phase, slots=(OWN, OTHER, OTHER))
    (job,) = jobs(node.tell(overlapping(first, (*UNITS, copy))))
    assert isinstance(job, AggregateJob)
    assert [unit.slot for unit in job.units] == [0, 1]
    (result,) = said(node.tell(Reported(Aggregated(job.job, NEXT, (), 1))))
    assert result == AggregateResult(TASK, 0, 0, NEXT, (), early=True)


@pytest.mark.parametrize("phase", [Phase.DRAW, Phase.AUDIT, Phase.OPEN])
def test_without_overlap_it_aggregates_early_too_and_says_nothing_until_it_is_asked(phase: Phase) -> None:
    node = Node(payout=False, validator=True, have=(BASE, SNAPSHOTS[3], THEIRS[3]))
    (job,) = jobs(node.tell(seen(current(phase), UNITS)))
    assert isinstance(job, AggregateJob)
    assert cancelled(node.tell(seen(current(Phase.OPEN), UNITS))) == []
    effects = node.tell(Reported(Aggregated(job.job, NEXT, (), 1)))
    effects += node.tell(seen(current(Phase.OPEN), UNITS), after_ms=4_000)
    assert (jobs(effects), said(effects)) == ([], [])
    good = tuple(replace(unit, judgement=ACCEPTED) for unit in UNITS)
    effects = node.tell(seen(current(Phase.AGGREGATE), good))
    assert (jobs(effects), said(effects)) == ([], [AggregateResult(TASK, 0, 0, NEXT, ())])


def test_without_overlap_a_worker_is_kept_free_for_a_dispute_and_what_it_leaves_is_aggregated() -> None:
    idle = Node(payout=False, validator=True, have=(BASE, SNAPSHOTS[3], THEIRS[3]))
    assert jobs(idle.tell(seen(current(Phase.DISPUTE), UNITS))) == []
    node = Node(payout=False, validator=True, have=(BASE, SNAPSHOTS[3], THEIRS[3]))
    (job,) = jobs(node.tell(seen(current(Phase.AUDIT), UNITS)))
    node.tell(Reported(Aggregated(job.job, NEXT, (), 1)))
    left = (replace(UNITS[0], judgement=ACCEPTED), replace(UNITS[1], judgement=BAD))
    (again,) = jobs(node.tell(seen(current(Phase.AGGREGATE), left)))
    assert isinstance(again, AggregateJob)
    assert again.updates == (SNAPSHOTS[3],)


def test_it_says_the_same_at_the_end_and_something_else_where_a_unit_was_refused() -> None:
    node = Node(payout=False, validator=True, have=(BASE, SNAPSHOTS[3], THEIRS[3]))
    (job,) = jobs(node.tell(overlapping(current(Phase.AUDIT), UNITS)))
    node.tell(Reported(Aggregated(job.job, NEXT, (), 1)))
    good = tuple(replace(unit, judgement=ACCEPTED) for unit in UNITS)
    (result,) = said(node.tell(overlapping(current(Phase.AGGREGATE), good)))
    assert result == AggregateResult(TASK, 0, 0, NEXT, ())
    bad = (good[0], replace(good[1], judgement=BAD))
    assert jobs(node.tell(overlapping(current(Phase.DISPUTE), bad), after_ms=4_000)) == []
    effects = node.tell(overlapping(current(Phase.AGGREGATE), bad))
    (again,) = jobs(effects)
    assert isinstance(again, AggregateJob)
    assert (again.updates, said(effects)) == ((SNAPSHOTS[3],), [])


def test_an_aggregation_goes_on_from_phase_to_phase_until_a_unit_is_refused() -> None:
    node = Node(payout=False, validator=True, have=(BASE, SNAPSHOTS[3], THEIRS[3]))
    (job,) = jobs(node.tell(overlapping(current(Phase.AUDIT), UNITS)))
    assert cancelled(node.tell(overlapping(current(Phase.OPEN), UNITS))) == []
    bad = (UNITS[0], replace(UNITS[1], judgement=BAD))
    assert cancelled(node.tell(overlapping(current(Phase.DISPUTE), bad))) == [job.job]
