"""A stake waits until hidden work was shown: what is held, when it returns, what is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.core.ledger import event
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.stake import pending_of
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.held import HeldStake
from potminer.wire.record import Outcome, Phase, Standing, TaskRecord, TaskStatus, Trainer, UnitRecord
from potminer.wire.task import AuditSpec, Deadlines, Reward, TaskSpec
from potminer.wire.tx import (
    AuditVerdict,
    Bond,
    CancelTask,
    Finding,
    JoinTask,
    ShowSnapshots,
    SubmitTask,
    Transfer,
    Unbond,
)
from tests.unit.ledger_world import World, key, spec

BOND = 3 * 10**7
PRICE = 1_000_003
SPEC = spec(reward=Reward(10**9, PRICE), rounds=6, audit=AuditSpec(1_000_000, 1_000))
GONE = Finding.UNAVAILABLE


def held(world: World, name: str = "ann") -> HeldStake | None:
    return world.state.get(HeldStake, records.held_key(key(name).public))


def trainer(world: World, name: str = "ann") -> Trainer:
    return world.state.need(Trainer, records.trainer_key(key(name).public))


def slot_of(world: World, name: str = "ann") -> int:
    return world.round.slots.index(key(name).public)


def at_audit(*, second: int = 0, bond: int = BOND, escrow_rounds: int = 2) -> World:
    """The audits of a second round are drawn: everybody has pending pay, ann a bond too."""
    world = World(second_audit_ppm=second, escrow_rounds=escrow_rounds)
    world.submit(SPEC)
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    for slot in range(len(world.round.slots)) if second else ():
        world.judge(slot, 3)
    world.attest()
    if bond:
        world.step(("rich", Transfer(key("ann").public, bond + 100)))
        world.step(("ann", Bond(bond)))
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    return world


def disputed(world: World, name: str = "ann", *, passed: bool = False) -> World:
    """Everybody audits, and what is audited of *name* is doubted: its auditors cannot fetch it."""
    mine = {slot for slot, owner in enumerate(world.round.slots) if owner == key(name).public}
    for audit in world.round.audits:
        assert audit.auditor is not None
        gone = audit.slot in mine and not passed
        said = world.verdict_of(audit.slot, 0 if gone else 3, GONE if gone else Finding.MEASURED, segment=audit.segment)
        assert world.step((world.name_of(audit.auditor), said)) == [None]
    world.open_all()
    assert world.round.phase == Phase.DISPUTE
    return world


def say(world: World, slot: int, *findings: tuple[int, Finding]) -> None:
    """Of every disputed segment of *slot* one validator after the other."""
    segments = dict.fromkeys(a.segment for a in world.round.audits if a.slot == slot and a.disputed)
    world.step(*[
        (validator, world.verdict_of(slot, ppm, finding, segment=segment))
        for segment in segments
        for validator, (ppm, finding) in zip(world.validators, findings, strict=False)
    ])  # fmt: skip


def hides(world: World, *findings: tuple[int, Finding]) -> World:
    """Judges find *findings* of ann's first unit, and everything else good; the round is settled."""
    mine = slot_of(world)
    for slot in {a.slot for a in world.round.audits if a.disputed} - {mine}:
        world.judge(slot, 3)
    say(world, mine, *findings)
    if world.round.phase == Phase.DISPUTE:
        world.pass_deadline()
    return world


ALL_GONE = ((0, GONE),) * 4


def hidden_world(**how: int) -> World:
    return hides(disputed(at_audit(**how)), *ALL_GONE)


def place(world: World) -> tuple[bytes, int, int, int]:
    found = held(world)
    assert found is not None
    unit = found.units[0]
    return unit.task, unit.round, unit.attempt, unit.slot


def look(world: World, ppm: int, finding: Finding = Finding.MEASURED, *, judges: int = 4) -> list[Refusal | None]:
    """The committee's word on everything that ann shows."""
    found = held(world)
    assert found is not None
    assert found.showing is not None
    unit, sketch = found.units[found.showing.index], bytes(64) if finding == Finding.MEASURED else b""
    return world.step(*[
        (validator, AuditVerdict(*place(world), part.segment, finding, ppm, sketch))
        for part in unit.segments
        for validator in world.validators[:judges]
    ])  # fmt: skip


