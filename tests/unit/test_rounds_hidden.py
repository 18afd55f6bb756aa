"""What a node does about hidden work: it shows its own by itself, and looks at what others show."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.rounds.events import BlobFetched, HeldSeen, HiddenSeen, Reported, ShownSeen
from potminer.wire.held import HiddenSegment, HiddenUnit
from potminer.wire.task import Unit
from potminer.wire.trainer import Audited, AuditJob
from potminer.wire.tx import AuditVerdict, Finding, ShowSnapshots
from potminer.wire.verdict import Verdict
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import BASE, DATA, OTHER, OWN, SNAPSHOTS, SPEC, START, TASK, Node, fetched, jobs, said

PLACE = (TASK, 3, 1, 0)
UNIT = HiddenUnit(
    *PLACE, blob("seed"), BASE, 1_000,
    (HiddenSegment(1, None, SNAPSHOTS[0]), HiddenSegment(3, SNAPSHOTS[1], SNAPSHOTS[2])),
)  # fmt: skip
NEEDED = {*DATA, *SNAPSHOTS[:3]}
DEADLINE = START + 2 * SPEC.deadlines.dispute_ms


def own(unit: HiddenUnit = UNIT, block_ms: int = START) -> HeldSeen:
    return HeldSeen((HiddenSeen(unit, SPEC),), (), block_ms)


def shown(*judges: Verdict) -> HeldSeen:
    return HeldSeen((), (ShownSeen(OTHER, UNIT, SPEC, DEADLINE, judges),), START)


def test_who_comes_back_gets_hold_of_all_that_judges_need_and_shows_it_without_duty() -> None:
    node = Node(payout=False)
    assert fetched(node.tell(own())) == NEEDED
    for each in sorted(NEEDED):
        assert said(node.tell(own())) == []
        effects = node.tell(BlobFetched(each, True))
    assert said(effects) == [ShowSnapshots(*PLACE)]
    assert said(node.tell(own(), after_ms=4_000)) == [], "blocks take their time"
    assert said(node.tell(own(), after_ms=15_000)) == [ShowSnapshots(*PLACE)], "what was lost is said again"


def test_it_waits_for_the_pause_that_the_ledger_asks_for() -> None:
    node = Node(have=tuple(NEEDED))
    later = replace(UNIT, again_ms=START + 9_000, tries=1)
    assert said(node.tell(own(later))) == []
    assert said(node.tell(own(later, START + 9_000))) == [ShowSnapshots(*PLACE)]


def test_what_is_lost_is_asked_for_now_and_then_and_keeps_nothing_else_from_being_shown() -> None:
    node = Node(have=(*DATA, *SNAPSHOTS[:2]))
    other = replace(UNIT, round=4, segments=(HiddenSegment(2, SNAPSHOTS[0], SNAPSHOTS[1]),))
    both = HeldSeen((HiddenSeen(UNIT, SPEC), HiddenSeen(other, SPEC)), (), START)
    effects = node.tell(both)
    assert fetched(effects) == {SNAPSHOTS[2]}
    assert said(effects) == [ShowSnapshots(TASK, 4, 1, 0)]
    node.tell(BlobFetched(SNAPSHOTS[2], False))
    assert fetched(node.tell(both, after_ms=30_000)) == set()
    assert fetched(node.tell(both, after_ms=31_000)) == {SNAPSHOTS[2]}


def test_a_judge_recomputes_every_segment_as_its_trainer_had_to_and_says_what_it_found() -> None:
    node = Node(payout=False, validator=True)
    assert fetched(node.tell(shown())) == NEEDED
    node = Node(payout=False, validator=True, have=tuple(NEEDED))
    (job,) = jobs(node.tell(shown()))
    assert job == AuditJob(
        job.job, SPEC, Unit(TASK, 3, 1, 0, OTHER, blob("seed")), BASE, 1, None, SNAPSHOTS[0], 0, calibrate=False
    )
    effects = node.tell(Reported(Audited(job.job, Finding.MEASURED, 7, 32, 1, bytes(64))))
    assert said(effects) == [AuditVerdict(*PLACE, 1, Finding.MEASURED, 7, bytes(64))]
    (other,) = jobs(effects)
    assert isinstance(other, AuditJob)
    assert (other.segment, other.before, other.after) == (3, SNAPSHOTS[1], SNAPSHOTS[2])
    assert said(node.tell(shown(Verdict(OWN, 1, Finding.MEASURED, 7)), after_ms=4_000)) == []


def test_a_judge_says_unavailable_late_and_only_of_what_nobody_has() -> None:
    node = Node(payout=False, validator=True, have=(*DATA, *SNAPSHOTS[:2]))
    node.tell(shown())
    node.tell(BlobFetched(SNAPSHOTS[2], False))
    assert said(node.tell(shown())) == []
    node.now = DEADLINE - 2_000
    assert said(node.tell(shown())) == [AuditVerdict(*PLACE, 3, Finding.UNAVAILABLE, 0, b"")]


def test_a_judge_whose_fetch_outlasts_the_time_says_unavailable_and_is_not_silent() -> None:
    """Or work of a task with short deadlines could be hidden for nothing: silence holds nobody's stake."""
    node = Node(payout=False, validator=True, have=(*DATA, *SNAPSHOTS[:2]))
    assert fetched(node.tell(shown())) == {SNAPSHOTS[2]}
    lasting = 2 * SPEC.deadlines.dispute_ms
    node.now = DEADLINE - lasting // 4
    assert said(node.tell(shown())) == []
    assert said(node.tell(shown(), after_ms=1)) == [AuditVerdict(*PLACE, 3, Finding.UNAVAILABLE, 0, b"")]
    restarted = Node(payout=False, validator=True, have=(*DATA, *SNAPSHOTS[:2]))
    restarted.now = DEADLINE - lasting // 4 + 1
    assert said(restarted.tell(shown())) == [], "it has only just asked"


def test_who_does_not_judge_looks_at_nothing_and_a_job_ends_with_what_is_shown() -> None:
    assert jobs(Node(have=tuple(NEEDED)).tell(shown())) == []
    node = Node(payout=False, validator=True, have=tuple(NEEDED))
    (job,) = jobs(node.tell(shown()))
    over = node.tell(HeldSeen((), (), START))
    assert [effect.job for effect in over] == [job.job]  # type: ignore[union-attr]
