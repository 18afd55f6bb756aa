"""What a validator does about slices when its own folder fails it."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.committee import Committee
from potminer.core.rounds.events import Effect, ExcerptFetched, FetchExcerpt, Reported, TaskSeen
from potminer.wire.model import Mlp
from potminer.wire.record import Phase, SliceRecord, UnitRecord
from potminer.wire.trainer import Failed, SliceJob
from tests.unit.ledger_world import blob, key, spec
from tests.unit.rounds_node import ACCEPTED, BASE, OWN, SNAPSHOTS, THEIRS, Node, current, jobs, seen

TASK_SPEC = spec(model=Mlp(64, (30_000,), 10))
MEMBERS = (OWN, key("v1").public, key("v2").public, key("v3").public)


def at_slices() -> TaskSeen:
    at = current(Phase.AGGREGATE, slices=3)
    units = (
        UnitRecord(at.slots[0], snapshots=SNAPSHOTS, judgement=ACCEPTED),
        UnitRecord(at.slots[1], snapshots=THEIRS, judgement=ACCEPTED),
    )
    told = seen(at, units, spec=TASK_SPEC)
    return TaskSeen(
        told.task, told.record, told.round, told.units, told.registered, told.block_ms, None,
        (SliceRecord(()),) * 3, Committee(0, MEMBERS, (1,) * 4),
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
