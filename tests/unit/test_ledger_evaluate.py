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
from potminer.wire.record import EvaluationPhase, EvaluationRecord, Metric, Standing, TaskStatus, Trainer
from potminer.wire.task import Evaluation, Reward, evaluation_fee, evaluations, is_evaluated, spec_fault
from potminer.wire.tx import Body, CancelTask, EvaluateModel, ScoreModel, SubmitTask, score_commitment
from tests.unit.ledger_world import World, blob, key, spec

FEE = evaluation_fee(spec())
TRIAL = 8_000_000
Truth = tuple[int, int, int]
"""Score, loss and trial."""


def world(*, rounds: int = 3, **evaluation: Any) -> World:
    """A task whose first round has closed."""
    made = World()
    made.submit(spec(rounds=rounds, evaluation=Evaluation(**{"every_rounds": 1, **evaluation})))
    made.whole_round()
    return made


def under_way(made: World) -> EvaluationRecord | None:
    return made.state.get(EvaluationRecord, records.evaluation_key(made.task))


def phase(made: World) -> EvaluationPhase:
    current = under_way(made)
    assert current is not None
    return current.phase


def evaluators(made: World) -> list[str]:
    current = under_way(made)
    assert current is not None
    return [made.name_of(each) for each in current.evaluators]


def found(ppm: int, trial: int = TRIAL) -> Truth:
    return ppm, 2 * ppm, trial


def score(made: World, name: str, what: Truth, *, closed: int = 1) -> ScoreModel:
    return ScoreModel(made.task, closed, *what, blob("salt", name))


def bind(made: World, name: str, what: Truth, *, closed: int = 1) -> Body:
    shown = score(made, name, what, closed=closed)
    return EvaluateModel(made.task, closed, score_commitment(shown, evaluator=key(name).public))


def say(made: World, said: dict[str, Truth], *, closed: int = 1) -> None:
    """Everybody named is bound and then shows what it is bound to; who says nothing is waited for."""
    assert set(made.step(*((n, bind(made, n, what, closed=closed)) for n, what in said.items()))) == {None}
    if phase(made) == EvaluationPhase.COMMIT:
        made.step(after_ms=10_001)
    assert set(made.step(*((n, score(made, n, what, closed=closed)) for n, what in said.items()))) == {None}


def judge(made: World, what: Truth, *, judges: int = 3) -> None:
    names = made.validators[:judges]
    assert set(made.step(*((name, score(made, name, what)) for name in names))) == {None}


def worth(made: World, name: str) -> int:
    trainer = made.state.need(Trainer, records.trainer_key(key(name).public))
    return made.balance(f"{name}-wallet") + trainer.bond


def test_the_lower_median_counts_and_who_agrees_is_paid_and_it_stays_as_bond() -> None:
    made = world()
    names = evaluators(made)
    assert sorted(names) == ["ann", "ben", "cy"]
    before, wallets = [worth(made, n) for n in names], [made.balance(f"{n}-wallet") for n in names]
    say(made, dict(zip(names, (found(900_000), found(903_000, TRIAL + 900), found(901_000)), strict=True)))
    assert made.record.metric == Metric(1, 901_000, 1_802_000, 3)
    assert under_way(made) is None
    assert [worth(made, n) - b for n, b in zip(names, before, strict=True)] == [FEE] * 3
    assert [made.balance(f"{n}-wallet") for n in names] == wallets
    (told,) = made.happened(event.ModelEvaluated)
    assert (told.closed, told.score_ppm, told.answers, len(told.shares)) == (1, 901_000, 3, 3)


def test_nothing_is_shown_before_everybody_is_bound_and_anothers_commitment_opens_nothing() -> None:
    made = world()
    author, copycat, third = evaluators(made)
    true = found(900_000)
    bound = bind(made, author, true)
    assert made.step((author, bound), (copycat, bound)) == [None, None]
    assert made.step((author, score(made, author, true))) == [Refusal.WRONG_PHASE]
    assert made.step((third, bind(made, third, true))) == [None]
    assert phase(made) == EvaluationPhase.REVEAL
    assert made.step((author, score(made, author, true))) == [None]
    wrong = (copycat, score(made, author, true)), (third, score(made, third, found(1)))
    assert made.step(*wrong) == [Refusal.COMMITMENT_MISMATCH] * 2
    before = worth(made, copycat)
    assert made.step((third, score(made, third, true))) == [None]
    made.step(after_ms=10_001)
    assert made.record.metric == Metric(1, 900_000, 1_800_000, 2)
    assert worth(made, copycat) == before


def test_who_did_not_look_is_expelled_by_the_committee_and_loses_what_it_had() -> None:
    made = world()
    names = evaluators(made)
    true = found(900_000)
    guess = (900_000, 1_800_000, TRIAL + 400_000)  # the score was easy to guess: nothing has changed
    say(made, dict(zip(names, (true, guess, true), strict=True)))
    assert phase(made) == EvaluationPhase.JUDGE
    honest = worth(made, names[0])
    judge(made, true)
    assert under_way(made) is None
    assert made.record.metric == Metric(1, 900_000, 1_800_000, 3)
    (gone,) = made.happened(event.Expelled)
    assert (made.name_of(gone.trainer), gone.reason) == (names[1], "false-score")
    assert gone.forfeited >= 10 * FEE
    assert worth(made, names[1]) == 0
    assert worth(made, names[0]) == honest + FEE
    standing = {made.name_of(member.trainer): member.standing for member in made.record.members}
    assert standing[names[1]] == Standing.EXPELLED


