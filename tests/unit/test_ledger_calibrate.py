"""Calibration: the tolerance that a task's first round earns, what liars can do about it, and device classes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from potminer.core.ledger import event
from potminer.core.ledger.calibrate import is_calibrating, proves_a_cheat
from potminer.core.ledger.ending import ending
from potminer.wire import record as records
from potminer.wire.record import Audit, Calibration, Outcome, Phase, SeenDevice, Standing, TaskStatus, UnitRecord
from potminer.wire.task import AuditSpec, TaskSpec
from potminer.wire.tx import AuditVerdict, Body, Finding, JoinTask
from tests.unit.ledger_world import CALIBRATION, World, key, spec
from tests.unit.test_ledger_tasks import rewrite

FOUR = ("ann", "ben", "cy", "dee")
Measure = Callable[[str, str, int], tuple[int, int]]
"""(who measures, whose unit, segment) -> (error ppm, smallest cheat ppm)."""


def honest(judge: str, trainer: str, segment: int) -> tuple[int, int]:
    return 0, 40_000


def fresh(task: TaskSpec | None = None, trainers: tuple[str, ...] = FOUR) -> World:
    """A world whose task has not been calibrated, at its first COMMIT."""
    world = World(calibrated=False)
    world.submit(task or spec(units_per_trainer=1), trainers)
    return world


def to_audit(world: World, device_of: Callable[[str], str] = lambda name: "cpu-x86-64-avx2") -> World:
    bodies: list[tuple[str, Body]] = []
    for slot, owner in enumerate(world.round.slots):
        name = world.name_of(owner)
        bodies.append((name, replace(world.commit_of(slot), device=device_of(name))))
    assert set(world.step(*bodies)) == {None}
    world.reveal_all()
    world.until(Phase.AUDIT)
    return world


def said(world: World, audit: Audit, numbers: tuple[int, int]) -> AuditVerdict:
    sketch = world.sketch_of(audit.slot, audit.segment, audit.leaf)
    return AuditVerdict(*world.place(audit.slot), audit.segment, Finding.MEASURED, numbers[0], sketch, numbers[1])


def to_phase(world: World) -> World:
    world.until(Phase.AUDIT)
    return world


def audit(world: World, measure: Measure = honest) -> None:
    bodies: list[tuple[str, Body]] = []
    for each in world.round.audits:
        if each.auditor is not None:
            judge, trainer = world.name_of(each.auditor), world.name_of(world.round.slots[each.slot])
            bodies.append((judge, said(world, each, measure(judge, trainer, each.segment))))
    assert set(world.step(*bodies)) == {None}
    if world.round.phase == Phase.OPEN:
        world.open_all()


def judge(world: World, measure: Measure) -> None:
    """The committee on all that is disputed."""
    assert world.round.phase == Phase.DISPUTE
    disputed = {(a.slot, a.segment): a for a in reversed(world.round.audits) if a.disputed}
    bodies: list[tuple[str, Body]] = []
    for each in disputed.values():
        trainer = world.name_of(world.round.slots[each.slot])
        bodies += [(v, said(world, each, measure(v, trainer, each.segment))) for v in world.validators]
    world.step(*bodies)


def calibration(world: World) -> Calibration:
    found = world.record.calibration
    assert found is not None
    return found


LAZY = ("ann", "ben", "cy")


def test_auditors_that_do_not_recompute_say_nothing_about_noise_or_cheats_even_where_they_are_most() -> None:
    world = to_audit(fresh())
    bodies: list[tuple[str, Body]] = []
    for each in world.round.audits:
        assert each.auditor is not None
        name = world.name_of(each.auditor)
        verdict = said(world, each, (0, 30) if name in LAZY else (0, 40_000))
        bodies.append((name, replace(verdict, sketch=Random(name).randbytes(64)) if name in LAZY else verdict))
    assert set(world.step(*bodies)) == {None}
    world.open_all()
    judge(world, lambda judge_, trainer, segment: (2, 41_000))
    world.attest()
    found = calibration(world)
    assert (found.tolerance_ppm, found.cheat_ppm, found.refused) == (20, 41_000, False)
    assert world.happened(event.Expelled) == []
    earners = {share.earner for rewarded in world.happened(event.Rewarded) for share in rewarded.shares}
    assert earners >= {key(name).public for name in FOUR}, "for their units, not for their audits"


# ---- honest people -----------------------------------------------------------------------


def test_a_first_round_is_measured_whole_and_one_segment_of_each_unit_by_three() -> None:
    world = to_audit(fresh())
    for slot, owner in enumerate(world.round.slots):
        mine = [a for a in world.round.audits if a.slot == slot]
        by_segment = [[a.auditor for a in mine if a.segment == segment] for segment in range(1, 5)]
        assert sorted(map(len, by_segment)) == [1, 1, 1, 3]
        assert all(owner not in auditors and len(set(auditors)) == len(auditors) for auditors in by_segment)
        assert world.unit(slot).calibrating
        assert world.unit(slot).allowed_ppm == 1_000, "the requester's cap"


def test_silent_machines_get_the_least_tolerance_and_it_is_what_later_rounds_use() -> None:
    world = to_audit(fresh())
    audit(world)
    world.attest()
    assert calibration(world) == Calibration(10, 0, 40_000, (SeenDevice("cpu-x86-64-avx2", 0),))
    assert [e.calibration for e in world.happened(event.TaskCalibrated)] == [calibration(world)]
    to_audit(world)
    assert not any(world.unit(slot).calibrating for slot in range(4))
    assert {world.unit(slot).allowed_ppm for slot in range(4)} == {10}
    audit(world, lambda j, t, s: (11 if t == "ann" else 0, 0))
    judge(world, lambda j, t, s: (11, 0))
    world.attest()
    ended = next(e for e in world.happened(event.UnitEnded) if e.round == 1 and e.trainer == key("ann").public)
    assert (ended.judgement.outcome, ended.judgement.measured_ppm) == (Outcome.OUT_OF_TOLERANCE, 11)
    assert ended.judgement.allowed_ppm == 10
    assert world.happened(event.Expelled) == [], "a tenth of the smallest cheat or less is unpaid, not punished"


@pytest.mark.parametrize(("noise", "tolerance"), [(1, 10), (7, 70), (80, 800), (169, 1_000)])
def test_the_tolerance_is_ten_times_the_honest_noise_up_to_the_requesters_cap(noise: int, tolerance: int) -> None:
    world = to_audit(fresh())
    audit(world, lambda j, t, s: (noise, 40_000))
    assert (calibration(world).noise_ppm, calibration(world).tolerance_ppm) == (noise, tolerance)
    assert not calibration(world).refused


def test_a_cheat_is_expelled_once_the_task_is_calibrated_and_before_that_unpaid() -> None:
    world = to_audit(fresh())
    lazy: Measure = lambda j, t, s: (700_000 if t == "ann" else 0, 40_000)  # noqa: E731
    audit(world, lazy)
    judge(world, lazy)
    world.attest()
    assert world.happened(event.Expelled) == []
    standing = {world.name_of(m.trainer): m.standing for m in world.record.members}
    assert standing["ann"] == Standing.INACTIVE, "it does not keep the place"
    assert calibration(world).tolerance_ppm == 10
    first = {world.name_of(e.trainer): e.paid for e in world.happened(event.UnitEnded)}
    assert first["ann"] == 0 < first["ben"]
    world.step(("ann", JoinTask(world.task)))
    world.commit_all()
    world.reveal_all()
    audit(to_phase(world), honest)
    world.attest()
    to_audit(world)
    audit(world, lazy)
    judge(world, lazy)
    assert [e.trainer for e in world.happened(event.Expelled)] == [key("ann").public]


# ---- too near ----------------------------------------------------------------------------


def test_a_chaotic_model_is_refused_paid_for_and_refunded() -> None:
    """Machines of one kind agree to the bit, two kinds are further apart than a cheat: ResNet-20 from fresh weights."""
    kind = {"ann": 0, "ben": 0, "cy": 1, "dee": 1, "validator-0": 0, "validator-1": 0, "validator-2": 1,
            "validator-3": 1}

    def measure(judge: str, trainer: str, segment: int) -> tuple[int, int]:
        return (74_885 if segment == 1 and kind[judge] != kind[trainer] else 1), 39_000

    world = to_audit(fresh(), lambda name: ("cpu-x86-64-avx512", "cpu-x86-64-avx2")[kind[name]])
    escrow = world.record.escrow
    audit(world, measure)
    judge(world, measure)
    assert calibration(world).refused
    world.attest()
    world.step()
    assert world.record.status == TaskStatus.CLOSED
    (ended,) = world.happened(event.TaskEnded)
    assert ended.reason == "calibration: honest noise 74885 ppm too near the smallest cheat 39000 ppm"
    accepted = sum(e.judgement.outcome == Outcome.ACCEPTED for e in world.happened(event.UnitEnded))
    assert ended.refunded == escrow - accepted * 1_000_003
    assert world.happened(event.Expelled) == []


def test_one_machine_at_odds_with_others_leaves_the_task_uncalibrated_and_in_training() -> None:
    """Also where somebody makes it look so, the task goes on: everything is audited until a round is clear."""
    def measure(judge: str, trainer: str, segment: int) -> tuple[int, int]:
        odd = trainer == "ann" and segment == 1 and judge not in ("validator-0", "validator-1")
        return (74_885 if odd else 1), 39_000

    world = to_audit(fresh())
    audit(world, measure)
    judge(world, measure)
    world.attest()
    assert (world.record.round, world.record.calibration) == (1, None)
    to_audit(world)
    audit(world)
    assert calibration(world).tolerance_ppm == 10


def test_noise_within_a_factor_of_ten_times_ten_of_the_smallest_cheat_is_refused_and_the_work_is_paid() -> None:
    world = to_audit(fresh(spec(units_per_trainer=1, audit=AuditSpec(100_000, 20_000))))
    assert ending(world.state, world.task) == ""
    audit(world, lambda j, t, s: (401, 40_000))
    assert calibration(world).refused
    reason = "calibration: honest noise 401 ppm too near the smallest cheat 40000 ppm"
    assert ending(world.state, world.task) == reason, "said while the round goes on: it is the last"
    world.attest()
    world.step()
    assert (world.record.status, ending(world.state, world.task)) == (TaskStatus.CLOSED, reason)
    (ended,) = world.happened(event.TaskEnded)
    assert ended.reason == "calibration: honest noise 401 ppm too near the smallest cheat 40000 ppm"
    assert sum(share.amount for paid in world.happened(event.Paid) for share in paid.shares) == 4 * 1_000_003


def test_a_hundredth_of_the_smallest_cheat_is_not_too_near() -> None:
    world = to_audit(fresh(spec(units_per_trainer=1, audit=AuditSpec(100_000, 20_000))))
    audit(world, lambda j, t, s: (400, 40_000))
    assert (calibration(world).refused, calibration(world).tolerance_ppm) == (False, 4_000)


# ---- liars -------------------------------------------------------------------------------


def test_one_who_makes_noise_on_purpose_ends_no_task_and_gets_no_more_than_the_cap() -> None:
    for cap in (1_000, 20_000):
        world = to_audit(fresh(spec(units_per_trainer=1, audit=AuditSpec(100_000, cap))))
        audit(world, lambda j, t, s, cap=cap: (cap if t == "ann" else 2, 40_000))  # type: ignore[misc]
        found = calibration(world)
        assert not found.refused
        assert found.tolerance_ppm <= min(cap, 40_000 // 10)


def test_one_auditor_bends_neither_the_noise_nor_the_smallest_cheat() -> None:
    for lie in ((0, 1), (0, 10**9), (999, 1), (999, 10**9)):
        world = to_audit(fresh())
        audit(world, lambda j, t, s, lie=lie: lie if j == "ann" else (3, 40_000))  # type: ignore[misc]
        assert (calibration(world).tolerance_ppm, calibration(world).cheat_ppm) == (30, 40_000)


def test_a_crowd_in_the_first_round_cannot_see_to_it_that_nothing_ever_proves_a_cheat() -> None:
    """Keys are free: all who measure may be one person, and call the smallest cheat enormous."""
    world = to_audit(fresh())
    audit(world, lambda j, t, s: (0, 2**40))
    assert calibration(world).cheat_ppm == 10**6
    world.attest()
    unit = UnitRecord(key("ann").public)
    assert proves_a_cheat(world.record, unit, 10**5 + 1), "a tenth of the whole change at the latest"


def test_a_false_unit_in_the_first_round_does_not_say_what_the_smallest_cheat_measures() -> None:
    """In a state of the cheat's own making leaving something out may show hardly anything: that must not end a task."""
    world = to_audit(fresh())
    audit(world, lambda j, t, s: (900_000 if s == 1 else 3, 20) if t == "ann" else (3, 40_000))
    judge(world, lambda j, t, s: (900_000, 20) if (t, s) == ("ann", 1) else (3, 40_000))
    found = calibration(world)
    assert (found.cheat_ppm, found.refused) == (40_000, False)