# ---- what is held ------------------------------------------------------------------------


def test_the_stake_of_who_shows_nobody_its_work_is_held_whole_and_nothing_is_burnt() -> None:
    world = disputed(at_audit())
    stake = world.unit(slot_of(world)).stake
    assert stake > BOND
    hides(world, *ALL_GONE)
    found, owner = held(world), trainer(world)
    assert found is not None
    assert found.amount == stake == sum(e.amount for e in world.happened(event.StakeHeld))
    assert (owner.bond, owner.unbonding, owner.expelled, world.state.head.burnt) == (0, 0, False, 0)
    assert world.unit(slot_of(world)).judgement.outcome == Outcome.UNAVAILABLE  # type: ignore[union-attr]
    assert [m.standing for m in world.record.members if m.trainer == key("ann").public] == [Standing.INACTIVE]


def test_the_pay_of_the_round_is_held_too_for_a_proven_cheat_would_not_have_it() -> None:
    world = hidden_world()
    before = held(world)
    world.attest()
    closed, rewarded = world.happened(event.RoundClosed)[-1], world.happened(event.Rewarded)[-1]
    after = held(world)
    assert before is not None
    assert after is not None
    assert after.amount - before.amount == closed.pot - sum(share.amount for share in rewarded.shares) > 0
    assert key("ann").public not in {share.earner for share in rewarded.shares}
    assert [e.amount for e in world.happened(event.PayHeld)] == [after.amount - before.amount]


def test_what_is_on_its_way_out_is_held_with_the_rest_and_never_released() -> None:
    world = at_audit(bond=BOND)
    assert world.step(("ann", Unbond(BOND - 20 * PRICE))) == [None]
    hides(disputed(world), *ALL_GONE)
    assert world.state.head.releases == ()
    for _ in range(3):
        world.step(after_ms=60_000)
    found = held(world)
    assert found is not None
    assert found.amount >= BOND


@pytest.mark.parametrize(
    ("findings", "is_held"),
    [
        (((0, GONE),) * 2, True),  # more than a third: one of them is honest
        (((0, GONE), (900_000, Finding.MEASURED)), True),  # shown to one, who saw it false
        (((0, GONE), (0, Finding.MALFORMED), (3, Finding.MEASURED), (900_000, Finding.MEASURED)), True),
        (((0, GONE), (0, Finding.MALFORMED), (3, Finding.MEASURED), (3, Finding.MEASURED)), False),  # one is honest
        (((0, GONE),), False),  # one of four may lie
        ((), False),  # silence says nothing: who cannot compute is silent
        (((3, Finding.MEASURED), (3, Finding.MEASURED), (0, GONE)), False),
        (((3, Finding.MEASURED),) * 3, False),
    ],
)
def test_it_is_held_where_an_honest_judge_could_not_look_and_no_quorum_did(
    findings: tuple[tuple[int, Finding], ...], is_held: bool
) -> None:
    world = hides(disputed(at_audit()), *findings)
    assert (held(world) is not None) == is_held
    assert world.unit(slot_of(world)).judgement is not None
    assert not trainer(world).expelled


def test_who_hides_from_the_second_look_is_paid_by_the_first_and_its_stake_is_held_with_the_pay() -> None:
    world = hides(disputed(at_audit(second=1_000_000), passed=True), (0, GONE), (0, GONE))
    assert world.unit(slot_of(world)).judgement.outcome == Outcome.ACCEPTED  # type: ignore[union-attr]
    before = held(world)
    assert before is not None
    world.attest()
    after = held(world)
    assert after is not None
    assert after.amount > before.amount > BOND


