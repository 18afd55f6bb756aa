"""How good the model is, on the ledger: drawn trainers score it, the lower median counts.

A score decides one thing only: whether the task has reached its target. It pays nobody for a
model, so a lie gains nothing but a task that ends a little early or late, and a minority of
the drawn cannot tell one.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base import draw
from potminer.base.digest import number
from potminer.core.ledger import event
from potminer.core.ledger.event import Event
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import EvaluationRecord, Metric, Score, Share, Standing, TaskRecord, Trainer
from potminer.wire.task import evaluation_fee, is_evaluated
from potminer.wire.tx import EvaluateModel

AGREEING_PPM = 5_000
"""How far from the median an evaluator's score may lie and be paid: devices round differently."""


def begin_evaluation(draft: Draft, task_id: bytes, events: list[Event]) -> None:
    """Draw evaluators for the model of a round that has just closed, where the task asks for it and can pay."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    if not is_evaluated(task.spec, task.round):
        return
    settle_evaluation(draft, task_id, events, final=True)
    task = draft.need(TaskRecord, records.task_key(task_id))
    spec, fee = task.spec, evaluation_fee(task.spec)
    present = [member.trainer for member in task.members if member.standing == Standing.ACTIVE]
    count = min(spec.evaluation.evaluators, len(present), task.escrow // fee if fee else len(present))
    if not count:
        return
    stream = draw.words(draft.head.beacon, task_id, number(task.round), b"evaluators")
    chosen = tuple(draw.shuffled(stream, sorted(present))[:count])
    deadline = draft.head.time_ms + spec.deadlines.audit_ms
    begun = EvaluationRecord(task.round, task.model, deadline, chosen, count * fee)
    draft.put(records.evaluation_key(task_id), begun)
    draft.put(records.task_key(task_id), replace(task, escrow=task.escrow - begun.purse))


def take_score(draft: Draft, sender: bytes, body: EvaluateModel) -> Refusal | None:
    current = draft.get(EvaluationRecord, records.evaluation_key(body.task))
    if current is None or current.closed != body.closed:
        return Refusal.WRONG_ROUND
    if sender not in current.evaluators:
        return Refusal.NOT_ASSIGNED
    if any(score.evaluator == sender for score in current.scores):
        return Refusal.ALREADY_DONE
    if draft.head.time_ms > current.deadline_ms:
        return Refusal.LATE
    scores = (*current.scores, Score(sender, body.score_ppm, body.loss_micro))
    draft.put(records.evaluation_key(body.task), replace(current, scores=scores))
    return None


def settle_evaluation(draft: Draft, task_id: bytes, events: list[Event], *, final: bool = False) -> None:
    """End the evaluation under way once all have spoken, or at its deadline, or now where it is *final*."""
    key = records.evaluation_key(task_id)
    current = draft.get(EvaluationRecord, key)
    if current is None:
        return
    missing = len(current.evaluators) - len(current.scores)
    if missing and draft.head.time_ms <= current.deadline_ms and not final:
        return
    draft.put(key, None)
    task = draft.need(TaskRecord, records.task_key(task_id))
    if 2 * len(current.scores) <= len(current.evaluators):  # one who hurries is no measurement
        draft.put(records.task_key(task_id), replace(task, escrow=task.escrow + current.purse))
        return
    metric = _metric(current)
    shares = _shares(draft, task, current, metric)
    for share in shares:
        draft.credit(share.account, share.amount)
    left = current.purse - sum(share.amount for share in shares)
    draft.put(records.task_key(task_id), replace(task, escrow=task.escrow + left, metric=metric))
    events.append(event.ModelEvaluated(
        task_id, metric.closed, metric.score_ppm, metric.loss_micro, metric.answers, shares
    ))


def is_evaluating(draft: Draft, task_id: bytes) -> bool:
    return draft.get(EvaluationRecord, records.evaluation_key(task_id)) is not None


def has_reached_target(task: TaskRecord) -> bool:
    target = task.spec.evaluation.target_ppm
    return bool(target) and task.metric is not None and task.metric.score_ppm >= target


def _metric(current: EvaluationRecord) -> Metric:
    middle = (len(current.scores) - 1) // 2
    score = sorted(each.score_ppm for each in current.scores)[middle]
    loss = sorted(each.loss_micro for each in current.scores)[middle]
    return Metric(current.closed, score, loss, len(current.scores))


def _shares(draft: Draft, task: TaskRecord, current: EvaluationRecord, metric: Metric) -> tuple[Share, ...]:
    expelled = {member.trainer for member in task.members if member.standing == Standing.EXPELLED}
    agreeing = [s.evaluator for s in current.scores if abs(s.score_ppm - metric.score_ppm) <= AGREEING_PPM]
    fee = evaluation_fee(task.spec)
    return tuple(
        Share(evaluator, draft.need(Trainer, records.trainer_key(evaluator)).payout, fee)
        for evaluator in agreeing
        if evaluator not in expelled
    )