def test_an_auditor_who_calls_good_work_noisy_meets_the_committee_and_is_not_expelled_for_a_number() -> None:
    world = to_audit(fresh())
    audit(world, lambda j, t, s: (50_000 if j == "ann" else 0, 40_000))
    judge(world, honest)
    assert calibration(world).tolerance_ppm == 10
    assert {e.judgement.outcome for e in world.happened(event.UnitEnded)} <= {Outcome.ACCEPTED}
    assert world.happened(event.Expelled) == []


def test_two_lying_validators_of_seven_do_not_make_a_task_look_chaotic() -> None:
    world = World(validators=7, calibrated=False)
    world.submit(spec(units_per_trainer=1), FOUR)
    to_audit(world)
    audit(world, lambda j, t, s: (50_000 if j == "ann" else 0, 40_000))
    judge(world, lambda j, t, s: (90_000 if j in ("validator-1", "validator-2") else 0, 40_000))
    assert not calibration(world).refused


def test_a_crowd_of_false_work_in_the_first_round_ends_no_task() -> None:
    """All honest machines agree that it is false: that is no noise. The next attempt calibrates."""
    world = to_audit(fresh())
    false: Measure = lambda j, t, s: (700_000, 40_000)  # noqa: E731
    audit(world, false)
    judge(world, false)
    assert world.record.status == TaskStatus.OPEN
    assert world.record.calibration is None
    assert world.happened(event.RoundFailed)[0].reason == "no unit was accepted"
    assert {m.standing for m in world.record.members} == {Standing.INACTIVE}