def test_a_newcomer_has_nothing_to_hold_and_a_calibrating_unit_holds_nothing() -> None:
    for calibrated in (True, False):
        world = World(calibrated=calibrated)
        world.submit(SPEC)
        if not calibrated:
            world.step(("rich", Transfer(key("ann").public, BOND + 100)))
            world.step(("ann", Bond(BOND)))
        world.commit_all()
        world.reveal_all()
        world.until(Phase.AUDIT)
        hides(disputed(world), *ALL_GONE)
        assert held(world) is None


def test_who_goes_on_meanwhile_is_a_newcomer_and_audited_whole() -> None:
    world = hidden_world()
    world.attest()
    assert world.step(("ann", JoinTask(world.task))) == [None]
    for slot in range(len(world.round.slots)):  # the round that opened without it
        assert world.round.slots[slot] != key("ann").public
    world.whole_round()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    mine = slot_of(world)
    assert world.unit(mine).stake == 0
    assert {audit.segment for audit in world.round.audits if audit.slot == mine} == {1, 2, 3, 4}


def test_other_rounds_that_were_drawn_on_the_stake_are_held_with_it() -> None:
    """One bond answers for all tasks, so a catch has to end all gains that were drawn on it."""
    world = at_audit()
    first = world.task
    found = world.state.need(UnitRecord, records.unit_key(first, 1, slot_of(world)))
    assert found.stake > BOND
    hides(disputed(world), *ALL_GONE)
    record = held(world)
    assert record is not None
    assert [(each.task, each.round) for each in record.rounds] == [(first, 1)]


def three_tasks() -> tuple[World, bytes, bytes, bytes]:
    """Ann has a bond, and pending pay in three tasks. In the first she hides; in the second the audits of a round are
    drawn by then, in the third they are not."""
    world = World()
    patient = replace(SPEC, deadlines=Deadlines(*(10**6,) * 5))
    world.submit(patient)
    hides_in, drawn, undrawn = world.task, *(_ordered(world, replace(patient, name=n)) for n in ("drawn", "undrawn"))
    for world.task in (undrawn, drawn, hides_in):
        world.whole_round()
    world.step(("rich", Transfer(key("ann").public, BOND + 10)))
    world.step(("ann", Bond(BOND)))
    for world.task in (undrawn, drawn, hides_in):
        world.commit_all()
        if world.task != undrawn:
            world.reveal_all()
            world.until(Phase.AUDIT)
    return world, hides_in, drawn, undrawn


def _ordered(world: World, task: TaskSpec) -> bytes:
    before = world.state.head.open_tasks
    world.step(("requester", SubmitTask(task)))
    (made,) = set(world.state.head.open_tasks) - set(before)
    assert set(world.step(*[(name, JoinTask(made)) for name in ("ann", "ben", "cy")])) == {None}
    return made


def test_over_several_tasks_it_holds_what_all_owe_and_what_rounds_pay_that_were_drawn_on_it() -> None:
    """One bond answers for all tasks, so a catch has to end every gain that was drawn on it, and no other."""
    world, hides_in, drawn, undrawn = three_tasks()
    owed = [pending_of(Draft(world.state), t, world.state.need(TaskRecord, records.task_key(t)))[key("ann").public]
            for t in (hides_in, drawn, undrawn)]  # fmt: skip
    assert min(owed) > 0
    world.task = hides_in
    hides(disputed(world), *ALL_GONE)
    before = held(world)
    assert before is not None
    assert before.amount == BOND + sum(owed)
    assert {(each.task, each.round) for each in before.rounds} == {(hides_in, 1), (drawn, 1)}

    world.task = drawn
    world.audit_all()
    world.attest()
    (kept,) = world.happened(event.PayHeld)
    assert (kept.task, kept.trainer) == (drawn, key("ann").public)
    assert kept.amount > 2 * PRICE * 0.8, "both units' pay at least"
    after = held(world)
    assert after is not None
    assert after.amount == before.amount + kept.amount

    world.task = undrawn
    world.reveal_all()
    world.until(Phase.AUDIT)
    mine = slot_of(world)
    assert world.unit(mine).stake == 0, "drawn as a newcomer's"
    assert len([audit for audit in world.round.audits if audit.slot == mine]) == SPEC.segments
    world.audit_all()
    world.attest()
    assert len(world.happened(event.PayHeld)) == 1
    rewarded = world.happened(event.Rewarded)[-1]
    assert rewarded.task == undrawn
    assert key("ann").public in {share.earner for share in rewarded.shares}
    assert held(world) == after

    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 3)
    assert held(world) is None
    assert trainer(world).bond == after.amount


