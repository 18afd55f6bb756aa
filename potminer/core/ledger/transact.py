"""What each kind of transaction does. One function a kind: it changes the draft or returns a refusal.

A refusing function has changed nothing.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace as _replace

from potminer.base import limits
from potminer.core.ledger import bonds, event, hidden, slices
from potminer.core.ledger.ahead import EARLY
from potminer.core.ledger.calibrate import allowed_ppm
from potminer.core.ledger.evaluate import bind_score, take_score
from potminer.core.ledger.event import Event
from potminer.core.ledger.judge import verdict_of
from potminer.core.ledger.penalty import expel
from potminer.core.ledger.progress import round_of, rounds_of
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.stake import Need, needs
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire import tx
from potminer.wire.record import (
    Attestation,
    Judgement,
    Member,
    Opening,
    Outcome,
    Phase,
    Release,
    RoundRecord,
    Standing,
    TaskRecord,
    TaskStatus,
    Trainer,
    UnitRecord,
    UpdateOwner,
    Validator,
    Verdict,
)
from potminer.wire.residue import LEAF_BYTES, leaf_holds, leaf_number
from potminer.wire.task import (
    TaskSpec,
    data_bytes,
    evaluation_fee,
    evaluations,
    model_bytes,
    snapshot_bytes,
    spec_fault,
    task_digest,
)
from potminer.wire.tx import Transaction, commitment

MONEY_MOVERS = (tx.Transfer, tx.Bond, tx.Unbond, tx.SubmitTask, tx.CancelTask)
"""Kinds that always pay the minimum fee. Work is free, so that a newcomer without coins can start."""


def minimum_fee(draft: Draft, transaction: Transaction) -> int:
    """Least fee of *transaction*. Free are work of those the ledger knows, and registering while there
    is room: a stranger's refused transaction would still leave an account behind.

    What was free before the block is free in it: a block is built on the state before, and one transaction of it
    must not make another improper, as evidence against the sender would."""
    return min(_least_fee(draft, transaction), _least_fee(Draft(draft.base), transaction))


def _least_fee(draft: Draft, transaction: Transaction) -> int:
    sender, body = transaction.sender, transaction.body
    if isinstance(body, MONEY_MOVERS):
        return draft.parameters.minimum_fee
    if draft.get(Trainer, records.trainer_key(sender)) or _validates(draft, sender):
        return 0
    registers = isinstance(body, tx.RegisterTrainer) and draft.head.trainers < draft.parameters.trainers
    return 0 if registers else draft.parameters.minimum_fee


def _validates(draft: Draft, sender: bytes) -> bool:
    validator = draft.get(Validator, records.validator_key(sender))
    return validator is not None and (validator.bond > 0 or sender in draft.committee.members)


def perform(draft: Draft, transaction: Transaction, events: list[Event]) -> Refusal | None:
    """Apply one transaction's body. Fee and nonce are the caller's business."""
    sender, body = transaction.sender, transaction.body
    match body:
        case tx.Transfer():
            return _transfer(draft, sender, body)
        case tx.Bond():
            return _bond(draft, sender, body)
        case tx.Unbond():
            return _unbond(draft, sender, body)
        case tx.RegisterTrainer():
            return _register(draft, sender, body)
        case tx.SubmitTask():
            return _submit(draft, transaction, body, events)
        case tx.CancelTask():
            return _cancel(draft, sender, body)
        case tx.JoinTask():
            return _join(draft, sender, body)
        case tx.LeaveTask():
            return _leave(draft, sender, body)
        case tx.CommitWork():
            return _commit(draft, sender, body)
        case tx.RevealWork():
            return _reveal(draft, sender, body, events)
        case tx.AuditVerdict():
            return _verdict(draft, sender, body)
        case tx.ShowSnapshots():
            return hidden.show(draft, sender, body, events)
        case tx.OpenResidue():
            return _open(draft, sender, body)
        case tx.AggregateResult():
            return _attest(draft, sender, body)
        case tx.SliceResult():
            return _attest_slice(draft, sender, body)
        case tx.EvaluateModel():
            return bind_score(draft, sender, body)
        case tx.ScoreModel():
            return take_score(draft, sender, body)
        case tx.RegisterValidator():
            return bonds.register(draft, sender, body)
        case tx.UnbondValidator():
            return bonds.unbond(draft, sender, body)
        case tx.Evidence():
            return bonds.convict(draft, sender, body, events)
        case _:
            assert_never(body)


# ---- money -------------------------------------------------------------------------------


def _transfer(draft: Draft, sender: bytes, body: tx.Transfer) -> Refusal | None:
    if draft.account(sender).balance < body.amount:
        return Refusal.BALANCE_TOO_LOW
    draft.debit(sender, body.amount)
    draft.credit(body.to, body.amount)
    return None


def _bond(draft: Draft, sender: bytes, body: tx.Bond) -> Refusal | None:
    trainer = draft.get(Trainer, records.trainer_key(sender))
    if trainer is None:
        return Refusal.NOT_REGISTERED
    if draft.account(sender).balance < body.amount:
        return Refusal.BALANCE_TOO_LOW
    draft.debit(sender, body.amount)
    draft.put(records.trainer_key(sender), _replace(trainer, bond=trainer.bond + body.amount))
    return None


def _unbond(draft: Draft, sender: bytes, body: tx.Unbond) -> Refusal | None:
    trainer, head = draft.get(Trainer, records.trainer_key(sender)), draft.head
    if trainer is None:
        return Refusal.NOT_REGISTERED
    if trainer.bond < body.amount or not body.amount:
        return Refusal.BOND_TOO_LOW
    if trainer.bond - body.amount < needs(draft).get(sender, Need()).least:
        return Refusal.BOND_TOO_LOW
    if len(head.releases) >= 4_096:
        return Refusal.TOO_MANY
    trainer = _replace(trainer, bond=trainer.bond - body.amount, unbonding=trainer.unbonding + body.amount)
    draft.put(records.trainer_key(sender), trainer)
    release = Release(head.time_ms + draft.parameters.unbonding_ms, sender, body.amount)
    draft.put(records.CHAIN, _replace(head, releases=(*head.releases, release)))
    return None


# ---- people and tasks --------------------------------------------------------------------


def _register(draft: Draft, sender: bytes, body: tx.RegisterTrainer) -> Refusal | None:
    key, head = records.trainer_key(sender), draft.head
    trainer = draft.get(Trainer, key)
    if trainer is None:
        if head.trainers >= draft.parameters.trainers:
            return Refusal.TOO_MANY
        draft.put(records.CHAIN, _replace(head, trainers=head.trainers + 1))
    draft.put(key, Trainer(body.payout) if trainer is None else _replace(trainer, payout=body.payout))
    return None


def smallest_budget(spec: TaskSpec) -> int:
    """What every round costs if the fewest trainers do all their units, and every evaluation."""
    rounds = spec.rounds * spec.min_trainers * spec.units_per_trainer * spec.reward.price_per_unit
    return rounds + evaluations(spec) * spec.evaluation.evaluators * evaluation_fee(spec)


def largest_blob(spec: TaskSpec) -> int:
    """Most bytes that any blob of the task may have."""
    samples = max(spec.data.train_samples, spec.data.validation_samples)
    return max(model_bytes(spec), snapshot_bytes(spec), data_bytes(spec, samples=samples))


def _submit(draft: Draft, transaction: Transaction, body: tx.SubmitTask, events: list[Event]) -> Refusal | None:
    spec, head, sender = body.spec, draft.head, transaction.sender
    most = spec.max_trainers * spec.units_per_trainer
    if most > limits.UNITS_PER_ROUND or most * spec.segments > limits.SEGMENTS_PER_ROUND:
        return Refusal.BAD_TASK
    if spec.min_trainers > spec.max_trainers:
        return Refusal.BAD_TASK
    if spec_fault(spec) or largest_blob(spec) > limits.BLOB_BYTES or spec.reward.budget < smallest_budget(spec):
        return Refusal.BAD_TASK
    if len(head.open_tasks) >= limits.TASKS_OPEN:
        return Refusal.TOO_MANY
    if draft.account(sender).balance < spec.reward.budget:
        return Refusal.BALANCE_TOO_LOW
    task = task_digest(spec, requester=sender, nonce=transaction.nonce)
    draft.debit(sender, spec.reward.budget)
    draft.put(
        records.task_key(task),
        TaskRecord(spec, sender, spec.reward.budget, TaskStatus.OPEN, 0, 0, spec.initial_model, ()),
    )
    draft.put(records.CHAIN, _replace(head, open_tasks=(*head.open_tasks, task)))
    events.append(event.TaskOpened(task, spec.name, sender, spec.reward.budget))
    return None


def _open_task(draft: Draft, task: bytes) -> TaskRecord | Refusal:
    found = draft.get(TaskRecord, records.task_key(task))
    if found is None:
        return Refusal.UNKNOWN_TASK
    return found if found.status == TaskStatus.OPEN else Refusal.TASK_NOT_OPEN


def _cancel(draft: Draft, sender: bytes, body: tx.CancelTask) -> Refusal | None:
    """The block itself ends the task once the round in progress is over."""
    task = _open_task(draft, body.task)
    if isinstance(task, Refusal):
        return task
    if task.requester != sender:
        return Refusal.NOT_REQUESTER
    draft.put(records.task_key(body.task), _replace(task, status=TaskStatus.CANCELLED))
    return None


def _join(draft: Draft, sender: bytes, body: tx.JoinTask) -> Refusal | None:
    task = _open_task(draft, body.task)
    if isinstance(task, Refusal):
        return task
    trainer = draft.get(Trainer, records.trainer_key(sender))
    if trainer is None:
        return Refusal.NOT_REGISTERED
    if trainer.expelled:
        return Refusal.EXPELLED
    member = next((m for m in task.members if m.trainer == sender), None)
    if member is not None and member.standing == Standing.ACTIVE:
        return Refusal.ALREADY_MEMBER
    if sum(m.standing == Standing.ACTIVE for m in task.members) >= task.spec.max_trainers:
        return Refusal.TOO_MANY
    if member is not None:
        members = with_standing(task, sender, Standing.ACTIVE).members
    else:
        kept = _with_room(draft, body.task, task)
        if kept is None:
            return Refusal.TOO_MANY
        members = (*kept, Member(sender, Standing.ACTIVE, None))
    draft.put(records.task_key(body.task), _replace(task, members=members))
    return None


def _with_room(draft: Draft, task_id: bytes, task: TaskRecord) -> tuple[Member, ...] | None:
    """The members, one fewer where the record is full: the first that is not active and has no unit
    in the round in progress. None where there is no such one; who is expelled is never forgotten."""
    if len(task.members) < limits.TRAINERS_PER_TASK:
        return task.members
    busy = {trainer for current in rounds_of(draft, task_id) for trainer in current.slots}
    idle = (Standing.INACTIVE, Standing.LEFT)
    gone = next((m for m in task.members if m.standing in idle and m.trainer not in busy), None)
    return None if gone is None else tuple(m for m in task.members if m is not gone)


def _leave(draft: Draft, sender: bytes, body: tx.LeaveTask) -> Refusal | None:
    task = _open_task(draft, body.task)
    if isinstance(task, Refusal):
        return task
    if not any(m.trainer == sender and m.standing in (Standing.ACTIVE, Standing.INACTIVE) for m in task.members):
        return Refusal.NOT_MEMBER
    draft.put(records.task_key(body.task), with_standing(task, sender, Standing.LEFT))
    return None


def with_standing(task: TaskRecord, trainer: bytes, standing: Standing) -> TaskRecord:
    """*task* with one member's standing changed; being expelled is final."""
    members = tuple(
        _replace(m, standing=standing) if m.trainer == trainer and m.standing != Standing.EXPELLED else m
        for m in task.members
    )
    return _replace(task, members=members)


