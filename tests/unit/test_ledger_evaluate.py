"""Scores on the ledger: who gives them, what they are worth, and what a lie can do."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from potminer.core.ledger import event
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.transact import smallest_budget
from potminer.wire import record as records
from potminer.wire.record import EvaluationRecord, Metric, TaskStatus
from potminer.wire.task import Evaluation, Reward, evaluation_fee, evaluations, is_evaluated, spec_fault
from potminer.wire.tx import Body, CancelTask, EvaluateModel, SubmitTask
from tests.unit.ledger_world import World, key, spec

FEE = evaluation_fee(spec())


def world(*, rounds: int = 3, **evaluation: Any) -> World:
    """A task whose first round has closed."""
    made = World()
    made.submit(spec(rounds=rounds, evaluation=Evaluation(**{"every_rounds": 1, **evaluation})))
    made.whole_round()
    return made


def under_way(made: World) -> EvaluationRecord | None:
    return made.state.get(EvaluationRecord, records.evaluation_key(made.task))


def evaluators(made: World) -> list[str]:
    current = under_way(made)
    assert current is not None
    return [made.name_of(each) for each in current.evaluators]


def score(made: World, ppm: int, *, closed: int = 1) -> Body:
    return EvaluateModel(made.task, closed, ppm, 2 * ppm)


def test_the_lower_median_counts_and_who_agrees_is_paid() -> None:
    made = world()
    names = evaluators(made)
    assert sorted(names) == ["ann", "ben", "cy"]
    wallets = [made.balance(f"{name}-wallet") for name in names]
    said = zip(names, (900_000, 903_000, 100_000), strict=True)
    assert made.step(*((name, score(made, ppm)) for name, ppm in said)) == [None] * 3
    assert made.record.metric == Metric(1, 900_000, 1_800_000, 3)
    assert under_way(made) is None
    gained = [made.balance(f"{n}-wallet") - before for n, before in zip(names, wallets, strict=True)]
    assert gained == [FEE, FEE, 0]
    (told,) = made.happened(event.ModelEvaluated)
    assert (told.closed, told.score_ppm, told.answers, len(told.shares)) == (1, 900_000, 3, 2)


def test_a_minority_cannot_reach_the_target_alone() -> None:
    made = world(target_ppm=950_000)
    first, second, third = evaluators(made)
    made.step((first, score(made, 10**6)), (second, score(made, 800_000)), (third, score(made, 810_000)))
    assert made.record.metric == Metric(1, 810_000, 1_620_000, 3)
    made.whole_round()
    assert made.record.round == 2
    assert made.record.status == TaskStatus.OPEN


def test_the_target_ends_the_task_when_its_round_is_over() -> None:
    made = world(target_ppm=950_000, rounds=5)
    made.step(*((name, score(made, 960_000)) for name in evaluators(made)))
    assert made.record.status == TaskStatus.OPEN  # round 2 is in progress, and its work is paid
    made.whole_round()
    assert made.record.status == TaskStatus.OPEN  # the model to end with is scored first
    made.step(*((name, score(made, 955_000, closed=2)) for name in evaluators(made)))
    assert made.record.status == TaskStatus.CLOSED
    (ended,) = made.happened(event.TaskEnded)
    assert (ended.reason, ended.rounds) == ("target reached", 2)
    assert ended.refunded > 0
    assert made.record.metric == Metric(2, 955_000, 1_910_000, 3)


def test_a_worse_model_after_the_target_goes_on_training() -> None:
    made = world(target_ppm=950_000, rounds=5)
    made.step(*((name, score(made, 960_000)) for name in evaluators(made)))
    made.whole_round()
    made.step(*((name, score(made, 940_000, closed=2)) for name in evaluators(made)))
    assert made.record.status == TaskStatus.OPEN
    assert made.round.number == 2


def test_the_last_model_is_scored_before_the_task_ends() -> None:
    made = world(rounds=1)
    assert made.record.status == TaskStatus.OPEN
    names = evaluators(made)
    made.step((names[0], score(made, 700_000)), (names[1], score(made, 700_000)))
    assert made.record.status == TaskStatus.OPEN
    assert not Ledger(made.state, head=made.head).wants_block(made.state.head.time_ms)
    late = made.state.head.time_ms + 10_001
    assert Ledger(made.state, head=made.head).wants_block(late)
    made.step(after_ms=10_001)
    assert made.record.metric == Metric(1, 700_000, 1_400_000, 2)
    assert made.record.status == TaskStatus.CLOSED


def test_a_task_whose_budget_is_spent_waits_for_the_score_of_its_last_model_too() -> None:
    made = World()
    task = spec(evaluation=Evaluation(1))
    made.submit(replace(task, reward=Reward(smallest_budget(task), task.reward.price_per_unit)))
    made.whole_round()
    made.whole_round()  # six units a round, and the budget was for four in each of three
    assert (made.record.round, made.record.status) == (2, TaskStatus.OPEN)
    assert not Ledger(made.state, head=made.head).wants_block(made.state.head.time_ms)
    made.step(*((name, score(made, 700_000, closed=2)) for name in evaluators(made)))
    assert made.record.metric == Metric(2, 700_000, 1_400_000, 3)
    (ended,) = made.happened(event.TaskEnded)
    assert (ended.reason, made.record.status) == ("budget spent", TaskStatus.CLOSED)


def test_silence_costs_the_evaluators_alone() -> None:
    made = world()
    escrow = made.record.escrow
    made.step(after_ms=10_001)
    assert under_way(made) is None
    assert made.record.metric is None
    assert made.record.escrow == escrow + 3 * FEE


def test_one_of_three_is_no_measurement_however_silent_the_others() -> None:
    made = world(target_ppm=950_000)
    escrow = made.record.escrow
    made.step((evaluators(made)[0], score(made, 10**6)))
    made.step(after_ms=10_001)
    assert under_way(made) is None
    assert made.record.metric is None
    assert made.record.escrow == escrow + 3 * FEE


def test_a_newer_model_ends_the_evaluation_of_the_older() -> None:
    made = world()
    made.step(*((name, score(made, 400_000)) for name in evaluators(made)[:2]))
    made.whole_round()
    assert made.record.metric == Metric(1, 400_000, 800_000, 2)
    current = under_way(made)
    assert current is not None
    assert current.closed == 2
    assert made.step((evaluators(made)[0], score(made, 500_000))) == [Refusal.WRONG_ROUND]


def test_who_may_not_say_is_refused() -> None:
    made = world(evaluators=1)
    (name,) = evaluators(made)
    other = next(n for n in ("ann", "ben", "cy") if n != name)
    assert made.step((other, score(made, 1))) == [Refusal.NOT_ASSIGNED]
    assert made.step(("requester", score(made, 1))) == [Refusal.NOT_ASSIGNED]
    assert made.step((name, EvaluateModel(key("nobody").public, 1, 1, 1))) == [Refusal.WRONG_ROUND]
    made = world()
    name = evaluators(made)[0]
    assert made.step((name, score(made, 1)), (name, score(made, 2))) == [None, Refusal.ALREADY_DONE]


def test_cancelling_gives_the_purse_back() -> None:
    made = world()
    made.step(("requester", CancelTask(made.task)))
    made.whole_round()
    assert made.record.status == TaskStatus.CANCELLED
    assert made.record.escrow == 0
    assert under_way(made) is None


@pytest.mark.parametrize(("rounds", "every", "expected"), [
    (10, 3, [3, 6, 9, 10]), (6, 3, [3, 6]), (2, 5, [2]), (4, 0, []),
])  # fmt: skip
def test_when_a_model_is_scored(rounds: int, every: int, expected: list[int]) -> None:
    made = spec(rounds=rounds, evaluation=Evaluation(every))
    assert [closed for closed in range(1, rounds + 1) if is_evaluated(made, closed)] == expected
    assert evaluations(made) == len(expected)


def test_the_budget_holds_the_evaluations() -> None:
    plain = spec().rounds * 2 * 2 * 1_000_003
    for budget, refused in ((plain + 9 * FEE, None), (plain + 9 * FEE - 1, Refusal.BAD_TASK)):
        made = World()
        task = spec(evaluation=Evaluation(1), reward=Reward(budget, 1_000_003))
        assert made.step(("requester", SubmitTask(task))) == [refused]


def test_a_target_without_evaluations_is_a_contradiction() -> None:
    assert "evaluations" in spec_fault(spec(evaluation=Evaluation(target_ppm=1)))