def test_over_several_tasks_a_cheat_that_shows_loses_all_of_it() -> None:
    world, hides_in, drawn, undrawn = three_tasks()
    world.task = hides_in
    hides(disputed(world), *ALL_GONE)
    world.task = drawn
    world.audit_all()
    world.attest()
    amount, burnt = held(world).amount, world.state.head.burnt  # type: ignore[union-attr]
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 900_000)
    assert world.state.head.burnt - burnt == amount
    for task in (hides_in, drawn, undrawn):
        record = world.state.need(TaskRecord, records.task_key(task))
        assert [m.standing for m in record.members if m.trainer == key("ann").public] == [Standing.EXPELLED]


# ---- showing -----------------------------------------------------------------------------


def test_what_is_hidden_is_looked_at_by_its_tasks_order_so_no_task_is_ever_forgotten() -> None:
    world = hidden_world()
    world.attest()
    for _ in range(4):
        world.whole_round()
    assert world.record.status == TaskStatus.CLOSED
    for _ in range(5):
        world.step(after_ms=10**7)
    assert world.record.spec == SPEC
    with pytest.raises(AssertionError, match="outlives"):
        Draft(world.state).put(records.task_key(world.task), None)
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 3)
    assert held(world) is None


def test_shown_it_returns_to_the_grain_and_the_unit_stays_unpaid() -> None:
    world = hidden_world()
    world.attest()
    amount = held(world).amount  # type: ignore[union-attr]
    assert world.step(("ann", ShowSnapshots(*place(world)))) == [None]
    assert world.state.head.showing == (key("ann").public,)
    assert set(look(world, 3, judges=3)) == {None}
    assert held(world) is None
    assert trainer(world).bond == amount
    assert world.state.head.showing == ()
    assert [e.amount for e in world.happened(event.StakeReturned)] == [amount]
    assert world.state.head.burnt == 0


def test_shown_after_the_task_has_ended_it_returns_as_well() -> None:
    world = hidden_world()
    world.attest()
    assert world.step(("requester", CancelTask(world.task))) == [None]
    for _ in range(3):
        world.step(after_ms=11_000)
    assert world.record.status == TaskStatus.CANCELLED
    amount = held(world).amount  # type: ignore[union-attr]
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 3)
    assert trainer(world).bond == amount


def test_a_cheat_that_shows_is_expelled_and_all_is_burnt() -> None:
    world = hidden_world()
    world.attest()
    amount = held(world).amount  # type: ignore[union-attr]
    spot = place(world)
    world.step(("ann", ShowSnapshots(*spot)))
    look(world, 900_000, judges=3)
    assert held(world) is None
    assert trainer(world).expelled
    assert world.state.head.burnt == amount
    assert world.state.head.showing == ()
    assert world.step(("ann", ShowSnapshots(*spot))) == [Refusal.NOT_HELD]


def test_what_proves_nothing_is_done_with_as_it_would_have_been_in_the_dispute() -> None:
    """Between the tolerance and a proof a unit is unpaid and nobody punished: hidden first it is no worse."""
    world = hidden_world()
    amount = held(world).amount  # type: ignore[union-attr]
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 2_000)
    assert trainer(world).bond == amount
    assert not trainer(world).expelled


