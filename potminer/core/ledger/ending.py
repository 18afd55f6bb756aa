"""Why a task ends: read from its record, so that whoever has the record knows, also when no event told it."""

from __future__ import annotations

from potminer.core.ledger.calibrate import refusal_of
from potminer.core.ledger.evaluate import has_reached_target
from potminer.core.ledger.state import State
from potminer.wire import record as records
from potminer.wire.record import TaskRecord, TaskStatus


def end_of(task: TaskRecord) -> str | None:
    """Why a task between two rounds cannot go on; of one that has ended, why it did."""
    spec = task.spec
    if task.status == TaskStatus.CANCELLED:
        return "cancelled"
    refused = refusal_of(task)
    if refused is not None:
        return refused
    if has_reached_target(task):
        return "target reached"
    if task.round >= spec.rounds:
        return "all rounds done"
    spent = task.escrow < spec.min_trainers * spec.units_per_trainer * spec.reward.price_per_unit
    return "budget spent" if spent else None


def ending(state: State, task_id: bytes) -> str:
    """Why *task_id* has ended, or will with its round; empty while it goes on, or where nobody knows it."""
    task = state.get(TaskRecord, records.task_key(task_id))
    if task is None:
        return ""
    return (refusal_of(task) if task_id in state.head.open_tasks else end_of(task)) or ""
