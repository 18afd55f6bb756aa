"""Deadlines from past arrivals, and as many units for a trainer as it finished in time before."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.core.ledger import event
from potminer.core.ledger.begin import assigned
from potminer.core.ledger.pace import commit_ms
from potminer.wire.record import Outcome, Phase
from potminer.wire.task import Deadlines, Reward
from potminer.wire.tx import JoinTask
from tests.unit.ledger_world import World, key, spec

SPEC = spec(
    rounds=20, units_per_trainer=4, reward=Reward(10**9, 1_000_003),
    deadlines=Deadlines(60_000, 10_000, 10_000, 10_000, 10_000),
)  # fmt: skip


def started() -> World:
    world = World()
    world.submit(SPEC)
    return world


def held(world: World) -> dict[str, int]:
    return {name: world.round.slots.count(key(name).public) for name in ("ann", "ben", "cy")}


def slots_of(world: World, name: str) -> tuple[int, ...]:
    return tuple(s for s, owner in enumerate(world.round.slots) if owner == key(name).public)


def finish(world: World) -> None:
    world.reveal_all(but=tuple(s for s in range(len(world.round.slots)) if world.unit(s).judgement is not None))
    world.audit_all()
    world.attest()


def late(world: World, name: str) -> None:
    """A round in which *name* commits nothing, and joins again."""
    world.commit_all(but=slots_of(world, name))
    world.pass_deadline()
    world.step((name, JoinTask(world.task)))
    finish(world)


@pytest.mark.parametrize(
    ("arrivals", "deadline"),
    [
        ([20_000] * 7, 60_000),
        ([20_000] * 8, 60_000),
        ([6_000] * 8, 18_000),
        ([1_000] * 20, 15_000),
        ([50_000] * 20, 60_000),
        ([5_000, 6_000, 7_000, 8_000, 9_000, 10_000, 11_000, 12_000], 24_000),
        ([1_000, 1_000, 1_000, 9_000, 9_000, 17_000, 17_000, 17_000], 9_000 + 3 * 8_000),
        ([20_000] * 4 + [60_000] * 5, 60_000),
    ],
)
def test_the_deadline_follows_arrivals_within_the_requesters(arrivals: list[int], deadline: int) -> None:
    """Too few, equal ones, fast, slow, spread, and with many that were late."""
    world = started()
    assert commit_ms(replace(world.record, arrivals=tuple(arrivals))) == deadline


def test_arrivals_are_noted_and_the_next_rounds_use_them() -> None:
    world = started()
    for number in range(3):
        assert world.round.deadline_ms - world.round.opened_ms == 60_000
        world.step(after_ms=9_000)
        world.whole_round()
        assert world.record.arrivals == (10_000,) * 3 * (number + 1)
    assert world.round.deadline_ms - world.round.opened_ms == 30_000


def test_who_was_late_counts_as_the_requesters_deadline() -> None:
    world = started()
    late(world, "ann")
    assert sorted(world.record.arrivals) == [1_000, 1_000, 60_000]


def test_a_miss_halves_what_a_trainer_holds_and_each_round_in_time_adds_one() -> None:
    world = started()
    assert held(world) == {"ann": 4, "ben": 4, "cy": 4}
    late(world, "ann")
    assert held(world) == {"ann": 2, "ben": 4, "cy": 4}
    late(world, "ann")
    assert held(world)["ann"] == 1
    late(world, "ann")
    assert held(world)["ann"] == 1, "never less than one"
    seen = []
    for _ in range(5):
        world.whole_round()
        seen.append(held(world)["ann"])
    assert seen == [2, 3, 4, 4, 4]


def test_what_was_committed_and_never_shown_is_a_miss_too() -> None:
    world = started()
    world.commit_all()
    hidden = slots_of(world, "cy")
    world.reveal_all(but=hidden[:1])
    world.pass_deadline()
    world.step(("cy", JoinTask(world.task)))
    world.audit_all()
    world.attest()
    assert world.happened(event.UnitEnded)[hidden[0]].judgement.outcome == Outcome.NOT_REVEALED
    assert held(world)["cy"] == 2


def test_a_round_in_which_all_are_late_halves_for_all_and_is_opened_again() -> None:
    world = started()
    world.pass_deadline()
    world.step(*[(name, JoinTask(world.task)) for name in ("ann", "ben", "cy")])
    assert (world.round.attempt, world.round.phase) == (1, Phase.COMMIT)
    assert held(world) == {"ann": 2, "ben": 2, "cy": 2}


def test_no_more_is_assigned_than_the_escrow_can_pay_whatever_each_can_do() -> None:
    world = started()
    late(world, "ann")
    poor = replace(world.record, escrow=9 * 1_000_003)
    for order in (["ann", "ben", "cy"], ["ben", "cy", "ann"]):
        slots = assigned(poor, [key(name).public for name in order], poor.escrow)
        assert len(slots) <= 9
    assert len(assigned(poor, [key(name).public for name in ("ann", "ben", "cy")], poor.escrow)) == 6
