"""Work that judges could not look at: its trainer's stake is held until the work was shown.

Who hides a false unit looks like a machine that died. So nobody is expelled for it, and nothing is burnt; but what an
expulsion would have taken is held, and so is the pay of every round that was drawn on it. Shown, it returns. The
trainer goes on meanwhile like one that has just registered: with no stake, audited whole.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base import limits
from potminer.core.ledger.calibrate import is_no_rounding
from potminer.core.ledger.event import Event, PayHeld, StakeHeld, StakeReturned
from potminer.core.ledger.judge import is_passed_by_some, resolve_dispute
from potminer.core.ledger.penalty import expel, take_bond, take_pending
from potminer.core.ledger.progress import rounds_of
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire import tx
from potminer.wire.held import HeldRound, HeldStake, HiddenSegment, HiddenUnit, Showing
from potminer.wire.record import Outcome, Phase, RoundRecord, Share, TaskRecord, Trainer, UnitRecord, Verdict
from potminer.wire.residue import LEAF_BYTES

DOUBLINGS = 6
"""A unit that could not be fetched rests as long as it was looked at, and twice as long after every time: up to 64
times."""


def held_by(draft: Draft, trainer: bytes) -> HeldStake | None:
    return draft.get(HeldStake, records.held_key(trainer))


# ---- holding -----------------------------------------------------------------------------


def hold(
    draft: Draft, task_id: bytes, current: RoundRecord, slot: int, segments: list[int], events: list[Event]
) -> bool:
    """Hold the stake of the trainer whose *segments* nobody could look at, where how much was audited followed from it;
    whether it did."""
    unit = draft.need(UnitRecord, records.unit_key(task_id, current.number, slot))
    expelled = draft.need(Trainer, records.trainer_key(unit.trainer)).expelled
    if not segments or unit.calibrating or not unit.stake or expelled:
        return False
    amount = take_bond(draft, unit.trainer)
    amount += sum(take_pending(draft, each, unit.trainer) for each in draft.head.open_tasks)
    before = held_by(draft, unit.trainer) or HeldStake(0, ())
    units = (*before.units, _hidden(task_id, current, slot, unit, segments))
    sealed = before.sealed or len(units) > limits.HIDDEN_UNITS
    now = replace(
        before, amount=before.amount + amount, units=before.units if sealed else units,
        rounds=_drawn_rounds(draft, unit.trainer), sealed=sealed,
    )  # fmt: skip
    draft.put(records.held_key(unit.trainer), now)
    events.append(StakeHeld(task_id, current.number, unit.trainer, amount))
    return True


def _hidden(task_id: bytes, current: RoundRecord, slot: int, unit: UnitRecord, segments: list[int]) -> HiddenUnit:
    shots = unit.snapshots
    parts = tuple(HiddenSegment(at, shots[at - 2] if at > 1 else None, shots[at - 1]) for at in sorted(segments))
    place = (task_id, current.number, current.attempt, slot)
    return HiddenUnit(*place, current.seed, current.base, unit.allowed_ppm or 0, parts)


def _drawn_rounds(draft: Draft, trainer: bytes) -> tuple[HeldRound, ...]:
    """The rounds with work of *trainer* whose draws looked at the stake that is held now: a proven cheat would be paid
    nothing for them any more."""
    return tuple(
        HeldRound(task, each.number, each.attempt)
        for task in draft.head.open_tasks
        for each in rounds_of(draft, task)
        if each.phase >= Phase.AUDIT and trainer in each.slots
    )


def hold_pay(
    draft: Draft, task_id: bytes, current: RoundRecord, shares: tuple[Share, ...], events: list[Event]
) -> tuple[Share, ...]:
    """The *shares* of a round that closes, without those that are held."""
    free, place = [], HeldRound(task_id, current.number, current.attempt)
    for share in shares:
        found = held_by(draft, share.earner)
        if found is None or place not in found.rounds:
            free.append(share)
            continue
        draft.put(records.held_key(share.earner), replace(found, amount=found.amount + share.amount))
        events.append(PayHeld(task_id, current.number, share.earner, share.amount))
    return tuple(free)


# ---- showing -----------------------------------------------------------------------------


def show(draft: Draft, sender: bytes, body: tx.ShowSnapshots, events: list[Event]) -> Refusal | None:
    """Ask the committee to look at one hidden unit."""
    found, head = held_by(draft, sender), draft.head
    index = _index(found, body) if found is not None else None
    if found is None or index is None:
        return Refusal.NOT_HELD
    if found.showing is not None:
        return Refusal.ALREADY_DONE
    if head.time_ms < found.units[index].again_ms:
        return Refusal.TOO_SOON
    if len(head.showing) >= limits.SHOWING and not _gives_way(draft, found.amount, events):
        return Refusal.TOO_MANY
    deadline = head.time_ms + _lasting_ms(draft, found.units[index])
    draft.put(records.held_key(sender), replace(found, showing=Showing(index, deadline)))
    draft.put(records.CHAIN, replace(draft.head, showing=(*draft.head.showing, sender)))
    return None


def _gives_way(draft: Draft, amount: int, events: list[Event]) -> bool:
    """Whether the smallest stake that is shown is below *amount*: its time is over then. Keys with a grain each must
    not keep everybody else's stake from being shown."""
    shown = {trainer: draft.need(HeldStake, records.held_key(trainer)) for trainer in draft.head.showing}
    least = min(shown, key=lambda trainer: shown[trainer].amount)
    showing = shown[least].showing
    if showing is None or shown[least].amount >= amount:
        return False
    _settle(draft, least, shown[least], showing, events, final=True)
    return True


