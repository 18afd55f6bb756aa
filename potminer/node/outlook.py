"""What the round machine is told of a task after a block: its records, and those of its rounds in progress."""

from __future__ import annotations

from dataclasses import replace

from potminer.core.committee import Committee
from potminer.core.ledger.progress import round_of, units_in
from potminer.core.ledger.slices import lengths_of, slices_of
from potminer.core.ledger.state import Draft, State
from potminer.core.rounds.events import TaskSeen
from potminer.wire import record as records
from potminer.wire.record import EvaluationRecord, TaskRecord, Trainer


def task_seen(state: State, task: bytes, *, own: bytes, committee: Committee) -> TaskSeen:
    """*task* as the node with the key *own* has to look at it."""
    record = state.need(TaskRecord, records.task_key(task))
    seen, ahead = (_with_round(state, task, record, record.round + more, own, committee) for more in (0, 1))
    return seen if ahead.round is None else replace(seen, ahead=ahead)


def _with_round(
    state: State, task: bytes, record: TaskRecord, number: int, own: bytes, committee: Committee
) -> TaskSeen:
    draft = Draft(state)
    current = round_of(draft, task, number)
    units = () if current is None else tuple(units_in(draft, task, current))
    registered = state.get(Trainer, records.trainer_key(own)) is not None
    evaluation = state.get(EvaluationRecord, records.evaluation_key(task))
    return TaskSeen(
        task, record, current, units, registered, state.head.time_ms, evaluation,
        slices_of(state, task, current), committee, lengths_of(state, task, current, record.spec),
    )
