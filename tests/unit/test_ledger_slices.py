"""Who may say what of a slice, and that nothing of it stays."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from potminer.core.ledger.slices import lengths_of, slices_of
from potminer.wire import record as records
from potminer.wire.model import Mlp
from potminer.wire.record import Phase, SliceRecord
from potminer.wire.slice import excerpt_ranges, slice_count, slice_span
from potminer.wire.task import Clipped, TaskSpec, Trimmed, snapshot_size
from potminer.wire.tx import SliceResult
from tests.unit.ledger_world import World, blob, spec

WIDE = Mlp(64, (30_000,), 10)


def at_aggregation(task: TaskSpec) -> World:
    world = World(whole_bytes=0)
    world.submit(task)
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    world.until(Phase.AGGREGATE)
    return world


def test_a_word_on_a_slice_is_a_validators_and_grows() -> None:
    world = at_aggregation(spec(model=WIDE))
    current, first = world.round, world.validators[0]
    assert current.slices == 3
    said = SliceResult(world.task, current.number, current.attempt, 1, blob("part"), (1,))
    assert world.step(("ann", said)) == ["not-validator"]
    assert world.step((first, replace(said, slice=3))) == ["not-sliced"]
    assert world.step((first, said)) == [None]
    assert world.step((first, replace(said, part=blob("other")))) == ["already-done"]
    assert world.step((first, replace(said, malformed=(0,)))) == ["already-done"]
    assert world.step((first, replace(said, malformed=(0, 1)))) == [None]
    (kept,) = world.state.need(SliceRecord, records.slice_key(world.task, 1)).attestations
    assert kept.malformed == (0, 1)


def test_lengths_are_said_apart_from_parts_and_of_clipped_updates_alone() -> None:
    world = at_aggregation(spec(model=WIDE, aggregation=Clipped()))
    first = world.validators[0]
    part = SliceResult(world.task, world.round.number, world.round.attempt, 1, blob("part"), (1,))
    lengths = replace(part, part=blob("lengths"), malformed=(), lengths=True)
    assert world.step((first, part), (first, lengths)) == [None, None]
    assert world.step((first, replace(lengths, part=blob("other")))) == ["already-done"]
    assert world.step((first, replace(lengths, malformed=(2,)))) == [None]
    kept = [world.state.need(SliceRecord, at(world.task, 1)) for at in (records.slice_key, records.lengths_key)]
    assert [record.attestations[0].malformed for record in kept] == [(1,), (2,)]
    nothing = SliceRecord(())
    assert slices_of(world.state, world.task, world.round) == (nothing, kept[0], nothing)
    assert lengths_of(world.state, world.task, world.round, world.record.spec) == (nothing, kept[1], nothing)
    world.attest()
    assert not [key for key, _ in world.state.items() if key[:1] in (b"s", b"l")]

    plain = at_aggregation(spec(model=WIDE))
    said = replace(lengths, task=plain.task)
    assert plain.step((plain.validators[0], said)) == ["not-sliced"]
    assert lengths_of(plain.state, plain.task, plain.round, plain.record.spec) == ()


def test_a_round_that_is_over_leaves_no_slices() -> None:
    for over in ("closed", "failed"):
        world = at_aggregation(spec(model=WIDE))
        current = world.round
        world.step((world.validators[0], SliceResult(world.task, current.number, 0, 0, blob("part"), ())))
        if over == "closed":
            world.attest()
        else:
            world.pass_deadline()
        assert not [key for key, _ in world.state.items() if key[:1] == b"s"]


def test_small_rounds_are_not_sliced() -> None:
    world = at_aggregation(spec())
    said = SliceResult(world.task, 0, 0, 0, blob("part"), ())
    assert world.round.slices == 1
    assert world.step((world.validators[0], said)) == ["not-sliced"]


def test_into_how_many_slices() -> None:
    task = spec(model=WIDE)
    size = snapshot_size(task, task.segments)
    assert slice_count(task, units=7, members=31, whole_bytes=1) == 1, "no larger than two models"
    assert slice_count(task, units=9, members=31, whole_bytes=1) == 3
    assert slice_count(task, units=10, members=31, whole_bytes=10 * size) == 1
    assert slice_count(task, units=11, members=31, whole_bytes=10 * size) == 3
    assert slice_count(task, units=11, members=2, whole_bytes=10 * size) == 2
    assert slice_count(replace(task, aggregation=Trimmed()), units=11, members=31, whole_bytes=0) == 3
    assert slice_count(replace(task, aggregation=Clipped()), units=11, members=31, whole_bytes=0) == 3


def test_slices_cover_everything_once() -> None:
    for compression in ("lan", "wan4", "wan2"):
        for hidden in (1, 8, 300):
            task = spec(model=Mlp(64, (hidden,), 10), compression=compression)
            for of in (2, 3, 7):
                spans = [slice_span(task, index, of) for index in range(of)]
                assert spans[0][0] == 0
                assert all(one[1] == two[0] for one, two in pairwise(spans))
                taken = sorted(span for index in range(of) for span in excerpt_ranges(task, index, of)[1:])
                assert taken[0][0] == 32
                assert all(one[1] == two[0] for one, two in pairwise(taken))
                assert taken[-1][1] == snapshot_size(task, task.segments)
