"""Who may stop a task? Trainers, auditors and a few validators may slow it down; it still comes to its end."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.ledger import event
from potminer.wire.record import Outcome, Phase, Standing, TaskStatus
from potminer.wire.tx import AggregateResult, Finding, JoinTask, RegisterTrainer
from tests.unit.ledger_world import World, blob, key, spec

SPEC = spec(min_trainers=1, units_per_trainer=1)


def slots_of(world: World, name: str) -> tuple[int, ...]:
    return tuple(slot for slot, trainer in enumerate(world.round.slots) if trainer == key(name).public)


def come_back(world: World, name: str) -> None:
    standing = {m.trainer: m.standing for m in world.record.members}
    if world.record.status == TaskStatus.OPEN and standing[key(name).public] == Standing.INACTIVE:
        world.step((name, JoinTask(world.task)))


def test_whoever_is_late_every_round_only_slows_the_task() -> None:
    world = World()
    world.submit(SPEC, trainers=("ann", "ben"))
    while world.record.status == TaskStatus.OPEN:
        late = slots_of(world, "ben")
        world.commit_all(but=late)
        if late:
            world.step(after_ms=10_001)
            come_back(world, "ben")
        world.reveal_all(but=late)
        world.until(Phase.DISPUTE)
        world.judge(slots_of(world, "ann")[0], 3)
        world.attest()
    assert world.record.round == 3
    assert len(world.blocks) < 50
    assert not world.happened(event.RoundFailed)
    assert {e.trainer for e in world.happened(event.UnitEnded) if e.paid} == {key("ann").public}


def test_a_validator_that_lies_every_time_does_not_split_the_support_of_the_others() -> None:
    world = World()
    world.submit()
    for number in range(3):
        world.commit_all()
        world.reveal_all()
        world.audit_all()
        lie = AggregateResult(world.task, number, 0, blob("theta", number + 1), (number, number + 1))
        world.step((world.validators[3], lie))
        assert world.round.phase == Phase.AGGREGATE
        world.attest()
    assert world.record.status == TaskStatus.CLOSED
    assert all(e.judgement.outcome == Outcome.ACCEPTED for e in world.happened(event.UnitEnded))
    liar = key(world.validators[3]).public
    assert liar not in {share.earner for r in world.happened(event.Rewarded) for share in r.shares}


def test_a_validator_that_never_proposes_does_not_hold_up_a_draw() -> None:
    """It shows no preimage; others do in its turns."""
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    silent = world.validators[1]
    world.absent.add(key(silent).public)
    world.until(Phase.AUDIT)
    assert key(silent).public not in world.round.witnesses


def test_one_proposer_alone_never_draws() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.absent = {key(name).public for name in world.validators[1:]}
    for _ in range(20):
        world.step()
    assert world.round.phase == Phase.DRAW


def test_auditors_who_never_answer_send_the_work_to_the_committee() -> None:
    world = World()
    world.submit(spec(rounds=1))
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    world.pass_deadline()
    assert world.round.phase == Phase.DISPUTE
    for slot in range(6):
        world.judge(slot, 3)
    world.attest()
    assert world.record.status == TaskStatus.CLOSED
    assert world.happened(event.RoundClosed)[0].accepted == 6
    earners = {share.earner for r in world.happened(event.Rewarded) for share in r.shares}
    assert earners == {key(n).public for n in ("ann", "ben", "cy", "validator-0", "validator-1")}


def test_who_shows_its_update_to_its_auditor_alone_is_left_out_and_out() -> None:
    """Honest validators could not fetch slot 0: they leave it out, and its author must join again."""
    world = World()
    world.submit()
    hidden = world.round.slots[0]
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    world.attest(malformed=(0,))
    assert world.record.round == 1
    assert hidden not in world.round.slots


def test_judges_who_say_nothing_end_the_dispute_by_its_deadline() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.audit_all(bad=(0,))
    for validator in world.validators[:2]:
        world.step((validator, world.verdict_of(0, 0, Finding.UNAVAILABLE)))
    world.step(after_ms=10_001)
    assert world.round.phase == Phase.AGGREGATE
    assert world.happened(event.Expelled) == []


def test_places_of_those_who_never_work_are_free_for_others() -> None:
    """A crowd fills the task and never commits: whoever works gets in as soon as the first deadline has passed."""
    world = World()
    world.submit(replace(SPEC, max_trainers=2), trainers=("ben", "cy"))
    world.step(("ann", RegisterTrainer(key("ann-wallet").public)))
    world.step(after_ms=10_001)
    assert world.happened(event.RoundFailed)
    assert world.step(*[(name, JoinTask(world.task)) for name in ("ann", "ben", "cy")])[0] is None
    assert slots_of(world, "ann")