# ---- work --------------------------------------------------------------------------------

Work = tx.CommitWork | tx.RevealWork | tx.AuditVerdict | tx.OpenResidue | tx.AggregateResult | tx.SliceResult


def _current_round(draft: Draft, body: Work, *phases: Phase) -> RoundRecord | Refusal:
    """The round *body* speaks of, if it is in progress, in one of *phases* and not past its deadline."""
    if draft.get(TaskRecord, records.task_key(body.task)) is None:
        return Refusal.UNKNOWN_TASK
    current = round_of(draft, body.task, body.round)
    if current is None or current.attempt != body.attempt:
        return Refusal.WRONG_ROUND
    if current.phase not in phases:
        return Refusal.LATE if current.phase > phases[-1] else Refusal.WRONG_PHASE
    return Refusal.LATE if draft.head.time_ms > current.deadline_ms else current


def _own_unit(
    draft: Draft, sender: bytes, body: tx.CommitWork | tx.RevealWork | tx.OpenResidue, *phases: Phase
) -> UnitRecord | Refusal:
    current = _current_round(draft, body, *phases)
    if isinstance(current, Refusal):
        return current
    if body.slot >= len(current.slots) or current.slots[body.slot] != sender:
        return Refusal.NOT_ASSIGNED
    unit = draft.need(UnitRecord, records.unit_key(body.task, body.round, body.slot))
    return Refusal.ALREADY_DONE if unit.judgement is not None else unit


