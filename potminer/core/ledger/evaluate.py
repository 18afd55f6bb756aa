"""How good the model is, on the ledger: drawn trainers score it, the lower median counts.

    COMMIT -> REVEAL -> settled            everybody is bound before anybody shows a number
                     -> JUDGE -> settled   where two contradict each other, or chance looks again

A score is shown with its *trial*: a number that whoever did not run the model on every sample can only guess. Where
evaluators contradict each other the committee runs the model itself, and who was far off is expelled.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base import draw
from potminer.base.bounded import MILLION
from potminer.base.digest import Domain, digest, number
from potminer.base.quorum import is_quorum
from potminer.core.ledger import event
from potminer.core.ledger.event import Event
from potminer.core.ledger.penalty import expel
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.stake import pay, stakes
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import (
    BoundScore,
    EvaluationPhase,
    EvaluationRecord,
    Metric,
    Score,
    Share,
    Standing,
    TaskRecord,
    Trainer,
)
from potminer.wire.task import evaluation_fee, is_evaluated
from potminer.wire.tx import EvaluateModel, ScoreModel, score_commitment

AGREEING_PPM = 5_000
"""How far from the truth a score and, of itself, a loss may lie and be paid: devices round differently."""
AGREEING_TRIAL = 1_000
"""The same for a trial, in thousandths of a deviation: a guess is as near as that once in 1,250 times."""
PROOF = 10
"""Times what is paid, beyond which an error proves that nobody looked: a guess is that far off in 99 of 100."""


def begin_evaluation(draft: Draft, task_id: bytes, events: list[Event]) -> None:
    """Draw evaluators for the model of a round that has just closed, where the task asks for it and can pay. An older
    model's evaluation goes on where most of its evaluators are bound, unless this model is the last: otherwise who is
    silent would keep every score from the ledger, and a lie would only have to be slow."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    if not is_evaluated(task.spec, task.round):
        return
    older = draft.get(EvaluationRecord, records.evaluation_key(task_id))
    if older is not None and _is_majority(len(older.bound), older) and task.round < task.spec.rounds:
        if older.phase == EvaluationPhase.COMMIT:
            _enter(draft, task_id, older, EvaluationPhase.REVEAL)
        return
    settle_evaluation(draft, task_id, events, final=True)
    task = draft.need(TaskRecord, records.task_key(task_id))
    spec, fee = task.spec, evaluation_fee(task.spec)
    present = [member.trainer for member in task.members if member.standing == Standing.ACTIVE]
    count = min(spec.evaluation.evaluators, len(present), task.escrow // fee if fee else len(present))
    if not count:
        return
    place = (task_id, number(task.round))
    stream = draw.words(draft.head.beacon, *place, b"evaluators")
    chosen = tuple(draw.shuffled(stream, sorted(present))[:count])
    deadline = draft.head.time_ms + spec.deadlines.audit_ms
    seed = digest(Domain.SCORE, draft.head.beacon, *place)
    begun = EvaluationRecord(task.round, task.model, deadline, chosen, count * fee, seed)
    draft.put(records.evaluation_key(task_id), begun)
    draft.put(records.task_key(task_id), replace(task, escrow=task.escrow - begun.purse))


def bind_score(draft: Draft, sender: bytes, body: EvaluateModel) -> Refusal | None:
    current = draft.get(EvaluationRecord, records.evaluation_key(body.task))
    if current is None or current.closed != body.closed:
        return Refusal.WRONG_ROUND
    if sender not in current.evaluators:
        return Refusal.NOT_ASSIGNED
    if any(each.evaluator == sender for each in current.bound):
        return Refusal.ALREADY_DONE
    if current.phase != EvaluationPhase.COMMIT or draft.head.time_ms > current.deadline_ms:
        return Refusal.LATE
    bound = (*current.bound, BoundScore(sender, body.commitment))
    draft.put(records.evaluation_key(body.task), replace(current, bound=bound))
    return None


def take_score(draft: Draft, sender: bytes, body: ScoreModel) -> Refusal | None:
    """An evaluator opens what it is bound to; where the committee judges, a validator says its own."""
    current = draft.get(EvaluationRecord, records.evaluation_key(body.task))
    if current is None or current.closed != body.closed:
        return Refusal.WRONG_ROUND
    if current.phase == EvaluationPhase.COMMIT:
        return Refusal.WRONG_PHASE
    judges = current.phase == EvaluationPhase.JUDGE
    if judges and sender not in draft.committee.members:
        return Refusal.NOT_VALIDATOR
    if not judges and sender not in current.evaluators:
        return Refusal.NOT_ASSIGNED
    if any(score.scorer == sender for score in (current.judges if judges else current.scores)):
        return Refusal.ALREADY_DONE
    if draft.head.time_ms > current.deadline_ms:
        return Refusal.LATE
    said = Score(sender, body.score_ppm, body.loss_micro, body.trial_micro)
    if judges:
        seated = (each for each in current.judges if each.scorer in draft.committee.members)
        current = replace(current, judges=(*seated, said))
    elif BoundScore(sender, score_commitment(body, evaluator=sender)) not in current.bound:
        return Refusal.COMMITMENT_MISMATCH
    else:
        current = replace(current, scores=(*current.scores, said))
    draft.put(records.evaluation_key(body.task), current)
    return None


def settle_evaluation(draft: Draft, task_id: bytes, events: list[Event], *, final: bool = False) -> None:
    """Move on the evaluation under way once all have spoken or its deadline is over; end it where it is *final*."""
    current = draft.get(EvaluationRecord, records.evaluation_key(task_id))
    if current is None:
        return
    over, drawn = draft.head.time_ms > current.deadline_ms, len(current.evaluators)
    if final:
        _end(draft, task_id, current, _truth(draft, current), events, cut=True)
    elif current.phase == EvaluationPhase.COMMIT and (over or len(current.bound) == drawn):
        if _is_majority(len(current.bound), current):
            _enter(draft, task_id, current, EvaluationPhase.REVEAL)
        else:
            _end(draft, task_id, current, None, events)
    elif current.phase == EvaluationPhase.REVEAL and (over or len(current.scores) == len(current.bound)):
        if _is_majority(len(current.scores), current) and _is_doubted(draft, task_id, current):
            _enter(draft, task_id, current, EvaluationPhase.JUDGE)
        else:
            _end(draft, task_id, current, None, events)
    elif current.phase == EvaluationPhase.JUDGE:
        truth = _truth(draft, current)
        if truth is not None or over or len(current.judges) == len(draft.committee.members):
            _end(draft, task_id, current, truth, events)


def is_evaluating(draft: Draft, task_id: bytes) -> bool:
    return draft.get(EvaluationRecord, records.evaluation_key(task_id)) is not None


def has_reached_target(task: TaskRecord) -> bool:
    target = task.spec.evaluation.target_ppm
    return bool(target) and task.metric is not None and task.metric.score_ppm >= target


def _enter(draft: Draft, task_id: bytes, current: EvaluationRecord, phase: EvaluationPhase) -> None:
    deadlines = draft.need(TaskRecord, records.task_key(task_id)).spec.deadlines
    lasting = deadlines.reveal_ms if phase == EvaluationPhase.REVEAL else deadlines.dispute_ms
    moved = replace(current, phase=phase, deadline_ms=draft.head.time_ms + lasting)
    draft.put(records.evaluation_key(task_id), moved)


def _is_majority(count: int, current: EvaluationRecord) -> bool:
    """One who hurries is no measurement."""
    return 2 * count > len(current.evaluators)


def _is_doubted(draft: Draft, task_id: bytes, current: EvaluationRecord) -> bool:
    """Whether scores contradict each other, or chance has it that they are looked at again."""
    stream = draw.words(draft.head.beacon, task_id, number(current.closed), b"scores")
    again = draw.below(stream, MILLION) < draft.parameters.second_audit_ppm
    return again or _contradicts(current.scores)


def _contradicts(scores: tuple[Score, ...]) -> bool:
    truth = _middle(scores)
    return not all(_is_near(score, truth) for score in scores)


def _is_near(score: Score, truth: Score, *, times: int = 1) -> bool:
    """Whether *score* is off by at most *times* what is paid, in all three numbers."""
    loss = abs(score.loss_micro - truth.loss_micro)
    return (
        abs(score.score_ppm - truth.score_ppm) <= times * AGREEING_PPM
        and abs(score.trial_micro - truth.trial_micro) <= times * AGREEING_TRIAL
        and loss * MILLION <= times * (AGREEING_PPM * truth.loss_micro + MILLION)
    )


def _middle(scores: tuple[Score, ...]) -> Score:
    """Lower medians, number by number."""
    middle = (len(scores) - 1) // 2
    return Score(
        scores[0].scorer,
        sorted(each.score_ppm for each in scores)[middle],
        sorted(each.loss_micro for each in scores)[middle],
        sorted(each.trial_micro for each in scores)[middle],
    )


def _truth(draft: Draft, current: EvaluationRecord) -> Score | None:
    """What judges with a quorum of the power agree on: those near the first of them that so many are near to."""
    committee = draft.committee
    power = dict(zip(committee.members, committee.powers, strict=True))
    for judge in current.judges:
        near = tuple(each for each in current.judges if each.scorer in power and _is_near(each, judge))
        if is_quorum(sum(power[each.scorer] for each in near), sum(committee.powers)):
            return _middle(near)
    return None


def _end(
    draft: Draft, task_id: bytes, current: EvaluationRecord, truth: Score | None, events: list[Event], *,
    cut: bool = False,
) -> None:
    """Say how good the model is, and pay; who the committee found to be far off is expelled. Where evaluators
    contradict each other, or were *cut* short, and no quorum says who is right nobody is paid or punished, and the
    medians stand."""
    draft.put(records.evaluation_key(task_id), None)
    task = draft.need(TaskRecord, records.task_key(task_id))
    draft.put(records.task_key(task_id), replace(task, escrow=task.escrow + current.purse))
    if not _is_majority(len(current.scores), current):
        return
    found = truth or _middle(current.scores)
    metric = Metric(current.closed, found.score_ppm, found.loss_micro, len(current.scores))
    if truth is not None:
        for score in current.scores:
            if not _is_near(score, truth, times=PROOF):
                expel(draft, task=task_id, trainer=score.scorer, reason="false-score", events=events)
    decided = truth is not None or not (cut or _contradicts(current.scores))
    near = [score.scorer for score in current.scores if decided and _is_near(score, found)]
    shares = _pay(draft, task_id, near)
    task = draft.need(TaskRecord, records.task_key(task_id))
    draft.put(records.task_key(task_id), replace(task, metric=metric))
    events.append(event.ModelEvaluated(
        task_id, metric.closed, metric.score_ppm, metric.loss_micro, metric.answers, shares
    ))


def _pay(draft: Draft, task_id: bytes, evaluators: list[bytes]) -> tuple[Share, ...]:
    """Pay the fee from the escrow, but to nobody more than a part of what it would have lost by a false score: so a
    guess that may be right once in a while never pays."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    fee, factor = evaluation_fee(task.spec), draft.parameters.audit_factor
    at_stake = stakes(draft, task_id, task, evaluators)
    shares = []
    for evaluator in evaluators:
        trainer = draft.need(Trainer, records.trainer_key(evaluator))
        amount = min(fee, at_stake[evaluator] // factor)
        if amount and not trainer.expelled:
            shares.append(Share(evaluator, trainer.payout, amount))
    paid, _, _ = pay(draft, shares)
    task = draft.need(TaskRecord, records.task_key(task_id))
    left = task.escrow - sum(share.amount for share in paid)
    draft.put(records.task_key(task_id), replace(task, escrow=left))
    return paid
