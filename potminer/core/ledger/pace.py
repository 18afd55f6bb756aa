"""How long work takes and how much of it each trainer gets, from what it did before: integers on the ledger."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.ledger.judge import median_ppm as median
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import Member, Outcome, RoundRecord, TaskRecord, UnitRecord

FEWEST = 8
"""Arrivals below which the requester's deadline stands."""
KEPT = 64
SHORTEST = 4
"""The deadline never falls below this part of the requester's."""
_MISSES = (Outcome.LATE, Outcome.NOT_REVEALED)


def commit_ms(task: TaskRecord) -> int:
    """How long the next COMMIT may last: median + 3 * MAD of past arrivals, thrice the median at the least, between a
    quarter of the requester's deadline and all of it.

    Who was late counts as having arrived at the requester's deadline: a deadline that were too short for many would
    otherwise never hear of them again. Thrice the median, for arrivals that hardly differ say nothing of jitter.
    """
    most, arrivals = task.spec.deadlines.commit_ms, list(task.arrivals)
    if len(arrivals) < FEWEST:
        return most
    middle = median(arrivals)
    spread = median([abs(arrival - middle) for arrival in arrivals])
    return max(most // SHORTEST, min(most, max(middle + 3 * spread, 3 * middle)))


def units_of(task: TaskRecord, member: Member) -> int:
    """How many units *member* holds in a round: all that a trainer may, until it showed how many it can."""
    return member.capacity or task.spec.units_per_trainer


def note_arrivals(draft: Draft, task_id: bytes, units: list[UnitRecord]) -> None:
    """At the end of COMMIT: when each trainer's last unit had arrived, in the order of slots."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    last: dict[bytes, int] = {}
    for unit in units:
        arrived = task.spec.deadlines.commit_ms if unit.arrived_ms is None else unit.arrived_ms
        last[unit.trainer] = max(last.get(unit.trainer, 0), arrived)
    draft.put(records.task_key(task_id), replace(task, arrivals=(*task.arrivals, *last.values())[-KEPT:]))


def adapt_capacity(draft: Draft, task_id: bytes, current: RoundRecord, units: list[UnitRecord]) -> None:
    """Once all has been shown, or was too late: half after a miss, one more after a round in time."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    held = {trainer: current.slots.count(trainer) for trainer in set(current.slots)}
    missed = {u.trainer for u in units if u.judgement is not None and u.judgement.outcome in _MISSES}

    def adapted(member: Member) -> Member:
        if member.trainer not in held:
            return member
        count = held[member.trainer]
        grown = min(task.spec.units_per_trainer, count + 1)
        return replace(member, capacity=max(1, count // 2) if member.trainer in missed else grown)

    draft.put(records.task_key(task_id), replace(task, members=tuple(adapted(m) for m in task.members)))