def _commit(draft: Draft, sender: bytes, body: tx.CommitWork) -> Refusal | None:
    unit = _own_unit(draft, sender, body, Phase.COMMIT)
    if isinstance(unit, Refusal):
        return unit
    if unit.commitment is not None:
        return Refusal.ALREADY_DONE
    task = draft.need(TaskRecord, records.task_key(body.task))
    current = draft.need(RoundRecord, records.round_key(body.task, body.round))
    if body.base != current.base:
        ended = Judgement(Outcome.WRONG_BASE, None, allowed_ppm(task, calibrating=False))
        unit = _replace(unit, judgement=ended)
    arrived_ms = draft.head.time_ms - current.opened_ms
    arrived = _replace(unit, commitment=body.commitment, device=body.device, arrived_ms=arrived_ms)
    draft.put(records.unit_key(body.task, body.round, body.slot), arrived)
    return None


def _reveal(draft: Draft, sender: bytes, body: tx.RevealWork, events: list[Event]) -> Refusal | None:
    unit = _own_unit(draft, sender, body, Phase.REVEAL)
    if isinstance(unit, Refusal):
        return unit
    if unit.commitment is None or unit.snapshots:
        return Refusal.NOT_ASSIGNED if unit.commitment is None else Refusal.ALREADY_DONE
    if commitment(body, trainer=sender) != unit.commitment:
        return Refusal.COMMITMENT_MISMATCH
    task = draft.need(TaskRecord, records.task_key(body.task))
    if len(body.snapshots) != task.spec.segments or len(set(body.snapshots)) != len(body.snapshots):
        return Refusal.WRONG_SNAPSHOTS
    current = draft.need(RoundRecord, records.round_key(body.task, body.round))
    if len(body.lengths) != current.slices:
        return Refusal.WRONG_LENGTHS
    unit = _replace(
        unit, loss_micro=body.loss_micro, snapshots=body.snapshots, residues=body.residues, lengths=body.lengths
    )
    owner_key = records.update_key(body.task, body.snapshots[-1])
    owner = draft.get(UpdateOwner, owner_key)
    if owner is None:
        draft.put(owner_key, UpdateOwner(body.round, sender))
    elif owner.round != body.round or owner.trainer == sender:
        # The blob is headed by the tag of its author's unit: from an earlier round, or twice by one
        # trainer, it is a copy whoever made it. In one round the order of two trainers proves
        # nothing, for a unit can be recomputed by others before its author reveals it: the draw
        # has both audited.
        unit = _replace(unit, judgement=Judgement(Outcome.DUPLICATE, None, allowed_ppm(task, calibrating=False)))
        expel(draft, task=body.task, trainer=sender, reason=Outcome.DUPLICATE, events=events)
    draft.put(records.unit_key(body.task, body.round, body.slot), unit)
    return None


