"""What a node does about hidden work: it shows its own by itself, and looks at what others show."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from potminer.core.rounds.events import (
    BlobFetched,
    DutyChanged,
    Effect,
    HeldSeen,
    HiddenSeen,
    Remade,
    Reported,
    ShownSeen,
)
from potminer.wire.held import HiddenSegment, HiddenUnit
from potminer.wire.task import Unit
from potminer.wire.trainer import Audited, AuditJob, Failed, TrainJob
from potminer.wire.tx import AuditVerdict, Finding, ShowSnapshots
from potminer.wire.verdict import Verdict
from tests.unit.ledger_world import blob
from tests.unit.rounds_node import (
    BASE,
    DATA,
    OTHER,
    OWN,
    SNAPSHOTS,
    SPEC,
    START,
    TASK,
    Node,
    cancelled,
    fetched,
    jobs,
    said,
    trained,
)

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


# ---- what is lost ------------------------------------------------------------------------


def lost(*, duty: bool = True, have: tuple[bytes, ...] = DATA) -> Node:
    """Nobody has the snapshots of UNIT, and it was told so."""
    node = Node(have=have)
    node.tell(DutyChanged(duty))
    node.tell(own())
    for shot in SNAPSHOTS[:2]:
        assert jobs(node.tell(BlobFetched(shot, False))) == [], "somebody may have the rest"
    return node


def last_is_gone(node: Node) -> list[Effect]:
    return node.tell(BlobFetched(SNAPSHOTS[2], False))


def test_what_nobody_has_is_trained_again_as_it_was_and_shown() -> None:
    node = lost()
    (job,) = jobs(last_is_gone(node))
    assert job == TrainJob(job.job, SPEC, Unit(TASK, 3, 1, 0, OWN, blob("seed")), BASE)
    assert jobs(node.tell(own(), after_ms=5_000)) == [], "once at a time"
    effects = node.tell(trained(job))
    assert Remade(3, True) in effects
    assert said(effects) == [ShowSnapshots(*PLACE)]


def test_what_is_made_again_and_is_something_else_is_not_made_a_third_time_but_after_a_restart() -> None:
    node = lost()
    (job,) = jobs(last_is_gone(node))
    effects = node.tell(trained(job, (*SNAPSHOTS[:2], blob("rounded otherwise"), SNAPSHOTS[3])))
    assert Remade(3, False) in effects
    assert said(effects) == []
    for _ in range(3):
        effects = node.tell(own(), after_ms=60_000)
        assert (jobs(effects), said(effects)) == ([], [])
        last_is_gone(node)
    assert jobs(last_is_gone(lost())) != []


def test_it_is_work_like_any_other_only_with_duty_and_where_all_it_needs_is_here() -> None:
    idle = lost(duty=False)
    assert jobs(last_is_gone(idle)) == []
    (job,) = jobs(idle.tell(DutyChanged(True)))
    assert cancelled(idle.tell(DutyChanged(False))) == [job.job]
    for missing in DATA:
        node = lost(have=tuple(each for each in DATA if each != missing))
        assert jobs(last_is_gone(node)) == []
        assert len(jobs(node.tell(BlobFetched(missing, True)))) == 1


@pytest.mark.parametrize(("reason", "tried_again"), [("child-died", True), ("stopped", True), ("diverged", False)])
def test_an_attempt_that_fails_by_chance_is_repeated_after_a_rest(reason: str, tried_again: bool) -> None:
    node = lost()
    (job,) = jobs(last_is_gone(node))
    assert jobs(node.tell(Reported(Failed(job.job, reason, "")))) == []
    assert bool(jobs(node.tell(own(), after_ms=5_000))) == tried_again


def test_it_ends_with_what_is_held_and_what_is_found_elsewhere_meanwhile_is_shown() -> None:
    node = lost()
    (job,) = jobs(last_is_gone(node))
    assert cancelled(node.tell(HeldSeen())) == [job.job]
    node = lost()
    (job,) = jobs(last_is_gone(node))
    for shot in SNAPSHOTS[:3]:
        node.tell(BlobFetched(shot, True))
    effects = node.tell(own(), after_ms=60_000)
    assert cancelled(effects) == [job.job]
    assert said(effects) == [ShowSnapshots(*PLACE)]


def test_while_another_unit_is_shown_it_gets_ready_and_says_nothing() -> None:
    node = lost()
    (job,) = jobs(last_is_gone(node))
    assert cancelled(node.tell(dataclasses.replace(own(), showing=True))) == []
    assert said(node.tell(trained(job))) == []
    assert said(node.tell(own(), after_ms=1)) == [ShowSnapshots(*PLACE)]


def test_after_a_showing_that_failed_it_looks_again_at_what_it_took_to_be_here() -> None:
    """A file that the power left behind broken is only found out when a judge asks for a piece of it."""
    node = Node(have=tuple(NEEDED))
    node.tell(DutyChanged(True))
    assert said(node.tell(own())) == [ShowSnapshots(*PLACE)]
    failed = own(replace(UNIT, tries=1))
    assert fetched(node.tell(failed, after_ms=30_000)) == NEEDED
    for each in (*DATA, *SNAPSHOTS[:2]):
        assert said(node.tell(BlobFetched(each, True))) == []
    (job,) = jobs(node.tell(BlobFetched(SNAPSHOTS[2], False)))
    assert said(node.tell(trained(job))) == [ShowSnapshots(*PLACE)]
    assert fetched(node.tell(failed, after_ms=1)) == set(), "once a try"


# ---- judges ------------------------------------------------------------------------------


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