def test_where_nobody_says_what_a_cheat_measures_the_next_round_calibrates() -> None:
    world = to_audit(fresh())
    audit(world, lambda j, t, s: (0, 0))
    world.attest()
    assert world.record.calibration is None
    to_audit(world)
    audit(world)
    assert calibration(world).cheat_ppm == 40_000


def test_two_alone_are_measured_by_the_committee_as_well() -> None:
    world = to_audit(fresh(trainers=("ann", "ben")))
    audit(world, lambda j, t, s: (0, 10**9 if j == "ann" else 40_000))
    judge(world, honest)
    assert calibration(world).cheat_ppm == 40_000


# ---- device classes ----------------------------------------------------------------------


def calibrated() -> World:
    world = World()
    world.submit(spec(units_per_trainer=1), FOUR)
    return world


def test_a_new_class_is_measured_first_and_widens_the_tolerance_for_its_honest_noise() -> None:
    world = to_audit(fresh(), lambda name: "cpu")
    audit(world)
    world.attest()
    assert calibration(world).tolerance_ppm == 10
    to_audit(world, lambda name: "cuda-8.6" if name == "dee" else "cpu")
    new = world.round.slots.index(key("dee").public)
    assert [world.unit(slot).calibrating for slot in range(4)] == [slot == new for slot in range(4)]
    assert {a.segment for a in world.round.audits if a.slot == new} == {1, 2, 3, 4}
    audit(world, lambda j, t, s: (22 if t == "dee" else 0, 40_000))
    assert calibration(world).devices[1] == SeenDevice("cuda-8.6", 22)
    assert calibration(world).tolerance_ppm == 220