def _verdict(draft: Draft, sender: bytes, body: tx.AuditVerdict) -> Refusal | None:
    trainer = hidden.shown_by(draft, body)
    if trainer is not None:
        return hidden.judge(draft, sender, trainer, body)
    current = _current_round(draft, body, Phase.AUDIT, Phase.DISPUTE)
    if isinstance(current, Refusal):
        return current
    if len(body.sketch) != (LEAF_BYTES if body.finding == tx.Finding.MEASURED else 0):
        return Refusal.WRONG_SKETCH
    audits = [a for a in current.audits if a.slot == body.slot and a.segment == body.segment]
    if not audits:
        return Refusal.NOT_AUDITOR
    key = records.unit_key(body.task, body.round, body.slot)
    verdict = Verdict(
        sender, body.segment, body.finding, body.error_ppm, body.sketch, body.cheat_ppm
    )
    unit = draft.need(UnitRecord, key)
    if current.phase == Phase.AUDIT:
        if not any(audit.auditor == sender for audit in audits):
            return Refusal.NOT_AUDITOR
        if any(said.judge == sender and said.segment == body.segment for said in unit.verdicts):
            return Refusal.ALREADY_DONE
        draft.put(key, _replace(unit, verdicts=(*unit.verdicts, verdict)))
        return None
    if sender not in draft.committee.members:
        return Refusal.NOT_VALIDATOR
    spoken = any(said.judge == sender and said.segment == body.segment for said in unit.judges)
    if unit.judgement is not None or spoken:
        return Refusal.ALREADY_DONE
    if not any(audit.disputed for audit in audits):
        return Refusal.NOT_AUDITOR
    seated = tuple(judge for judge in unit.judges if judge.judge in draft.committee.members)
    draft.put(key, _replace(unit, judges=(*seated, verdict)))
    return None


