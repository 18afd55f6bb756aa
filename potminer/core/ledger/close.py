"""Closing a round and ending a task: where money is earned, kept back, and paid.

A round's pot is price x accepted units, so refusing a unit gives nobody a grain more. What is
not earned stays in the task's escrow and returns to the requester when the task ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace

from potminer.core.ledger import event, slices
from potminer.core.ledger.evaluate import begin_evaluation, settle_evaluation
from potminer.core.ledger.event import Event
from potminer.core.ledger.hidden import hold_pay
from potminer.core.ledger.judge import BAD, audit_passes, verdict_of
from potminer.core.ledger.progress import units_in
from potminer.core.ledger.rewards import split
from potminer.core.ledger.sketch import contradiction
from potminer.core.ledger.stake import pay, window
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.genesis import Parameters
from potminer.wire.record import (
    Judgement,
    Outcome,
    PendingRound,
    RoundRecord,
    Share,
    TaskRecord,
    TaskStatus,
    Trainer,
    UnitRecord,
    UpdateOwner,
)
from potminer.wire.task import TaskSpec
from potminer.wire.tx import Finding


def close_round(
    draft: Draft,
    task_id: bytes,
    current: RoundRecord,
    *,
    model: bytes,
    malformed: tuple[int, ...],
    attesters: tuple[bytes, ...],
    events: list[Event],
) -> bool:
    """Close *current* with *model* as theta(r+1); False where no accepted unit is left to pay for."""
    units = [
        _without_malformed(unit, slot in malformed) for slot, unit in enumerate(units_in(draft, task_id, current))
    ]
    accepted = [unit for unit in units if _outcome(unit) == Outcome.ACCEPTED]
    if not accepted:
        return False
    task = draft.need(TaskRecord, records.task_key(task_id))
    expelled = _expelled(draft, units, attesters)
    trainers = [unit.trainer for unit in accepted if unit.trainer not in expelled]
    auditors = _paid_auditors(current, units, task.spec)
    auditors = [auditor for auditor in auditors if auditor not in expelled]
    attesters = tuple(attester for attester in attesters if attester not in expelled)
    pot = task.spec.reward.price_per_unit * len(trainers)
    earned = _earnings(draft.parameters, pot, trainers, auditors, attesters)
    shares = tuple(Share(earner, _account_of(draft, earner), amount) for earner, amount in earned)
    revealed = (unit for unit in units if unit.snapshots and _outcome(unit) != Outcome.DUPLICATE)
    updates = tuple(dict.fromkeys(unit.snapshots[-1] for unit in revealed))
    shares = hold_pay(draft, task_id, current, shares, events)
    draft.put(records.pending_key(task_id, current.number), PendingRound(shares, updates))
    closed = replace(
        task, escrow=task.escrow - pot, round=task.round + 1, attempt=task.voided, voided=0, model=model
    )
    draft.put(records.task_key(task_id), closed)
    draft.put(records.round_key(task_id, current.number), None)
    slices.forget(draft, task_id, current)
    unit_pay = _unit_pay(draft, task, expelled)
    _report(task_id, current, units, accepted, model=model, pot=pot, pay=unit_pay, events=events)
    for slot in range(len(units)):
        draft.put(records.unit_key(task_id, current.number, slot), None)
    events.append(event.Rewarded(task_id, current.number, shares))
    _pay(draft, task_id, current.number - draft.parameters.escrow_rounds, events)
    begin_evaluation(draft, task_id, events)
    return True


def end_task(draft: Draft, task_id: bytes, *, reason: str, events: list[Event]) -> None:
    """Pay what is pending, return what is left and forget the task's rounds. Every dispute of a
    round is decided before the round closes, so nothing can still be forfeited; the task asks for no bond any more."""
    settle_evaluation(draft, task_id, events, final=True)
    head = draft.head
    draft.put(records.CHAIN, replace(head, open_tasks=tuple(t for t in head.open_tasks if t != task_id)))
    task = draft.need(TaskRecord, records.task_key(task_id))
    for number in window(draft.parameters, task):
        _pay(draft, task_id, number, events)
    task = draft.need(TaskRecord, records.task_key(task_id))
    draft.credit(task.requester, task.escrow)
    status = TaskStatus.CANCELLED if task.status == TaskStatus.CANCELLED else TaskStatus.CLOSED
    draft.put(records.task_key(task_id), replace(task, escrow=0, status=status))
    events.append(event.TaskEnded(task_id, task.model, task.round, task.escrow, reason))


def _expelled(draft: Draft, units: list[UnitRecord], attesters: tuple[bytes, ...]) -> set[bytes]:
    """Who of this round was proven to have cheated, here or in another task."""
    there = {unit.trainer for unit in units} | {said.judge for unit in units for said in unit.verdicts} | set(attesters)
    found = {key: draft.get(Trainer, records.trainer_key(key)) for key in there}
    return {key for key, trainer in found.items() if trainer is not None and trainer.expelled}


def _outcome(unit: UnitRecord) -> Outcome:
    if unit.judgement is None:
        raise AssertionError("a round closes with an outcome for every unit")
    return unit.judgement.outcome


def _without_malformed(unit: UnitRecord, malformed: bool) -> UnitRecord:
    if not malformed or _outcome(unit) != Outcome.ACCEPTED or unit.judgement is None:
        return unit
    return replace(unit, judgement=Judgement(Outcome.MALFORMED, None, unit.judgement.allowed_ppm))


_TRAINERS_MATTER = (Outcome.ACCEPTED, Outcome.NOT_OPENED, Outcome.FALSE_RESIDUES)
"""Where the auditors have done what they are paid for, whatever the trainer did besides."""


def _paid_auditors(current: RoundRecord, units: list[UnitRecord], spec: TaskSpec) -> list[bytes]:
    """One entry per audit whose verdict a quorum confirmed, or nobody had to doubt, and whose residues are not
    contradicted by a trainer who was not proven to lie."""
    proven = {audit.slot for audit in current.audits if audit.ruling in BAD}
    paid = []
    for audit in current.audits:
        unit = units[audit.slot]
        verdict = verdict_of(audit, unit)
        if verdict is None or verdict.finding == Finding.UNAVAILABLE:
            continue
        if contradiction(audit, unit, verdict, spec) is not None and _outcome(unit) != Outcome.FALSE_RESIDUES:
            continue
        said_good = audit_passes(verdict, unit.allowed_ppm)
        decided = _outcome(unit) in _TRAINERS_MATTER or audit.slot in proven
        holds = said_good if audit.ruling is None else said_good != (audit.ruling in BAD)
        if decided and holds and audit.ruling != Outcome.UNAVAILABLE:
            paid.append(verdict.judge)
    return paid


def _earnings(
    parameters: Parameters, pot: int, trainers: list[bytes], auditors: list[bytes], attesters: tuple[bytes, ...]
) -> list[tuple[bytes, int]]:
    """(earner, grains), summing to *pot*. An empty group's share goes to the others; no trainer, no pot."""
    if not trainers:
        return []
    weights = [
        parameters.trainer_share_ppm,
        parameters.auditor_share_ppm if auditors else 0,
        parameters.validator_share_ppm if attesters else 0,
    ]
    groups = zip(split(pot, weights), (trainers, auditors, list(attesters)), strict=True)
    earned: Counter[bytes] = Counter()
    for amount, group in groups:
        counts = sorted(Counter(group).items())
        if not counts:
            continue
        for (earner, _), part in zip(counts, split(amount, [count for _, count in counts]), strict=True):
            earned[earner] += part
    if sum(earned.values()) != pot:
        raise AssertionError("a round's rewards sum to its pot")
    return sorted(earned.items())