def test_an_invented_class_escapes_expulsion_once_and_gains_nothing() -> None:
    world = calibrated()
    to_audit(world, lambda name: "toaster" if name == "ann" else "")
    lazy: Measure = lambda j, t, s: (700_000 if t == "ann" else 0, 40_000)  # noqa: E731
    audit(world, lazy)
    judge(world, lazy)
    assert world.happened(event.Expelled) == []
    world.attest()
    assert next(e.paid for e in world.happened(event.UnitEnded) if e.trainer == key("ann").public) == 0
    assert calibration(world).devices[-1] == SeenDevice("toaster", None)
    assert calibration(world).tolerance_ppm == CALIBRATION.tolerance_ppm
    assert not is_calibrating(world.record, "toaster"), "the second time it counts"


def test_classes_come_to_an_end() -> None:
    world = calibrated()
    known = tuple(SeenDevice(f"toaster-{number}", None) for number in range(16))
    full = replace(world.record, calibration=replace(CALIBRATION, devices=known))
    assert not is_calibrating(full, "toaster-17")
    assert is_calibrating(replace(full, calibration=replace(CALIBRATION, devices=known[1:])), "toaster-17")


def test_an_invented_class_widens_the_tolerance_by_no_more_than_cap_and_a_tenth_of_the_smallest_cheat() -> None:
    for cheat in (5_000, 10**6):
        world = calibrated()
        found = replace(CALIBRATION, tolerance_ppm=10, cheat_ppm=cheat)
        rewrite(world, records.task_key(world.task), replace(world.record, calibration=found))
        to_audit(world, lambda name: "toaster" if name == "ann" else "")
        audit(world, lambda j, t, s: (1_000 if t == "ann" else 0, 40_000))
        assert calibration(world).tolerance_ppm == min(1_000, cheat // 10)


def test_a_segment_that_nobody_can_audit_is_given_to_the_committee_once() -> None:
    """Not once for each auditor that there is not: every further time would lengthen the dispute."""
    world = fresh(spec(units_per_trainer=1, min_trainers=1), ("ann",))
    world.commit_all()
    world.reveal_all()
    world.until(Phase.DISPUTE)
    assert [(a.segment, a.auditor, a.disputed) for a in world.round.audits] == [(s, None, True) for s in (1, 2, 3, 4)]
    assert world.round.deadline_ms - world.state.head.time_ms == 4 * world.record.spec.deadlines.dispute_ms
