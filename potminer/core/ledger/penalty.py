"""What a proven cheat loses: its place in the task, its rewards in the dispute window and its bond,
also the part that is being unbonded: or a cheat would unbond as soon as its unit is drawn.

Lateness and absence are never penalised here.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.ledger.event import Event, Expelled
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import PendingRound, Standing, TaskRecord, Trainer


def expel(draft: Draft, *, task: bytes, trainer: bytes, reason: str, events: list[Event]) -> None:
    """Expel *trainer* from *task*. Everything forfeited goes back to the task's escrow."""
    found = draft.need(TaskRecord, records.task_key(task))
    forfeited = _forfeit_pending(draft, task, found, trainer) + _slash_bond(draft, trainer)
    members = tuple(
        replace(member, standing=Standing.EXPELLED) if member.trainer == trainer else member
        for member in found.members
    )
    draft.put(records.task_key(task), replace(found, members=members, escrow=found.escrow + forfeited))
    events.append(Expelled(task, trainer, reason, forfeited))


def _forfeit_pending(draft: Draft, task: bytes, found: TaskRecord, trainer: bytes) -> int:
    forfeited = 0
    for number in range(max(0, found.round - draft.parameters.escrow_rounds), found.round):
        key = records.pending_key(task, number)
        pending = draft.get(PendingRound, key)
        if pending is None:
            continue
        kept = tuple(share for share in pending.shares if share.earner != trainer)
        forfeited += sum(share.amount for share in pending.shares if share.earner == trainer)
        draft.put(key, replace(pending, shares=kept))
    return forfeited


def _slash_bond(draft: Draft, trainer: bytes) -> int:
    key = records.trainer_key(trainer)
    found = draft.get(Trainer, key)
    if found is None or not found.bond + found.unbonding:
        return 0
    draft.put(key, replace(found, bond=0, unbonding=0))
    head = draft.head
    kept = tuple(release for release in head.releases if release.trainer != trainer)
    draft.put(records.CHAIN, replace(head, releases=kept))
    return found.bond + found.unbonding
