"""What a proven cheat loses: its place in every task, its rewards in every dispute window, its bond and what of all
this is held, also the part that is being unbonded: or a cheat would unbond as soon as its unit is drawn.

Rewards go back to the escrow they came from. Bonds are burnt: were they paid to a requester, a cheat could order a
task of its own, be caught there, and so take its bond out in time.

Lateness and absence are never penalised here.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.ledger.event import Event, Expelled
from potminer.core.ledger.stake import window
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.held import HeldStake
from potminer.wire.record import PendingRound, Standing, TaskRecord, Trainer


def expel(draft: Draft, *, task: bytes, trainer: bytes, reason: str, events: list[Event]) -> None:
    """Expel *trainer* for what it did in *task*, for good and everywhere."""
    key = records.trainer_key(trainer)
    if draft.need(Trainer, key).expelled:
        return
    slashed = _burn(draft, trainer)
    draft.put(key, replace(draft.need(Trainer, key), expelled=True))
    forfeited = _forfeit_pending(draft, task, trainer)
    events.append(Expelled(task, trainer, reason, slashed + forfeited))
    _lose_place(draft, task, trainer)
    for other in draft.head.open_tasks:
        if other != task and _lose_place(draft, other, trainer):
            events.append(Expelled(other, trainer, reason, 0))


def _lose_place(draft: Draft, task: bytes, trainer: bytes) -> bool:
    found = draft.need(TaskRecord, records.task_key(task))
    if not any(member.trainer == trainer for member in found.members):
        return False
    members = tuple(
        replace(member, standing=Standing.EXPELLED) if member.trainer == trainer else member
        for member in found.members
    )
    draft.put(records.task_key(task), replace(found, members=members))
    return True


def take_pending(draft: Draft, task: bytes, trainer: bytes) -> int:
    """Strike out what *task* owes to *trainer*; it is the caller's to put somewhere."""
    taken = 0
    for number in window(draft.parameters, draft.need(TaskRecord, records.task_key(task))):
        key = records.pending_key(task, number)
        pending = draft.get(PendingRound, key)
        mine = sum(share.amount for share in pending.shares if share.earner == trainer) if pending is not None else 0
        if pending is not None and mine:
            kept = tuple(share for share in pending.shares if share.earner != trainer)
            draft.put(key, replace(pending, shares=kept))
            taken += mine
    return taken


def take_bond(draft: Draft, trainer: bytes) -> int:
    """Take the bond, also what of it is on its way out; it is the caller's to put somewhere."""
    key, head = records.trainer_key(trainer), draft.head
    found = draft.need(Trainer, key)
    draft.put(key, replace(found, bond=0, unbonding=0))
    kept = tuple(release for release in head.releases if release.trainer != trainer)
    draft.put(records.CHAIN, replace(head, releases=kept))
    return found.bond + found.unbonding


def _forfeit_pending(draft: Draft, task: bytes, trainer: bytes) -> int:
    """What *task* owes goes back to its escrow at once; what others owe, when it would be paid (``stake.pay``)."""
    forfeited = take_pending(draft, task, trainer)
    found = draft.need(TaskRecord, records.task_key(task))
    draft.put(records.task_key(task), replace(found, escrow=found.escrow + forfeited))
    return forfeited


def _burn(draft: Draft, trainer: bytes) -> int:
    """The bond, and all that is held: what other work is judged by at this moment must be lost for it too."""
    held = draft.get(HeldStake, records.held_key(trainer))
    amount = take_bond(draft, trainer) + (held.amount if held is not None else 0)
    draft.put(records.held_key(trainer), None)
    head = draft.head
    showing = tuple(each for each in head.showing if each != trainer)
    draft.put(records.CHAIN, replace(head, burnt=head.burnt + amount, showing=showing))
    return amount