def test_a_majority_of_liars_does_not_reach_the_target_where_one_evaluator_is_honest() -> None:
    made = world(target_ppm=950_000)
    names = evaluators(made)
    true, lie = found(700_000), found(10**6, TRIAL + 3_000_000)
    say(made, dict(zip(names, (lie, true, lie), strict=True)))
    judge(made, true)
    assert made.record.metric == Metric(1, 700_000, 1_400_000, 3)
    assert {made.name_of(e.trainer) for e in made.happened(event.Expelled)} == {names[0], names[2]}
    assert made.record.status == TaskStatus.OPEN


def test_liars_who_agree_are_looked_at_again_now_and_then() -> None:
    made = World(second_audit_ppm=10**6)
    made.submit(spec(evaluation=Evaluation(1)))
    made.commit_all()
    made.reveal_all()
    made.audit_all()
    for slot in range(len(made.round.slots)):
        made.judge(slot, 3)
    made.attest()
    names = evaluators(made)
    say(made, dict.fromkeys(names, found(10**6)))
    assert phase(made) == EvaluationPhase.JUDGE
    judge(made, found(700_000))
    assert len(made.happened(event.Expelled)) == 3
    assert made.record.metric == Metric(1, 700_000, 1_400_000, 3)


def test_who_is_a_little_off_is_unpaid_and_no_more() -> None:
    made = world()
    names = evaluators(made)
    true = found(900_000)
    say(made, dict(zip(names, (true, found(906_000), found(900_000, TRIAL + 9_000)), strict=True)))
    before = [worth(made, name) for name in names]
    judge(made, true)
    assert not made.happened(event.Expelled)
    assert [worth(made, n) - b for n, b in zip(names, before, strict=True)] == [FEE, 0, 0]


@pytest.mark.parametrize("judges", [0, 2])
def test_without_a_quorum_of_judges_the_medians_stand_and_nobody_is_paid_or_punished(judges: int) -> None:
    made = world()
    names = evaluators(made)
    escrow = made.record.escrow
    say(made, dict(zip(names, (found(900_000), found(100_000), found(901_000)), strict=True)))
    if judges:
        judge(made, found(900_000), judges=judges)
    made.step(after_ms=10_001)
    assert under_way(made) is None
    assert made.record.metric == Metric(1, 900_000, 1_800_000, 3)
    assert not made.happened(event.Expelled)
    assert made.record.escrow == escrow + 3 * FEE


def test_judges_who_lie_are_a_minority_and_change_nothing() -> None:
    made = world()
    names = evaluators(made)
    say(made, dict(zip(names, (found(900_000), found(100_000), found(901_000)), strict=True)))
    liar, *honest = made.validators
    assert made.step((liar, score(made, liar, found(100_000)))) == [None]
    assert made.step((honest[0], score(made, honest[0], found(900_000)))) == [None]
    assert made.step((honest[0], score(made, honest[0], found(900_000)))) == [Refusal.ALREADY_DONE]
    assert made.step(("ann", score(made, "ann", found(900_000)))) == [Refusal.NOT_VALIDATOR]
    assert made.step(*((n, score(made, n, found(900_100))) for n in honest[1:])) == [None, None]
    assert [e.reason for e in made.happened(event.Expelled)] == ["false-score"]
    assert made.record.metric == Metric(1, 900_100, 1_800_200, 3)


