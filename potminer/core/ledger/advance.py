"""What a block does by itself: rounds open, move on, close and pay, from state and block time alone.

    COMMIT -> REVEAL -> DRAW -> AUDIT -> (OPEN) -> (DISPUTE) -> AGGREGATE -> closed
    any phase -> failed: the round is opened again as the next attempt, the escrow untouched
    COMMIT and REVEAL of the next round beside AUDIT to AGGREGATE of this one, where the task asks for it (``ahead``)

One function a phase. Each looks at the round and either leaves it or moves it on.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from potminer.base import draw
from potminer.base.bounded import MILLION
from potminer.base.digest import number
from potminer.base.quorum import is_weak_quorum
from potminer.core.ledger import event, slices
from potminer.core.ledger.ahead import active, doubt, early_model, funds_ahead
from potminer.core.ledger.audits import audit_load, draw_audits, note_stakes
from potminer.core.ledger.begin import begin_round
from potminer.core.ledger.calibrate import allowed_ppm, proves_a_cheat, settle_calibration
from potminer.core.ledger.close import close_round, end_task
from potminer.core.ledger.ending import end_of
from potminer.core.ledger.evaluate import is_evaluating, settle_evaluation
from potminer.core.ledger.event import Event
from potminer.core.ledger.hidden import held_by, hold, is_over, settle_shows
from potminer.core.ledger.judge import BAD, UnitRuling, audit_passes, rule_unit, verdict_of
from potminer.core.ledger.openings import opening_ms, owed
from potminer.core.ledger.pace import adapt_capacity, note_arrivals
from potminer.core.ledger.penalty import expel
from potminer.core.ledger.progress import agreed, is_refused, round_of, rounds_of, units_in
from potminer.core.ledger.sketch import contradiction
from potminer.core.ledger.stake import bonds_due, pending_of, release_bonds
from potminer.core.ledger.state import Draft
from potminer.core.ledger.transact import with_standing
from potminer.wire import record as records
from potminer.wire.record import (
    Audit,
    EvaluationRecord,
    Judgement,
    Outcome,
    Phase,
    RoundRecord,
    Standing,
    TaskRecord,
    TaskStatus,
    Trainer,
    UnitRecord,
    UpdateOwner,
    Verdict,
)
from potminer.wire.tx import Finding

MAX_STEPS = 32
"""Phases one task may pass in one block; more would be a loop."""


def advance(draft: Draft, *, proposer: bytes, events: list[Event]) -> None:
    """Move on everything that is due at the draft's block time."""
    for task in draft.head.open_tasks:
        _witness(draft, task, proposer)
        settle_evaluation(draft, task, events)
        for _ in range(MAX_STEPS):
            if not _step(draft, task, events):
                break
        else:
            raise AssertionError("a task does not come to rest")
    settle_shows(draft, events)
    release_bonds(draft)


def is_due(draft: Draft, *, now: int) -> bool:
    """Whether a block at *now* would move anything on: a deadline passed, a draw waits, a round can open."""
    if bonds_due(draft, now=now) or is_over(draft, now=now):
        return True
    for task_id in draft.head.open_tasks:
        task = draft.need(TaskRecord, records.task_key(task_id))
        current, ahead = round_of(draft, task_id, task.round), round_of(draft, task_id, task.round + 1)
        if current is None:
            under_way = draft.get(EvaluationRecord, records.evaluation_key(task_id))
            if _waits_for_score(draft, task_id, task):
                if under_way is not None and now > under_way.deadline_ms:
                    return True
            elif end_of(task) is not None or len(active(task)) >= task.spec.min_trainers:
                return True
        elif current.phase == Phase.DRAW or early_model(draft, task_id, task, current) is not None:
            return True
        else:
            running = (each for each in (current, ahead) if each is not None and each.phase != Phase.DRAW)
            if any(now > each.deadline_ms for each in running):
                return True
    return False


