"""What a proven cheat loses: its place in every task, its rewards in every dispute window and its bond,
also the part that is being unbonded: or a cheat would unbond as soon as its unit is drawn.

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
from potminer.wire.record import PendingRound, Standing, TaskRecord, Trainer


def expel(draft: Draft, *, task: bytes, trainer: bytes, reason: str, events: list[Event]) -> None:
    """Expel *trainer* for what it did in *task*, for good and everywhere."""
    key = records.trainer_key(trainer)
    found = draft.need(Trainer, key)
    if found.expelled:
        return
    slashed = _slash_bond(draft, key, trainer, found)
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


def _forfeit_pending(draft: Draft, task: bytes, trainer: bytes) -> int:
    """What *task* owes goes back to its escrow at once; what others owe, when it would be paid (``stake.pay``)."""
    found = draft.need(TaskRecord, records.task_key(task))
    forfeited = 0
    for number in window(draft.parameters, found):
        key = records.pending_key(task, number)
        pending = draft.get(PendingRound, key)
        if pending is None:
            continue
        kept = tuple(share for share in pending.shares if share.earner != trainer)
        forfeited += sum(share.amount for share in pending.shares if share.earner == trainer)
        draft.put(key, replace(pending, shares=kept))
    draft.put(records.task_key(task), replace(found, escrow=found.escrow + forfeited))
    return forfeited


def _slash_bond(draft: Draft, key: bytes, trainer: bytes, found: Trainer) -> int:
    slashed = found.bond + found.unbonding
    draft.put(key, replace(found, bond=0, unbonding=0, expelled=True))
    head = draft.head
    kept = tuple(release for release in head.releases if release.trainer != trainer)
    draft.put(records.CHAIN, replace(head, releases=kept, burnt=head.burnt + slashed))
    return slashed