def test_nobody_is_paid_more_than_a_part_of_what_it_would_have_lost() -> None:
    made = World()
    made.submit(spec(units_per_trainer=1, evaluation=Evaluation(1)))
    made.whole_round()
    names = evaluators(made)
    stakes_ = {share.earner: share.amount for share in made.happened(event.Rewarded)[0].shares}
    say(made, dict.fromkeys(names, found(900_000)))
    (told,) = made.happened(event.ModelEvaluated)
    assert {share.earner: share.amount for share in told.shares} == {
        key(name).public: min(FEE, stakes_[key(name).public] // 10) for name in names
    }
    assert any(share.amount < FEE for share in told.shares)


def test_a_minority_cannot_reach_the_target_alone() -> None:
    made = world(target_ppm=950_000)
    said = dict(zip(evaluators(made), (found(10**6), found(800_000), found(810_000)), strict=True))
    say(made, said)
    judge(made, found(805_000))
    assert made.record.metric == Metric(1, 805_000, 1_610_000, 3)
    made.whole_round()
    assert made.record.round == 2
    assert made.record.status == TaskStatus.OPEN


def test_the_target_ends_the_task_when_its_round_is_over() -> None:
    made = world(target_ppm=950_000, rounds=5)
    say(made, dict.fromkeys(evaluators(made), found(960_000)))
    assert made.record.status == TaskStatus.OPEN  # round 2 is in progress, and its work is paid
    made.whole_round()
    assert made.record.status == TaskStatus.OPEN  # the model to end with is scored first
    say(made, dict.fromkeys(evaluators(made), found(955_000)), closed=2)
    assert made.record.status == TaskStatus.CLOSED
    (ended,) = made.happened(event.TaskEnded)
    assert (ended.reason, ended.rounds) == ("target reached", 2)
    assert ended.refunded > 0
    assert made.record.metric == Metric(2, 955_000, 1_910_000, 3)


def test_a_worse_model_after_the_target_goes_on_training() -> None:
    made = world(target_ppm=950_000, rounds=5)
    say(made, dict.fromkeys(evaluators(made), found(960_000)))
    made.whole_round()
    say(made, dict.fromkeys(evaluators(made), found(940_000)), closed=2)
    assert made.record.status == TaskStatus.OPEN
    assert made.round.number == 2


def test_the_last_model_is_scored_before_the_task_ends() -> None:
    made = world(rounds=1)
    assert made.record.status == TaskStatus.OPEN
    names = evaluators(made)
    two = dict.fromkeys(names[:2], found(700_000))
    made.step(*((name, bind(made, name, what)) for name, what in two.items()))
    assert made.record.status == TaskStatus.OPEN
    assert not Ledger(made.state, head=made.head).wants_block(made.state.head.time_ms)
    late = made.state.head.time_ms + 10_001
    assert Ledger(made.state, head=made.head).wants_block(late)
    made.step(after_ms=10_001)
    assert phase(made) == EvaluationPhase.REVEAL
    made.step(*((name, score(made, name, what)) for name, what in two.items()))
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
    say(made, dict.fromkeys(evaluators(made), found(700_000)), closed=2)
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
    name = evaluators(made)[0]
    made.step((name, bind(made, name, found(10**6))))
    made.step(after_ms=10_001)
    assert under_way(made) is None
    assert made.record.metric is None
    assert made.record.escrow == escrow + 3 * FEE


def test_a_newer_model_ends_an_evaluation_that_most_have_not_begun() -> None:
    made = world()
    name = evaluators(made)[0]
    made.step((name, bind(made, name, found(400_000))))
    made.whole_round()
    assert made.record.metric is None
    current = under_way(made)
    assert current is not None
    assert current.closed == 2
    assert made.step((evaluators(made)[0], bind(made, evaluators(made)[0], found(1)))) == [Refusal.WRONG_ROUND]


def test_an_evaluation_that_most_are_bound_to_goes_on_whoever_is_silent_and_the_last_model_is_always_scored() -> None:
    made = world()
    names = evaluators(made)[:2]
    made.step(*((name, bind(made, name, found(400_000))) for name in names))
    made.whole_round()
    assert phase(made) == EvaluationPhase.REVEAL
    assert made.step(*((name, score(made, name, found(400_000))) for name in names)) == [None, None]
    assert made.record.metric == Metric(1, 400_000, 800_000, 2)
    made.whole_round()
    current = under_way(made)
    assert current is not None
    assert current.closed == 3


def test_a_liar_gains_nothing_by_being_slow() -> None:
    """What is cut short by the last model's evaluation pays nobody."""
    made = world(rounds=2)
    names = evaluators(made)
    made.step(*((name, bind(made, name, found(900_000))) for name in names))
    made.step(*((name, score(made, name, found(900_000))) for name in names[:2]))
    assert phase(made) == EvaluationPhase.REVEAL
    made.whole_round()
    current = under_way(made)
    assert current is not None
    assert (current.closed, made.record.metric) == (2, Metric(1, 900_000, 1_800_000, 2))
    assert not any(told.shares for told in made.happened(event.ModelEvaluated))


def test_who_may_not_say_is_refused() -> None:
    made = world(evaluators=1)
    (name,) = evaluators(made)
    other = next(n for n in ("ann", "ben", "cy") if n != name)
    assert made.step((other, bind(made, other, found(1)))) == [Refusal.NOT_ASSIGNED]
    assert made.step(("requester", bind(made, "requester", found(1)))) == [Refusal.NOT_ASSIGNED]
    for body in (EvaluateModel(key("nobody").public, 1, blob("x")), replace(score(made, name, found(1)), closed=2)):
        assert made.step((name, body)) == [Refusal.WRONG_ROUND]
    made = world()
    name, second, third = evaluators(made)
    assert made.step((name, bind(made, name, found(1))), (name, bind(made, name, found(2)))) == [
        None, Refusal.ALREADY_DONE,
    ]
    assert made.step((second, bind(made, second, found(1)))) == [None]
    assert made.step((third, bind(made, third, found(1))), after_ms=10_001) == [Refusal.LATE]
    assert phase(made) == EvaluationPhase.REVEAL
    assert made.step((name, score(made, name, found(1))), after_ms=10_001) == [Refusal.LATE]


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