def _witness(draft: Draft, task: bytes, proposer: bytes) -> None:
    """Count *proposer* towards the draw that waits since an earlier block."""
    for current in rounds_of(draft, task):
        if current.phase == Phase.DRAW and proposer not in current.witnesses:
            seated = tuple(witness for witness in current.witnesses if witness in draft.committee.members)
            draft.put(records.round_key(task, current.number), replace(current, witnesses=(*seated, proposer)))


Stage = Callable[[Draft, bytes, TaskRecord, RoundRecord, list[Event]], bool]


def _step(draft: Draft, task_id: bytes, events: list[Event]) -> bool:
    """Move *task_id* on by one phase; False where it rests."""
    task = draft.get(TaskRecord, records.task_key(task_id))
    if task is None or task_id not in draft.head.open_tasks:
        return False
    current = round_of(draft, task_id, task.round)
    if current is None:
        return _open(draft, task_id, task, events)
    return _STAGES[current.phase](draft, task_id, task, current, events) or _step_ahead(draft, task_id, events)


def _step_ahead(draft: Draft, task_id: bytes, events: list[Event]) -> bool:
    """Move on the round that trains while the one before is audited. Its own audits are drawn when that has closed:
    so what a trainer has at stake is asked for one round of the task at a time."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    current, ahead = round_of(draft, task_id, task.round), round_of(draft, task_id, task.round + 1)
    if current is None:
        return False
    if ahead is None:
        model = early_model(draft, task_id, task, current)
        if model is None:
            return False
        funds = funds_ahead(draft, task_id, task, current)
        place = task.round + 1, task.voided
        begin_round(draft, task_id, task, place, base=model, funds=funds, events=events)
        return True
    return ahead.phase != Phase.DRAW and _STAGES[ahead.phase](draft, task_id, task, ahead, events)


# ---- opening -----------------------------------------------------------------------------


def _waits_for_score(draft: Draft, task_id: bytes, task: TaskRecord) -> bool:
    """Whether the task would end with a model that is still being scored: it waits, and where a target was
    reached before it ends only if this model reaches it too. Who cancels does not wait."""
    return end_of(task) is not None and task.status == TaskStatus.OPEN and is_evaluating(draft, task_id)


def _open(draft: Draft, task_id: bytes, task: TaskRecord, events: list[Event]) -> bool:
    """Open the next round with every active member, or end a task that cannot go on."""
    spec, reason = task.spec, end_of(task)
    if _waits_for_score(draft, task_id, task):
        return False
    if reason is not None:
        end_task(draft, task_id, reason=reason, events=events)
        return False
    if len(active(task)) < spec.min_trainers:
        return False
    place = task.round, task.attempt
    begin_round(draft, task_id, task, place, base=task.model, funds=task.escrow, events=events)
    return True


# ---- phases ------------------------------------------------------------------------------


def _judge(
    draft: Draft, task_id: bytes, current: RoundRecord, slot: int, outcome: Outcome, *, measured_ppm: int | None = None
) -> None:
    """Give a unit its one outcome."""
    key = records.unit_key(task_id, current.number, slot)
    unit = draft.need(UnitRecord, key)
    if unit.judgement is not None:
        raise AssertionError("a unit has one outcome")
    task = draft.need(TaskRecord, records.task_key(task_id))
    allowed = allowed_ppm(task, calibrating=False) if unit.allowed_ppm is None else unit.allowed_ppm
    draft.put(key, replace(unit, judgement=Judgement(outcome, measured_ppm, allowed)))


def _enter(
    draft: Draft, task_id: bytes, current: RoundRecord, phase: Phase, *, lasting_ms: int, events: list[Event]
) -> bool:
    moved = replace(current, phase=phase, deadline_ms=draft.head.time_ms + lasting_ms)
    draft.put(records.round_key(task_id, current.number), moved)
    events.append(event.PhaseEntered(task_id, current.number, current.attempt, phase))
    return True


def _missed(draft: Draft, task_id: bytes, trainer: bytes) -> None:
    """A trainer that missed a unit is assigned nothing until it joins again; it loses nothing else."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    member = next(m for m in task.members if m.trainer == trainer)
    if member.standing == Standing.ACTIVE:
        draft.put(records.task_key(task_id), with_standing(task, trainer, Standing.INACTIVE))


