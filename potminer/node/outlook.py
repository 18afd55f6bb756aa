"""What the round machine is told after a block: of a task its records, and those of its rounds in progress; and what
is hidden."""

from __future__ import annotations

from dataclasses import replace

from potminer.core.committee import Committee
from potminer.core.ledger.progress import round_of, units_in
from potminer.core.ledger.slices import lengths_of, slices_of
from potminer.core.ledger.state import Draft, State
from potminer.core.rounds.events import HeldSeen, HiddenSeen, Remade, ShownSeen, TaskSeen
from potminer.wire import record as records
from potminer.wire.held import HeldStake
from potminer.wire.record import EvaluationRecord, TaskRecord, Trainer
from potminer.wire.task import TaskSpec


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


def hidden_blobs(state: State, *, own: bytes) -> frozenset[bytes]:
    """What *own* needs to show the work that its stake is held for: perhaps nobody else has it."""
    mine = state.get(HeldStake, records.held_key(own))
    parts = [(unit, part) for unit in (mine.units if mine is not None else ()) for part in unit.segments]
    shots = {shot for _, part in parts for shot in (part.before, part.after) if shot is not None}
    data = {state.need(TaskRecord, records.task_key(unit.task)).spec.data.train for unit, _ in parts}
    return frozenset(shots | data | {unit.base for unit, _ in parts})


def held_work(state: State, own: bytes) -> tuple[int, str]:
    """Grains of *own* that are held, and for which work, in words; nothing where none are."""
    mine = state.get(HeldStake, records.held_key(own))
    if mine is None:
        return 0, ""
    places = dict.fromkeys((unit.task, unit.round) for unit in mine.units)
    names = [
        f"round {number + 1} of {state.need(TaskRecord, records.task_key(task)).spec.name}" for task, number in places
    ]
    more = f" and {len(names) - 2} rounds more" if len(names) > 2 else ""
    return mine.amount, (" and ".join(names[:2]) + more)[:200]


def held_seen(state: State, *, own: bytes) -> HeldSeen:
    """What is hidden, as the node with the key *own* has to look at it."""

    def spec_of(task: bytes) -> TaskSpec:
        return state.need(TaskRecord, records.task_key(task)).spec

    mine = state.get(HeldStake, records.held_key(own))
    hidden = mine.units if mine is not None else ()
    shown = []
    for trainer in state.head.showing:
        held = state.need(HeldStake, records.held_key(trainer))
        if held.showing is not None:
            unit, showing = held.units[held.showing.index], held.showing
            shown.append(ShownSeen(trainer, unit, spec_of(unit.task), showing.deadline_ms, showing.judges))
    own_units = tuple(HiddenSeen(unit, spec_of(unit.task)) for unit in hidden)
    busy = mine is not None and mine.showing is not None
    return HeldSeen(own_units, tuple(shown), state.head.time_ms, busy)


def remade_line(remade: Remade) -> tuple[str, str]:
    """Level and line for the log."""
    what = f"the lost snapshots of round {remade.round + 1} were made again"
    if remade.same:
        return "info", f"{what}, to the bit: they will be shown"
    return "error", f"{what}, and are not what was revealed: only the device and the settings that made them can"