def _index(found: HeldStake, body: tx.ShowSnapshots | tx.AuditVerdict) -> int | None:
    place = (body.task, body.round, body.attempt, body.slot)
    places = [(unit.task, unit.round, unit.attempt, unit.slot) for unit in found.units]
    return places.index(place) if place in places else None


def _lasting_ms(draft: Draft, unit: HiddenUnit) -> int:
    """As long as a dispute over so many segments."""
    deadlines = draft.need(TaskRecord, records.task_key(unit.task)).spec.deadlines
    return deadlines.dispute_ms * len(unit.segments)


def shown_by(draft: Draft, body: tx.AuditVerdict) -> bytes | None:
    """The trainer of the unit of *body*, where that is being shown."""
    for trainer in draft.head.showing:
        found = held_by(draft, trainer)
        if found is not None and found.showing is not None and _index(found, body) == found.showing.index:
            return trainer
    return None


def judge(draft: Draft, sender: bytes, trainer: bytes, body: tx.AuditVerdict) -> Refusal | None:
    """A validator's word on what *trainer* shows."""
    found = draft.need(HeldStake, records.held_key(trainer))
    showing = found.showing
    if showing is None or draft.head.time_ms > showing.deadline_ms:
        return Refusal.LATE
    if len(body.sketch) != (LEAF_BYTES if body.finding == tx.Finding.MEASURED else 0):
        return Refusal.WRONG_SKETCH
    if all(part.segment != body.segment for part in found.units[showing.index].segments):
        return Refusal.NOT_AUDITOR
    members = draft.committee.members
    if sender not in members:
        return Refusal.NOT_VALIDATOR
    if any(said.judge == sender and said.segment == body.segment for said in showing.judges):
        return Refusal.ALREADY_DONE
    seated = tuple(said for said in showing.judges if said.judge in members)
    said = Verdict(sender, body.segment, body.finding, body.error_ppm)
    draft.put(records.held_key(trainer), replace(found, showing=replace(showing, judges=(*seated, said))))
    return None


def settle_shows(draft: Draft, events: list[Event]) -> None:
    """End what is shown where a quorum of judges has seen it, or the time is over."""
    for trainer in draft.head.showing:
        found = draft.need(HeldStake, records.held_key(trainer))
        if found.showing is not None:
            _settle(draft, trainer, found, found.showing, events, final=draft.head.time_ms > found.showing.deadline_ms)


def is_over(draft: Draft, *, now: int) -> bool:
    """Whether a block at *now* would end a showing by its time."""
    shown = (draft.need(HeldStake, records.held_key(trainer)).showing for trainer in draft.head.showing)
    return any(each is not None and now > each.deadline_ms for each in shown)


def _settle(
    draft: Draft, trainer: bytes, found: HeldStake, showing: Showing, events: list[Event], *, final: bool
) -> None:
    unit = found.units[showing.index]
    task, waiting, left = draft.need(TaskRecord, records.task_key(unit.task)), False, []
    for part in unit.segments:
        said = tuple(each for each in showing.judges if each.segment == part.segment)
        ruling = resolve_dispute(said, draft.committee, tolerance_ppm=unit.allowed_ppm, final=final)
        if ruling is None:
            waiting = True
        elif ruling[0] == Outcome.MALFORMED or is_no_rounding(task, ruling[1]):
            expel(draft, task=unit.task, trainer=trainer, reason=str(ruling[0]), events=events)
            return
        elif ruling[0] == Outcome.UNAVAILABLE and not is_passed_by_some(
            said, draft.committee, tolerance_ppm=unit.allowed_ppm
        ):
            left.append(part)
    if not waiting:
        _end(draft, trainer, found, showing.index, tuple(left), events)


def _end(
    draft: Draft, trainer: bytes, found: HeldStake, index: int, left: tuple[HiddenSegment, ...], events: list[Event]
) -> None:
    """Of the unit only *left* is hidden still: what a quorum has measured, and that proves nothing, is done with."""
    head, unit = draft.head, found.units[index]
    again = head.time_ms + (_lasting_ms(draft, unit) << min(unit.tries, DOUBLINGS))
    rest = (replace(unit, segments=left, tries=min(255, unit.tries + 1), again_ms=again),) if left else ()
    units = (*found.units[:index], *rest, *found.units[index + 1 :])
    draft.put(records.CHAIN, replace(head, showing=tuple(each for each in head.showing if each != trainer)))
    if units or found.sealed:
        draft.put(records.held_key(trainer), replace(found, units=units, showing=None))
        return
    draft.put(records.held_key(trainer), None)
    key = records.trainer_key(trainer)
    owner = draft.need(Trainer, key)
    draft.put(key, replace(owner, bond=owner.bond + found.amount))
    events.append(StakeReturned(unit.task, trainer, found.amount))
