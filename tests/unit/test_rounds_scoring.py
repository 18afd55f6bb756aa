"""An evaluator scores the newest model when nothing of the round is to do."""

from __future__ import annotations

from msgspec.structs import replace as with_fields

from potminer.core.rounds.events import BlobFetched, DutyChanged, Reported, TaskSeen
from potminer.wire.record import EvaluationRecord, Phase, Score
from potminer.wire.trainer import Evaluated, EvaluateJob
from potminer.wire.tx import EvaluateModel
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import OTHER, OWN, SPEC, START, TASK, Node, cancelled, current, fetched, jobs, said, seen

MODEL = blob("theta", 1)
UNDER_WAY = EvaluationRecord(1, MODEL, START + 10_000, (OTHER, OWN), 100)


def asked(record: EvaluationRecord | None = UNDER_WAY) -> TaskSeen:
    shown = seen(current(Phase.DRAW))
    return TaskSeen(shown.task, shown.record, shown.round, shown.units, True, START, record)


def test_it_fetches_scores_and_says_so() -> None:
    node = Node()
    node.tell(DutyChanged(True))
    assert {MODEL, SPEC.data.validation} <= fetched(node.tell(asked()))
    assert not jobs(node.tell(BlobFetched(MODEL, True)))
    (job,) = jobs(node.tell(BlobFetched(SPEC.data.validation, True)))
    assert job == EvaluateJob(job.job, SPEC, MODEL)
    (body,) = said(node.tell(Reported(Evaluated(job.job, 910_000, 300_000, 50))))
    assert body == EvaluateModel(TASK, 1, 910_000, 300_000)
    assert said(node.tell(asked(), after_ms=4_000)) == [body]
    spoken = with_fields(UNDER_WAY, scores=(Score(OWN, 910_000, 300_000),))
    assert not said(node.tell(asked(spoken), after_ms=4_000))


def test_without_duty_or_draw_it_does_nothing() -> None:
    for may, record in ((False, UNDER_WAY), (True, with_fields(UNDER_WAY, evaluators=(OTHER,))), (True, None)):
        node = Node(have=(MODEL, SPEC.data.validation))
        node.tell(DutyChanged(may))
        assert not jobs(node.tell(asked(record)))


def test_what_nobody_asks_for_any_more_is_given_up() -> None:
    for ending in (asked(None), asked(with_fields(UNDER_WAY, closed=2, evaluators=(OTHER,))), DutyChanged(False)):
        node = Node(have=(MODEL, SPEC.data.validation))
        node.tell(DutyChanged(True))
        (job,) = jobs(node.tell(asked()))
        assert cancelled(node.tell(ending)) == [job.job]
