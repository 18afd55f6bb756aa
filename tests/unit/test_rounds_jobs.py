"""The round machine with several workers: a job each, none twice, and an orderly end."""

from __future__ import annotations

from potminer.core.rounds.bound import PREFIX
from potminer.core.rounds.events import DutyChanged, Reported
from potminer.core.rounds.job import RETRY_JOB_MS
from potminer.wire.trainer import Failed
from potminer.wire.tx import CommitWork, LeaveTask
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import (
    DATA,
    OWN,
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


def test_two_workers_train_two_units_side_by_side_and_never_the_same() -> None:
    node = Node(have=(*DATA, *THEIRS))
    node.tell(DutyChanged(True, workers=2))
    both = current(slots=(OWN, OWN, OWN))
    first, second = jobs(node.tell(seen(both)))
    assert [(job.unit.slot) for job in (first, second)] == [0, 1]
    assert jobs(node.tell(seen(both))) == [], "no third worker"
    (third,) = jobs(node.tell(trained(second)))
    assert third.unit.slot == 2
    assert jobs(node.tell(trained(third, THEIRS))) == [], "slot 0 still runs, and nothing else is owed"
    node.tell(trained(first, tuple(blob("x", i) for i in range(4))))
    assert len([key for key in node.stored if key.startswith(PREFIX)]) == 3


def test_a_lost_worker_leaves_the_other_job_alone() -> None:
    node = Node(have=(*DATA, *THEIRS))
    node.tell(DutyChanged(True, workers=2))
    both = current(slots=(OWN, OWN))
    first, second = jobs(node.tell(seen(both)))
    assert cancelled(node.tell(DutyChanged(True, workers=1))) == []
    node.tell(Reported(Failed(first.job, "stopped", "its owner wants the card")))
    assert jobs(node.tell(trained(second))) == [], "the unit of the lost worker rests"
    (again,) = jobs(node.tell(seen(both), after_ms=RETRY_JOB_MS))
    assert again.unit.slot == 0


def test_who_finishes_ends_its_unit_begins_none_and_leaves() -> None:
    node = Node(have=(*DATA, *THEIRS))
    node.tell(DutyChanged(True))
    both = current(slots=(OWN, OWN))
    (job,) = jobs(node.tell(seen(both)))
    effects = node.tell(DutyChanged(False, finishing=True))
    assert cancelled(effects) == [], "the unit under way is finished"
    assert said(effects) == [LeaveTask(TASK)]
    effects = node.tell(trained(job))
    assert jobs(effects) == [], "and no other is begun"
    assert [type(body) for body in said(effects)] == [CommitWork]
