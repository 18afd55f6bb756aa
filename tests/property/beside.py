"""Rounds of one task beside one another: what holds of them at every height."""

from __future__ import annotations

from random import Random

from potminer.core.ledger import event
from potminer.core.ledger.progress import is_refused, rounds_of, units_in
from potminer.core.ledger.state import Draft, State
from potminer.wire import record as records
from potminer.wire.record import Outcome, Phase, RoundRecord, TaskRecord
from tests.unit.ledger_world import LENGTH


def in_progress(state: State) -> list[tuple[bytes, RoundRecord]]:
    """Every round, in the order in which those of one task are decided."""
    draft = Draft(state)
    return [(task, current) for task in state.head.open_tasks for current in rounds_of(draft, task)]


def check_ahead(state: State) -> None:
    """At most one round beside that whose turn it is, in COMMIT to DRAW, on what the validators attest of the first;
    and the escrow can pay for all of both."""
    for task in state.head.open_tasks:
        record, draft = state.need(TaskRecord, records.task_key(task)), Draft(state)
        rounds = rounds_of(draft, task)
        places = [number for number in (0, 1) if state.get(RoundRecord, records.round_key(task, number))]
        assert len(places) == len(rounds), "a round that nobody closed"
        units = [unit for each in rounds for unit in units_in(draft, task, each)]
        open_ = [unit for unit in units if unit.judgement is None or unit.judgement.outcome == Outcome.ACCEPTED]
        assert record.escrow >= record.spec.reward.price_per_unit * len(open_)
        if len(rounds) == 2:
            first, second = rounds
            assert first.phase >= Phase.AUDIT
            assert second.phase <= Phase.DRAW
            assert not second.audits
            assert second.base in {said.model for said in first.attestations}
            assert not any(is_refused(unit) for unit in units_in(draft, task, first)) or first.phase == Phase.DISPUTE


def lengths(current: RoundRecord, slot: int, *, wild: bool) -> tuple[int, ...]:
    """How long an update is said to be. Honest ones differ by less than the double; who is *wild* says anything at
    times."""
    choice = Random(f"{current.seed.hex()}{slot}")
    wild = wild and choice.random() < 0.3
    return tuple(choice.randrange(2**16) if wild else LENGTH + choice.randrange(256) for _ in range(current.slices))


def check_outliers(state: State) -> None:
    """What is an outlier is audited in every segment."""
    for task, current in in_progress(state):
        units = units_in(Draft(state), task, current)
        segments = range(1, state.need(TaskRecord, records.task_key(task)).spec.segments + 1)
        for slot, unit in enumerate(units):
            if unit.outlier:
                assert unit.allowed_ppm is not None, "only what was drawn is one"
                assert {audit.segment for audit in current.audits if audit.slot == slot} == set(segments)


def check_expelled(events: list[event.Event]) -> None:
    gone: set[tuple[bytes, bytes]] = set()
    for each in events:
        if isinstance(each, event.Expelled):
            gone.add((each.task, each.trainer))
        elif isinstance(each, event.Paid | event.Rewarded | event.ModelEvaluated):
            assert not any((each.task, share.earner) in gone for share in each.shares), "a proven cheat was paid"
        elif isinstance(each, event.UnitEnded) and (each.task, each.trainer) in gone:
            assert each.paid == 0