@pytest.mark.parametrize("how", ["silence", "nobody has it", "divided"])
def test_without_a_quorum_nothing_changes_and_it_may_be_tried_again_after_a_pause(how: str) -> None:
    world = hidden_world()
    amount = held(world).amount  # type: ignore[union-attr]
    for tries in (1, 2):
        assert world.step(("ann", ShowSnapshots(*place(world)))) == [None]
        found = held(world)
        assert found is not None
        assert found.showing is not None
        lasting = 10_000 * len(found.units[0].segments)
        assert found.showing.deadline_ms == world.state.head.time_ms + lasting
        if how == "divided":
            look(world, 3, judges=1)
        if how == "nobody has it":
            look(world, 0, GONE)
        else:
            world.step(after_ms=lasting + 1)
        found = held(world)
        assert found is not None
        assert (found.amount, found.showing, found.units[0].tries) == (amount, None, tries)
        pause = found.units[0].again_ms - world.state.head.time_ms
        assert pause == lasting * 2 ** (tries - 1)
        assert world.step(("ann", ShowSnapshots(*place(world)))) == [Refusal.TOO_SOON]
        world.step(after_ms=pause)
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 3)
    assert trainer(world).bond == amount


def test_all_that_was_hidden_has_to_be_shown_before_a_grain_returns() -> None:
    """Or one honest unit, hidden first, would take the bond out of the way of a false one."""
    world = disputed(at_audit())
    mine = [slot for slot, owner in enumerate(world.round.slots) if owner == key("ann").public]
    for slot in mine:
        say(world, slot, *ALL_GONE)
    found = held(world)
    assert found is not None
    assert len(found.units) == 2
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 3)
    after = held(world)
    assert after is not None
    assert (len(after.units), after.amount) == (1, found.amount)
    assert trainer(world).bond == 0
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 3)
    assert held(world) is None
    assert trainer(world).bond == found.amount


def test_a_cheat_proven_elsewhere_loses_what_is_held_as_well() -> None:
    world = disputed(at_audit())
    mine = [slot for slot, owner in enumerate(world.round.slots) if owner == key("ann").public]
    say(world, mine[0], *ALL_GONE)
    amount = held(world).amount  # type: ignore[union-attr]
    say(world, mine[1], *((900_000, Finding.MEASURED),) * 4)
    assert trainer(world).expelled
    assert held(world) is None
    assert world.state.head.burnt == amount


# ---- refusals ----------------------------------------------------------------------------


def test_each_refusal_of_a_showing() -> None:
    world = hidden_world()
    spot = place(world)
    assert world.step(("ben", ShowSnapshots(*spot))) == [Refusal.NOT_HELD]
    assert world.step(("ann", ShowSnapshots(spot[0], spot[1] + 1, *spot[2:]))) == [Refusal.NOT_HELD]
    assert world.step(("ann", ShowSnapshots(*spot))) == [None]
    assert world.step(("ann", ShowSnapshots(*spot))) == [Refusal.ALREADY_DONE]


def test_each_refusal_of_a_judge() -> None:
    world = hidden_world()
    spot, segment = place(world), held(world).units[0].segments[0].segment  # type: ignore[union-attr]
    good = AuditVerdict(*spot, segment, Finding.MEASURED, 3, bytes(64))
    other = next(s for s in range(1, 5) if all(s != p.segment for p in held(world).units[0].segments))  # type: ignore[union-attr]
    judge = world.validators[0]
    world.step(("ann", ShowSnapshots(*spot)))
    bare = AuditVerdict(*spot, segment, Finding.MEASURED, 3, b"")
    assert world.step((judge, bare)) == [Refusal.WRONG_SKETCH]
    assert world.step((judge, AuditVerdict(*spot, other, Finding.MEASURED, 3, bytes(64)))) == [Refusal.NOT_AUDITOR]
    assert world.step(("ben", good)) == [Refusal.NOT_VALIDATOR]
    assert world.step((judge, good)) == [None]
    assert world.step((judge, good)) == [Refusal.ALREADY_DONE]
    deadline = held(world).showing.deadline_ms  # type: ignore[union-attr]
    late = world.step((world.validators[1], good), after_ms=deadline - world.state.head.time_ms + 1)
    assert late == [Refusal.LATE]
