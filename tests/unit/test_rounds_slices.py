"""What a validator does about slices: of clipped updates, and when its own folder fails it."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.committee import Committee
from potminer.core.rounds.events import BlobFetched, Effect, ExcerptFetched, Fetch, FetchExcerpt, Reported, TaskSeen
from potminer.wire.model import Mlp
from potminer.wire.record import PartAttestation, Phase, SliceRecord, UnitRecord
from potminer.wire.slice import LENGTH_BYTES
from potminer.wire.task import Clipped, TaskSpec
from potminer.wire.trainer import Failed, Sliced, SliceJob
from potminer.wire.tx import SliceResult
from tests.unit.ledger_world import blob, key, spec
from tests.unit.rounds_node import ACCEPTED, BASE, OWN, SNAPSHOTS, THEIRS, Node, current, jobs, said, seen

TASK_SPEC = spec(model=Mlp(64, (30_000,), 10))
MEMBERS = (OWN, key("v1").public, key("v2").public, key("v3").public)


def at_slices(
    spec: TaskSpec = TASK_SPEC, slices: tuple[SliceRecord, ...] = (SliceRecord(()),) * 3,
    lengths: tuple[SliceRecord, ...] = (),
) -> TaskSeen:
    at = current(Phase.AGGREGATE, slices=3)
    units = (
        UnitRecord(at.slots[0], snapshots=SNAPSHOTS, judgement=ACCEPTED),
        UnitRecord(at.slots[1], snapshots=THEIRS, judgement=ACCEPTED),
    )
    told = seen(at, units, spec=spec)
    return TaskSeen(
        told.task, told.record, told.round, told.units, told.registered, told.block_ms, None,
        slices, Committee(0, MEMBERS, (1,) * 4), lengths,
    )


def excerpts(effects: list[Effect]) -> list[FetchExcerpt]:
    return [effect for effect in effects if isinstance(effect, FetchExcerpt)]


def test_an_excerpt_that_the_folder_has_lost_is_fetched_again() -> None:
    node = Node(validator=True, have=(BASE,))
    told = at_slices()
    effects = node.tell(told)
    asked = excerpts(effects)
    assert asked
    started: list[Effect] = []
    for each in asked:
        started += node.tell(ExcerptFetched(each.update, each.index, blob("excerpt", each.update, each.index)))
    job = jobs(started)[0]
    assert isinstance(job, SliceJob)
    again = node.tell(Reported(Failed(job.job, "missing-blob", "evicted")))
    again += node.tell(replace_time(told), after_ms=6_000)
    assert {(each.update, each.index) for each in excerpts(again)} == {(each.update, each.index) for each in asked}


def replace_time(told: TaskSeen) -> TaskSeen:
    at = told.round
    assert at is not None
    later = replace(at, deadline_ms=at.deadline_ms + 60_000)
    return TaskSeen(
        told.task, told.record, later, told.units, told.registered, told.block_ms, None, told.slices, told.committee
    )


# ---- lengths -----------------------------------------------------------------------------

CLIPPED = replace(TASK_SPEC, aggregation=Clipped(1, 500_000))


def named(what: str, malformed: tuple[int, ...] = (), members: tuple[bytes, ...] = MEMBERS[1:3]) -> SliceRecord:
    """What two of four say alike."""
    return SliceRecord(tuple(PartAttestation(member, blob(what), malformed) for member in members))


def with_excerpts(node: Node, told: TaskSeen) -> list[Effect]:
    """Tell *node*, and give it every excerpt that it asks for, and their successors."""
    effects = node.tell(told)
    for each in excerpts(effects):
        effects += node.tell(ExcerptFetched(each.update, each.index, blob("excerpt", each.update, each.index)))
    return effects


def test_parts_wait_for_lengths_that_all_leave_out_the_same() -> None:
    """Slice 0 of three is that of seats 0 and 1: its lengths first, then the part with the lengths of all."""
    node, nothing = Node(validator=True, have=(BASE,)), SliceRecord(())
    (job,) = jobs(with_excerpts(node, at_slices(CLIPPED, lengths=(nothing,) * 3)))
    assert isinstance(job, SliceJob)
    assert (job.index, job.lengths, job.updates) == (0, (), (SNAPSHOTS[-1], THEIRS[-1]))
    (word,) = said(node.tell(Reported(Sliced(job.job, blob("lengths", 0), (), 1))))
    assert isinstance(word, SliceResult)
    assert (word.slice, word.part, word.malformed, word.lengths) == (0, blob("lengths", 0), (), True)

    for wrong in (
        (named("a"), named("b"), named("c", members=MEMBERS[1:2])),  # one word is nobody's truth
        (named("a"), named("b"), nothing),
        (named("a"), named("b", (1,)), named("c")),  # without unit 1 every bucket is another
    ):
        other = Node(validator=True, have=(BASE,))
        begun = jobs(with_excerpts(other, at_slices(CLIPPED, lengths=wrong)))
        assert all(isinstance(each, SliceJob) and not each.lengths for each in begun)

    ready = at_slices(CLIPPED, lengths=(named("a"), named("b"), named("c")))
    other = Node(validator=True, have=(BASE,))
    effects = with_excerpts(other, ready)
    wanted = [effect for effect in effects if isinstance(effect, Fetch)]
    assert {(each.blob, each.max_bytes) for each in wanted} == {(blob(name), 2 * LENGTH_BYTES) for name in "abc"}
    assert not jobs(effects), "not without the lengths"
    begun = [job for each in wanted for job in jobs(other.tell(BlobFetched(each.blob, True)))]
    (part,) = begun
    assert isinstance(part, SliceJob)
    assert (part.index, part.lengths) == (0, (blob("a"), blob("b"), blob("c")))


def test_what_a_part_misses_is_left_out_of_the_lengths() -> None:
    """Late, and nobody has slice 0 of unit 1 any more, whose lengths are known: they are said without it."""
    told = at_slices(CLIPPED, lengths=(named("a"), named("b"), named("c")))
    node = Node(validator=True, have=(BASE, blob("a"), blob("b"), blob("c")))
    started: list[Effect] = []
    for each in excerpts(node.tell(told)):
        have = None if each.update == THEIRS[-1] else blob("excerpt", each.update, each.index)
        started += node.tell(ExcerptFetched(each.update, each.index, have))
    assert not jobs(started), "there is time, it may still come"
    (job,) = jobs(node.tell(told, after_ms=8_000))
    assert isinstance(job, SliceJob)
    assert (job.index, job.lengths, job.updates) == (0, (), (SNAPSHOTS[-1],))
    (word,) = said(node.tell(Reported(Sliced(job.job, blob("fewer lengths"), (), 1))))
    assert isinstance(word, SliceResult)
    assert (word.slice, word.part, word.malformed, word.lengths) == (0, blob("fewer lengths"), (1,), True)