def _commit(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    units = units_in(draft, task_id, current)
    waiting = [slot for slot, unit in enumerate(units) if unit.commitment is None]
    if waiting and draft.head.time_ms <= current.deadline_ms:
        return False
    note_arrivals(draft, task_id, units)
    for slot in waiting:
        _judge(draft, task_id, current, slot, Outcome.LATE)
        _missed(draft, task_id, units[slot].trainer)
    if not any(u.judgement is None for u in units_in(draft, task_id, current)):
        adapt_capacity(draft, task_id, current, units_in(draft, task_id, current))
        return _fail(draft, task_id, current, "no unit was committed in time", events)
    return _enter(draft, task_id, current, Phase.REVEAL, lasting_ms=task.spec.deadlines.reveal_ms, events=events)


def _reveal(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    units = units_in(draft, task_id, current)
    waiting = [slot for slot, unit in enumerate(units) if unit.judgement is None and not unit.snapshots]
    if waiting and draft.head.time_ms <= current.deadline_ms:
        return False
    for slot in waiting:
        _judge(draft, task_id, current, slot, Outcome.NOT_REVEALED)
        _missed(draft, task_id, units[slot].trainer)
    adapt_capacity(draft, task_id, current, units_in(draft, task_id, current))
    if not any(u.judgement is None for u in units_in(draft, task_id, current)):
        return _fail(draft, task_id, current, "no unit was revealed in time", events)
    note_stakes(draft, task_id, task, current)
    return _enter(draft, task_id, current, Phase.DRAW, lasting_ms=0, events=events)


def _draw(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    """Draw the audits once a weak quorum of proposers has stirred the beacon after the reveals, and then in a block
    that chance picks among those of one turn of everybody. Or whoever reveals last could see to it that its own
    validator draws, and lose its turn where the draw hits."""
    committee, head = draft.committee, draft.head
    if not current.draws_at:
        power = sum(p for m, p in zip(committee.members, committee.powers, strict=True) if m in current.witnesses)
        if not is_weak_quorum(power, sum(committee.powers)):
            return False
        place = (task_id, number(current.number), number(current.attempt))
        wait = draw.below(draw.words(head.beacon, *place, b"turn"), len(committee.members))
        current = replace(current, draws_at=head.height + wait)
        draft.put(records.round_key(task_id, current.number), current)
    if head.height < current.draws_at:
        return False
    audits = draw_audits(draft, task_id, task, current, units_in(draft, task_id, current))
    _remember_auditors(draft, task_id, current, audits)
    current = replace(current, audits=audits)
    # The deadline is meant for a segment of each unit that one trainer has: more of them take longer.
    load = audit_load(audits, units_in(draft, task_id, current))
    lasting = task.spec.deadlines.audit_ms * max(1, -(-load // task.spec.units_per_trainer))
    return _enter(draft, task_id, current, Phase.AUDIT, lasting_ms=lasting, events=events)


def _remember_auditors(draft: Draft, task_id: bytes, current: RoundRecord, audits: tuple[Audit, ...]) -> None:
    task = draft.need(TaskRecord, records.task_key(task_id))
    paired = {current.slots[audit.slot]: audit.auditor for audit in audits}
    members = tuple(replace(m, last_auditor=paired.get(m.trainer, m.last_auditor)) for m in task.members)
    draft.put(records.task_key(task_id), replace(task, members=members))


def _audit(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    units = units_in(draft, task_id, current)
    said = [verdict_of(audit, units[audit.slot]) for audit in current.audits]
    missing = [a for a, verdict in zip(current.audits, said, strict=True) if a.auditor is not None and verdict is None]
    if missing and draft.head.time_ms <= current.deadline_ms:
        return False
    for audit in missing:
        if audit.auditor is not None:
            _missed(draft, task_id, audit.auditor)
    unopened = owed(current, units)
    if unopened:
        lasting = opening_ms(unopened, current, task.spec)
        return _enter(draft, task_id, current, Phase.OPEN, lasting_ms=lasting, events=events)
    return _decide(draft, task_id, current, events)


def _open_residues(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    if owed(current, units_in(draft, task_id, current)) and draft.head.time_ms <= current.deadline_ms:
        return False
    return _decide(draft, task_id, current, events)


def _decide(draft: Draft, task_id: bytes, current: RoundRecord, events: list[Event]) -> bool:
    """Accept what nobody doubts and give the rest to the committee."""
    task, units = draft.need(TaskRecord, records.task_key(task_id)), units_in(draft, task_id, current)
    said = [verdict_of(audit, units[audit.slot]) for audit in current.audits]
    audits = _to_dispute(draft, task_id, task, current, said)
    doubted = {audit.slot for audit in audits if audit.disputed}
    unopened = {audit.slot for audit in owed(current, units)}
    worst: dict[int, int] = {}
    for verdict, audit in zip(said, audits, strict=True):
        if verdict is not None:
            worst[audit.slot] = max(worst.get(audit.slot, 0), verdict.error_ppm)
    for slot, unit in enumerate(units):
        if unit.judgement is None and slot not in doubted:
            _accept(draft, task_id, current, slot, worst.get(slot), opened=slot not in unopened)
    current = replace(current, audits=audits)
    if not doubted:
        return _to_aggregate(draft, task_id, task, current, events)
    disputed = sum(audit.disputed for audit in audits)
    lasting = task.spec.deadlines.dispute_ms * max(1, -(-disputed // len(current.slots)))
    return _enter(draft, task_id, current, Phase.DISPUTE, lasting_ms=lasting, events=events)


def _accept(
    draft: Draft, task_id: bytes, current: RoundRecord, slot: int, measured_ppm: int | None, *, opened: bool
) -> None:
    """Good work is accepted where its trainer has *opened* all that it was asked for."""
    outcome = Outcome.ACCEPTED if opened else Outcome.NOT_OPENED
    _judge(draft, task_id, current, slot, outcome, measured_ppm=measured_ppm)
    if not opened:
        _missed(draft, task_id, current.slots[slot])


def _to_dispute(
    draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, said: list[Verdict | None]
) -> tuple[Audit, ...]:
    """The audits, with those disputed that did not pass or whose auditor and trainer contradict each other, and some
    that did: an auditor and a trainer who are friends must not know which. Judges sketch the first disputed audit of a
    segment: contradictions stand before the others."""
    place = (number(current.number), number(current.attempt))
    stream = draw.words(draft.head.beacon, task_id, *place, b"second")
    audits: list[tuple[bool, Audit]] = []
    for audit, verdict in zip(current.audits, said, strict=True):
        unit = draft.need(UnitRecord, records.unit_key(task_id, current.number, audit.slot))
        passed = verdict is not None and audit_passes(verdict, unit.allowed_ppm)
        again = draw.below(stream, MILLION) < draft.parameters.second_audit_ppm or audit.disputed
        agree = contradiction(audit, unit, verdict, task.spec) is None
        disputed = (not passed or again or not agree) and unit.judgement is None
        audits.append((agree, replace(audit, disputed=disputed)))
    return tuple(audit for _, audit in sorted(audits, key=lambda each: (each[1].slot, each[1].segment, each[0])))


def _dispute(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    over = draft.head.time_ms > current.deadline_ms
    waiting, rulings = False, {}
    unopened = {audit.slot for audit in owed(current, units_in(draft, task_id, current))}
    for slot in sorted({audit.slot for audit in current.audits if audit.disputed}):
        unit = draft.need(UnitRecord, records.unit_key(task_id, current.number, slot))
        if unit.judgement is not None:
            continue
        audits = [audit for audit in current.audits if audit.slot == slot]
        found = rule_unit(audits, unit, draft.committee, task.spec, final=over)
        if found.outcome is None:
            waiting = True
            continue
        if found.outcome == Outcome.ACCEPTED:
            _accept(draft, task_id, current, slot, found.measured_ppm, opened=slot not in unopened)
        else:
            _judge(draft, task_id, current, slot, found.outcome, measured_ppm=found.measured_ppm)
        _losers_pay(draft, task_id, unit, audits, found, events)
        if hold(draft, task_id, current, slot, found.hidden, events):
            _missed(draft, task_id, unit.trainer)
        rulings.update({(slot, segment): ruling for segment, ruling in found.rulings.items()})
    if rulings:
        ruled = (replace(a, ruling=rulings.get((a.slot, a.segment), a.ruling)) for a in current.audits)
        current = replace(current, audits=tuple(ruled))
        draft.put(records.round_key(task_id, current.number), current)
    return False if waiting else _to_aggregate(draft, task_id, task, current, events)


def _losers_pay(
    draft: Draft, task_id: bytes, unit: UnitRecord, audits: list[Audit], found: UnitRuling, events: list[Event]
) -> None:
    """A proven cheat is expelled, and so is an auditor whose number a quorum contradicts, either way, or whose residues
    show that it never recomputed."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    for auditor in found.lazy if not unit.calibrating else ():
        expel(draft, task=task_id, trainer=auditor, reason="lazy-audit", events=events)
    worst = max(found.measured.values(), default=None)
    if _is_proof(task, unit, found.outcome, worst):
        expel(draft, task=task_id, trainer=unit.trainer, reason=str(found.outcome), events=events)
    elif found.outcome == Outcome.UNAVAILABLE or (unit.calibrating and found.outcome != Outcome.ACCEPTED):
        _missed(draft, task_id, unit.trainer)  # who only occupies a place must not keep it
    for audit in audits:
        verdict, ruling = verdict_of(audit, unit), found.rulings.get(audit.segment)
        if verdict is None or ruling is None or verdict.finding == Finding.UNAVAILABLE:
            continue
        passed = audit_passes(verdict, unit.allowed_ppm)
        malformed = verdict.finding == Finding.MALFORMED
        if ruling == Outcome.ACCEPTED and (malformed or proves_a_cheat(task, unit, verdict.error_ppm)):
            expel(draft, task=task_id, trainer=verdict.judge, reason="false-accusation", events=events)
        elif passed and ruling in BAD and _is_proof(task, unit, ruling, found.measured.get(audit.segment)):
            expel(draft, task=task_id, trainer=verdict.judge, reason="false-pass", events=events)


def _is_proof(task: TaskRecord, unit: UnitRecord, outcome: Outcome | None, measured_ppm: int | None) -> bool:
    """Whether a quorum's word proves a cheat. What is not even a snapshot always does."""
    if outcome == Outcome.OUT_OF_TOLERANCE:
        return proves_a_cheat(task, unit, measured_ppm)
    return outcome == Outcome.MALFORMED or (outcome == Outcome.FALSE_RESIDUES and not unit.calibrating)


def _to_aggregate(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    _check_stakes(draft, task_id, task, current)
    units = units_in(draft, task_id, current)
    settle_calibration(draft, task_id, units, events)
    if not any(u.judgement and u.judgement.outcome == Outcome.ACCEPTED for u in units):
        return _fail(draft, task_id, current, "no unit was accepted", events)
    if task.spec.audit.overlap and any(map(is_refused, units)):
        current = _without_refused(draft, task_id, current, units, events)
    lasting = task.spec.deadlines.aggregate_ms
    return _enter(draft, task_id, current, Phase.AGGREGATE, lasting_ms=lasting, events=events)


def _without_refused(
    draft: Draft, task_id: bytes, current: RoundRecord, units: list[UnitRecord], events: list[Event]
) -> RoundRecord:
    """What was attested early holds a refused unit: nothing of it stands, nor what was begun with it."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    draft.put(records.task_key(task_id), doubt(draft, task, units))
    ahead = round_of(draft, task_id, current.number + 1)
    if ahead is not None:
        _fail(draft, task_id, ahead, "a unit of the round before was refused", events)
    return replace(current, attestations=())


def _check_stakes(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord) -> None:
    """What decided how much was audited was there to be lost until all was decided, whatever its owner did."""
    owed = pending_of(draft, task_id, task)
    for unit in units_in(draft, task_id, current):
        trainer, held = draft.need(Trainer, records.trainer_key(unit.trainer)), held_by(draft, unit.trainer)
        there = trainer.bond + trainer.unbonding + owed[unit.trainer] + (held.amount if held is not None else 0)
        if not trainer.expelled and there < unit.stake:
            raise AssertionError("a stake left while its owner's work was being judged")


def _aggregate(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, events: list[Event]) -> bool:
    """Close with the model that a weak quorum attests. A round ahead that stands on another one is void."""
    found = agreed(draft, current.attestations)
    if found is not None:
        for slot in found.malformed:
            if slot < len(current.slots):
                _missed(draft, task_id, current.slots[slot])
        closed = close_round(
            draft, task_id, current, model=found.model, malformed=found.malformed, attesters=found.attesters,
            events=events,
        )
        if not closed:
            return _fail(draft, task_id, current, "every accepted update was malformed", events)
        following = round_of(draft, task_id, current.number + 1)
        if following is not None and following.base != found.model:
            _fail(draft, task_id, following, "the round before closed with another model", events)
        return True
    if draft.head.time_ms > current.deadline_ms:
        return _fail(draft, task_id, current, "no model was attested in time", events)
    return False


def _fail(draft: Draft, task_id: bytes, current: RoundRecord, reason: str, events: list[Event]) -> bool:
    """Give the attempt up, and what was begun on it: no money moves, it is opened again with a new seed."""
    slices.forget(draft, task_id, current)
    for slot, unit in enumerate(units_in(draft, task_id, current)):
        if unit.snapshots:
            key = records.update_key(task_id, unit.snapshots[-1])
            owner = draft.get(UpdateOwner, key)  # None where another unit of this round held the same update
            if owner is not None and owner.round == current.number:
                draft.put(key, None)
        if unit.judgement is not None:
            ended = event.UnitEnded(
                task_id, current.number, current.attempt, slot, unit.trainer, unit.judgement, unit.loss_micro, 0,
                unit.lengths, unit.outlier,
            )
            events.append(ended)
        draft.put(records.unit_key(task_id, current.number, slot), None)
    task = draft.need(TaskRecord, records.task_key(task_id))
    is_ahead = current.number > task.round
    task = replace(task, voided=task.voided + 1) if is_ahead else replace(task, attempt=task.attempt + 1)
    draft.put(records.task_key(task_id), task)
    draft.put(records.round_key(task_id, current.number), None)
    events.append(event.RoundFailed(task_id, current.number, current.attempt, reason))
    ahead = round_of(draft, task_id, current.number + 1)
    if ahead is not None:
        _fail(draft, task_id, ahead, "the round before failed", events)
    return False


_STAGES: dict[Phase, Stage] = {
    Phase.COMMIT: _commit,
    Phase.REVEAL: _reveal,
    Phase.DRAW: _draw,
    Phase.AUDIT: _audit,
    Phase.OPEN: _open_residues,
    Phase.DISPUTE: _dispute,
    Phase.AGGREGATE: _aggregate,
}
