"""The beginning of a round: its seed, and who has which unit."""

from __future__ import annotations

from potminer.base import draw
from potminer.base.digest import Domain, digest, number
from potminer.core.ledger import event
from potminer.core.ledger.ahead import active
from potminer.core.ledger.event import Event
from potminer.core.ledger.pace import commit_ms, units_of
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import Phase, RoundRecord, TaskRecord, UnitRecord
from potminer.wire.slice import slice_count
from potminer.wire.task import TaskSpec


def begin_round(
    draft: Draft, task_id: bytes, task: TaskRecord, place: tuple[int, int], *, base: bytes, funds: int,
    events: list[Event],
) -> None:
    """Open the round and attempt *place* on *base* with every active member that *funds* can pay."""
    head, (number_, attempt) = draft.head, place
    seed = digest(Domain.DRAW, head.beacon, task_id, number(number_), number(attempt))
    trainers = draw.shuffled(draw.words(seed, b"slots"), [member.trainer for member in active(task)])
    slots = assigned(task, trainers, funds)
    current = RoundRecord(
        number_, attempt, seed, base, Phase.COMMIT, head.time_ms, head.time_ms + commit_ms(task), slots, (), (), (),
        _slices(draft, task.spec, len(slots)),
    )
    draft.put(records.round_key(task_id, number_), current)
    for slot, trainer in enumerate(slots):
        draft.put(records.unit_key(task_id, number_, slot), UnitRecord(trainer))
    events.append(event.RoundOpened(task_id, number_, attempt, len(slots)))


def assigned(task: TaskRecord, order: list[bytes], funds: int) -> tuple[bytes, ...]:
    """The trainer of every slot: in *order*, as many units each as it can do, while *funds* can pay."""
    affordable = funds // task.spec.reward.price_per_unit
    holds = {member.trainer: units_of(task, member) for member in task.members}
    slots: list[bytes] = []
    for trainer in order:
        if len(slots) + holds[trainer] > affordable:
            break
        slots += [trainer] * holds[trainer]
    return tuple(slots)


def _slices(draft: Draft, spec: TaskSpec, units: int) -> int:
    members = len(draft.committee.members)
    return slice_count(spec, units=units, members=members, whole_bytes=draft.parameters.whole_bytes)