def _open(draft: Draft, sender: bytes, body: tx.OpenResidue) -> Refusal | None:
    """A leaf that an auditor has spoken for, and nobody can change any more."""
    unit = _own_unit(draft, sender, body, Phase.AUDIT, Phase.OPEN)
    if isinstance(unit, Refusal):
        return unit
    current = draft.need(RoundRecord, records.round_key(body.task, body.round))
    place = (body.slot, body.segment, body.leaf)
    asked = [audit for audit in current.audits if (audit.slot, audit.segment, audit.leaf) == place]
    said = [verdict_of(audit, unit) for audit in asked]
    if not any(verdict is not None and verdict.sketch for verdict in said):
        return Refusal.NOT_ASKED
    if any((shown.segment, shown.leaf) == place[1:] for shown in unit.openings):
        return Refusal.ALREADY_DONE
    number_, segments = leaf_number(body.segment, body.leaf), len(unit.snapshots)
    root = unit.residues
    if root is None or not leaf_holds(root, body.residues, body.siblings, number=number_, segments=segments):
        return Refusal.WRONG_RESIDUES
    opening = Opening(body.segment, body.leaf, body.residues)
    draft.put(records.unit_key(body.task, body.round, body.slot), _replace(unit, openings=(*unit.openings, opening)))
    return None


def _attest(draft: Draft, sender: bytes, body: tx.AggregateResult) -> Refusal | None:
    current = _current_round(draft, body, *(EARLY if body.early else (Phase.AGGREGATE,)))
    if isinstance(current, Refusal):
        return current
    overlaps = draft.need(TaskRecord, records.task_key(body.task)).spec.audit.overlap
    if body.early and (not overlaps or current.slices > 1):
        return Refusal.WRONG_PHASE
    if sender not in draft.committee.members:
        return Refusal.NOT_VALIDATOR
    if any(a.validator == sender for a in current.attestations):
        return Refusal.ALREADY_DONE
    attestation = Attestation(sender, body.model, body.malformed)
    seated = tuple(a for a in current.attestations if a.validator in draft.committee.members)
    draft.put(records.round_key(body.task, body.round), _replace(current, attestations=(*seated, attestation)))
    return None


def _attest_slice(draft: Draft, sender: bytes, body: tx.SliceResult) -> Refusal | None:
    current = _current_round(draft, body, Phase.AGGREGATE)
    return current if isinstance(current, Refusal) else slices.attest(draft, sender, body, current)