def _unit_pay(draft: Draft, task: TaskRecord, expelled: set[bytes]) -> Callable[[UnitRecord], int]:
    """What a unit earned its trainer, rounded down: for reports, not for paying."""
    pay = task.spec.reward.price_per_unit * draft.parameters.trainer_share_ppm // 1_000_000

    def of(unit: UnitRecord) -> int:
        return pay if _outcome(unit) == Outcome.ACCEPTED and unit.trainer not in expelled else 0

    return of


def _account_of(draft: Draft, earner: bytes) -> bytes:
    trainer = draft.get(Trainer, records.trainer_key(earner))
    return earner if trainer is None else trainer.payout


def _report(
    task_id: bytes, current: RoundRecord, units: list[UnitRecord], accepted: list[UnitRecord], *, model: bytes,
    pot: int, pay: Callable[[UnitRecord], int], events: list[Event],
) -> None:
    for slot, unit in enumerate(units):
        if unit.judgement is not None:
            events.append(event.UnitEnded(
                task_id, current.number, current.attempt, slot, unit.trainer, unit.judgement, unit.loss_micro,
                pay(unit), unit.lengths, unit.outlier,
            ))
    loss = sum(unit.loss_micro for unit in accepted) // len(accepted)
    refused = len(units) - len(accepted)
    events.append(event.RoundClosed(
        task_id, current.number, current.attempt, model, loss, len(accepted), refused, pot
    ))


def _pay(draft: Draft, task_id: bytes, number: int, events: list[Event]) -> None:
    """Pay a round whose dispute window is over."""
    if number < 0:
        return
    key = records.pending_key(task_id, number)
    pending = draft.get(PendingRound, key)
    if pending is None:
        return
    paid, kept, forfeited = pay(draft, pending.shares)
    for update in pending.updates:
        owner = draft.get(UpdateOwner, records.update_key(task_id, update))
        if owner is not None and owner.round == number:
            draft.put(records.update_key(task_id, update), None)
    draft.put(key, None)
    if forfeited:
        task = draft.need(TaskRecord, records.task_key(task_id))
        draft.put(records.task_key(task_id), replace(task, escrow=task.escrow + forfeited))
    events.append(event.Paid(task_id, number, paid, kept))
