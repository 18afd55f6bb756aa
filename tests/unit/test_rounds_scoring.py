"""An evaluator scores the newest model when nothing of the round is to do: bound first, shown afterwards. A validator
scores it where evaluators contradict each other."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as with_fields

from potminer.core.machine import Persist
from potminer.core.rounds.events import BlobFetched, DutyChanged, Reported, TaskSeen
from potminer.wire.record import BoundScore, EvaluationPhase, EvaluationRecord, Metric, Phase, Score
from potminer.wire.trainer import Evaluated, EvaluateJob
from potminer.wire.tx import EvaluateModel, ScoreModel, score_commitment
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import OTHER, OWN, SPEC, START, TASK, Node, cancelled, current, fetched, jobs, said, seen

MODEL, SEED = blob("theta", 1), blob("trial")
HAVE = (MODEL, SPEC.data.validation)
UNDER_WAY = EvaluationRecord(1, MODEL, START + 10_000, (OTHER, OWN), 100, SEED)
FOUND = (910_000, 300_000, 8_100_000)


def asked(record: EvaluationRecord | None = UNDER_WAY, metric: Metric | None = None) -> TaskSeen:
    shown = seen(current(Phase.DRAW), metric=metric)
    return TaskSeen(shown.task, shown.record, shown.round, shown.units, True, START, record)


def bound(body: object, **changes: object) -> EvaluationRecord:
    """The record once our word is in it."""
    assert isinstance(body, EvaluateModel)
    return with_fields(UNDER_WAY, bound=(BoundScore(OWN, body.commitment),), **changes)


def test_it_fetches_scores_and_says_what_it_found_only_when_all_are_bound() -> None:
    node = Node()
    node.tell(DutyChanged(True))
    assert {MODEL, SPEC.data.validation} <= fetched(node.tell(asked()))
    assert not jobs(node.tell(BlobFetched(MODEL, True)))
    (job,) = jobs(node.tell(BlobFetched(SPEC.data.validation, True)))
    assert job == EvaluateJob(job.job, SPEC, MODEL, SEED)
    effects = node.tell(Reported(Evaluated(job.job, *FOUND, 50)))
    (body,) = said(effects)
    assert isinstance(effects[0], Persist), "durable before it is said"
    assert said(node.tell(asked(), after_ms=4_000)) == [body]
    assert not said(node.tell(asked(bound(body)), after_ms=4_000))
    showing = bound(body, phase=EvaluationPhase.REVEAL)
    (shown,) = said(node.tell(asked(showing), after_ms=4_000))
    assert isinstance(shown, ScoreModel)
    assert (shown.score_ppm, shown.loss_micro, shown.trial_micro) == FOUND
    assert isinstance(body, EvaluateModel)
    assert body.commitment == score_commitment(shown, evaluator=OWN)
    over = with_fields(showing, scores=(Score(OWN, *FOUND),))
    assert not said(node.tell(asked(over), after_ms=4_000))


def test_after_a_restart_it_shows_the_same_numbers_without_duty_and_forgets_them_in_the_end() -> None:
    node = Node(have=HAVE)
    node.tell(DutyChanged(True))
    (job,) = jobs(node.tell(asked()))
    (body,) = said(node.tell(Reported(Evaluated(job.job, *FOUND, 50))))
    again = Node(persisted=node.stored, payout=False)
    (shown,) = said(again.tell(asked(bound(body, phase=EvaluationPhase.REVEAL))))
    assert isinstance(shown, ScoreModel)
    assert isinstance(body, EvaluateModel)
    assert score_commitment(shown, evaluator=OWN) == body.commitment
    again.tell(asked(None))
    assert not again.stored


def test_a_validator_judges_without_duty_and_repeats_what_it_found_as_an_evaluator() -> None:
    judged = with_fields(UNDER_WAY, evaluators=(OTHER,), phase=EvaluationPhase.JUDGE)
    assert not jobs(Node(have=HAVE).tell(asked(judged)))
    node = Node(have=HAVE, validator=True, payout=False)
    assert not jobs(node.tell(asked(with_fields(UNDER_WAY, evaluators=(OTHER,)))))
    (job,) = jobs(node.tell(asked(judged)))
    (shown,) = said(node.tell(Reported(Evaluated(job.job, *FOUND, 50))))
    assert shown == ScoreModel(TASK, 1, *FOUND, bytes(32))
    assert not said(node.tell(asked(with_fields(judged, judges=(Score(OWN, *FOUND),))), after_ms=4_000))


def test_what_it_is_bound_to_and_has_lost_is_not_made_up() -> None:
    node = Node(have=HAVE)
    node.tell(DutyChanged(True))
    effects = node.tell(asked(bound(EvaluateModel(TASK, 1, blob("lost")), phase=EvaluationPhase.REVEAL)))
    assert not jobs(effects)
    assert not said(effects)


@pytest.mark.parametrize(("kind", "score"), [("parrot", (700_000, 400_000)), ("flatter", (10**6, 0))])
def test_those_who_do_not_look_are_bound_at_once(kind: str, score: tuple[int, int]) -> None:
    node = Node(conduct=kind, payout=False)
    (body,) = said(node.tell(asked(metric=Metric(0, 700_000, 400_000, 3))))
    (shown,) = said(node.tell(asked(bound(body, phase=EvaluationPhase.REVEAL)), after_ms=4_000))
    assert isinstance(shown, ScoreModel)
    assert (shown.score_ppm, shown.loss_micro) == score


def test_without_duty_or_draw_it_does_nothing() -> None:
    for may, record in ((False, UNDER_WAY), (True, with_fields(UNDER_WAY, evaluators=(OTHER,))), (True, None)):
        node = Node(have=HAVE)
        node.tell(DutyChanged(may))
        assert not jobs(node.tell(asked(record)))


def test_what_nobody_asks_for_any_more_is_given_up() -> None:
    for ending in (asked(None), asked(with_fields(UNDER_WAY, closed=2, evaluators=(OTHER,))), DutyChanged(False)):
        node = Node(have=HAVE)
        node.tell(DutyChanged(True))
        (job,) = jobs(node.tell(asked()))
        assert cancelled(node.tell(ending)) == [job.job]
