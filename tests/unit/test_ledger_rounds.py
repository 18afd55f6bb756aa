"""Rounds on the ledger: what opens, what moves on, who is refused with which reason, who is paid."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from potminer.core.ledger import event
from potminer.core.ledger.refusal import Refusal
from potminer.wire import record as records
from potminer.wire.record import Outcome, Phase, Standing, TaskStatus, Trainer
from potminer.wire.tx import Finding, JoinTask
from tests.unit.ledger_world import World, blob, key, spec


def outcomes(world: World) -> dict[int, Outcome]:
    return {ended.slot: ended.judgement.outcome for ended in world.happened(event.UnitEnded)}


def test_a_whole_task_is_trained_paid_and_refunded() -> None:
    world = World()
    world.submit()
    assert len(world.round.slots) == 6
    for _ in range(3):
        world.whole_round()
    assert world.record.status == TaskStatus.CLOSED
    assert world.record.model == blob("theta", 3)
    closed = world.happened(event.RoundClosed)
    assert [c.accepted for c in closed] == [6, 6, 6]
    pot = 6 * 1_000_003
    rewarded = world.happened(event.Rewarded)
    assert all(sum(share.amount for share in r.shares) == pot for r in rewarded)
    paid = sum(share.amount for p in world.happened(event.Paid) for share in p.shares)
    assert paid == 3 * pot
    assert world.happened(event.TaskEnded)[0].refunded == 10**9 - 3 * pot
    for name in ("ann", "ben", "cy"):
        bond = world.state.need(Trainer, records.trainer_key(key(name).public)).bond
        assert bond > 2 * 800_000, "what was paid while the task was open is kept: it is less than the task needs"
        assert world.balance(name + "-wallet") > 2 * 2 * 800_000, "what was paid at its end is not"
        assert world.balance(name) == 0, "earnings go to the payout account, not to the hot key"


def test_nothing_is_audited_before_others_have_stirred_the_beacon() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    assert world.round.phase == Phase.DRAW
    world.step()
    assert world.round.phase == Phase.DRAW, "one proposer is not a weak quorum of four"
    world.step()
    assert world.round.phase == Phase.AUDIT
    everything = {(slot, segment) for slot in range(6) for segment in range(1, 5)}
    assert {(a.slot, a.segment) for a in world.round.audits} == everything, "who has nothing to lose is audited whole"
    assert all(a.auditor != world.round.slots[a.slot] for a in world.round.audits)


def test_audit_pairs_do_not_repeat_while_another_auditor_exists() -> None:
    world = World()
    world.submit(spec(rounds=6, units_per_trainer=1))
    pairs = []
    for _ in range(6):
        world.commit_all()
        world.reveal_all()
        world.until(Phase.AUDIT)
        pairs.append({world.round.slots[a.slot]: a.auditor for a in world.round.audits})
        world.audit_all()
        world.attest()
    for before, after in pairwise(pairs):
        assert all(before[trainer] != after[trainer] for trainer in after)


def test_work_that_the_committee_finds_bad_is_unpaid_and_its_author_expelled() -> None:
    world = World()
    world.submit()
    world.whole_round()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    cheat = world.round.slots[0]
    slots = tuple(s for s, t in enumerate(world.round.slots) if t == cheat)
    world.audit_all(bad=slots)
    assert world.round.phase == Phase.DISPUTE
    for slot in slots:
        world.judge(slot, 900_000)
    assert world.round.phase == Phase.AGGREGATE
    world.attest()
    ended = {e.slot: e for e in world.happened(event.UnitEnded) if e.round == 1}
    for slot in slots:
        assert ended[slot].judgement.outcome == Outcome.OUT_OF_TOLERANCE
        assert (ended[slot].judgement.measured_ppm, ended[slot].judgement.allowed_ppm) == (900_000, 1_000)
        assert ended[slot].paid == 0
    assert world.happened(event.Expelled)[0].forfeited > 0, "the reward of round 0 is forfeited too"
    world.whole_round()
    name = world.name_of(cheat)
    assert world.record.status == TaskStatus.CLOSED
    assert world.balance(name + "-wallet") == 0
    assert world.step((name, JoinTask(world.task))) == [Refusal.TASK_NOT_OPEN]


def test_an_auditor_who_accuses_honest_work_is_expelled_and_the_work_is_paid() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    accuser = next(a.auditor for a in world.round.audits if a.slot == 0)
    world.audit_all(bad=(0,))
    world.judge(0, 4)
    world.attest()
    assert outcomes(world)[0] == Outcome.ACCEPTED
    assert [e.trainer for e in world.happened(event.Expelled)] == [accuser]
    shares = world.happened(event.Rewarded)[0].shares
    assert accuser not in {share.earner for share in shares}


def test_without_a_quorum_of_judges_nobody_is_punished_and_the_unit_is_unpaid() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.audit_all(bad=(0,))
    world.judge(0, 900_000, judges=2)
    assert world.round.phase == Phase.DISPUTE
    world.step(after_ms=10_001)
    assert world.round.phase == Phase.AGGREGATE
    world.attest()
    assert outcomes(world)[0] == Outcome.UNAVAILABLE
    assert world.happened(event.Expelled) == []


def test_an_absent_auditor_passes_its_unit_to_the_committee_and_loses_only_the_next_round() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    absent = next(a.auditor for a in world.round.audits if a.slot == 1)
    world.audit_all(silent=(1,))
    world.pass_deadline()
    assert world.round.phase == Phase.DISPUTE
    world.judge(1, 7)
    world.attest()
    assert outcomes(world)[1] == Outcome.ACCEPTED
    standing = {m.trainer: m.standing for m in world.record.members}
    assert standing[absent] == Standing.INACTIVE
    assert world.happened(event.Expelled) == []


def test_late_and_unrevealed_units_have_their_reasons_and_the_round_goes_on() -> None:
    world = World()
    world.submit()
    world.commit_all(but=(0,))
    assert world.round.phase == Phase.COMMIT
    late = world.name_of(world.round.slots[0])
    body = world.commit_of(0)
    assert world.step((late, body), after_ms=10_001) == [Refusal.LATE], "the deadline is block time"
    world.reveal_all(but=(0, 5))
    world.step(after_ms=10_001)
    world.audit_all()
    world.attest()
    assert outcomes(world) | {0: Outcome.LATE, 5: Outcome.NOT_REVEALED} == outcomes(world)
    assert world.happened(event.RoundClosed)[0].accepted == 4
    assert world.happened(event.Expelled) == [], "lateness is never punished"


def test_a_copied_update_is_a_duplicate_and_its_author_expelled() -> None:
    world = World()
    world.submit()
    stolen = world.reveal_of(0).snapshots
    world.whole_round()
    copy_slot = 0
    reveal = world.reveal_of(copy_slot, snapshots=stolen)
    bodies = []
    for slot, trainer in enumerate(world.round.slots):
        bodies.append((world.name_of(trainer), world.commit_of(slot, reveal if slot == copy_slot else None)))
    copycat = world.name_of(world.round.slots[copy_slot])
    world.step(*bodies)
    assert world.step((copycat, reveal)) == [None]
    assert world.unit(copy_slot).judgement.outcome == Outcome.DUPLICATE  # type: ignore[union-attr]
    assert [e.reason for e in world.happened(event.Expelled)] == ["duplicate"]


def test_a_commit_from_another_base_is_refused_unpaid_and_unpunished() -> None:
    world = World()
    world.submit()
    trainer = world.name_of(world.round.slots[2])
    assert world.step((trainer, world.commit_of(2, base=blob("old")))) == [None]
    world.commit_all(but=(2,))
    world.reveal_all(but=(2,))
    world.audit_all()
    world.attest()
    assert outcomes(world)[2] == Outcome.WRONG_BASE
    assert world.happened(event.Expelled) == []


def test_a_reveal_must_open_its_commitment() -> None:
    world = World()
    world.submit()
    world.commit_all()
    trainer = world.name_of(world.round.slots[0])
    honest = world.reveal_of(0)
    other = replace(honest, loss_micro=honest.loss_micro + 1)
    assert world.step((trainer, other)) == [Refusal.COMMITMENT_MISMATCH]
    stranger = next(n for n in ("ann", "ben", "cy") if n != trainer)
    assert world.step((stranger, honest)) == [Refusal.NOT_ASSIGNED]
    assert world.step((trainer, honest)) == [None]
    assert world.step((trainer, honest)) == [Refusal.ALREADY_DONE]


def test_a_model_needs_a_weak_quorum_of_equal_attestations() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    world.attest(1, model=blob("forged"))
    assert world.round.phase == Phase.AGGREGATE
    world.attest(3)
    assert world.record.model == blob("theta", 1)


def test_a_round_without_an_attested_model_is_opened_again_with_another_seed() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    before, escrow = world.round, world.record.escrow
    world.step(after_ms=10_001)
    world.step()
    assert (world.round.number, world.round.attempt, world.round.phase) == (0, 1, Phase.COMMIT)
    assert world.round.seed != before.seed
    assert world.record.escrow == escrow
    world.whole_round()
    assert world.record.round == 1


def test_a_malformed_update_is_left_out_unpaid() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    world.attest(malformed=(3,))
    assert outcomes(world)[3] == Outcome.MALFORMED
    assert world.happened(event.RoundClosed)[0].pot == 5 * 1_000_003


def test_a_single_trainer_is_judged_by_the_committee() -> None:
    world = World()
    world.submit(spec(min_trainers=1, units_per_trainer=1), trainers=("ann",))
    world.commit_all()
    world.reveal_all()
    world.until(Phase.DISPUTE)
    world.judge(0, 2)
    world.attest()
    assert outcomes(world)[0] == Outcome.ACCEPTED


def test_judges_who_cannot_fetch_leave_the_unit_unavailable() -> None:
    world = World()
    world.submit()
    world.commit_all()
    world.reveal_all()
    world.audit_all(bad=(0,))
    world.judge(0, 0, finding=Finding.UNAVAILABLE)
    world.attest()
    assert outcomes(world)[0] == Outcome.UNAVAILABLE


def test_a_task_whose_budget_is_spent_ends_and_pays() -> None:
    world = World()
    price = 1_000_003
    task = spec(rounds=3, min_trainers=2, units_per_trainer=1)
    task = spec(rounds=3, min_trainers=2, units_per_trainer=1, reward=type(task.reward)(6 * price, price))
    world.submit(task)
    world.whole_round()
    world.whole_round()
    assert world.record.status == TaskStatus.CLOSED
    assert world.happened(event.TaskEnded)[0].reason == "budget spent"
    assert sum(s.amount for p in world.happened(event.Paid) for s in p.shares) == 6 * price
    assert key("ann").public != key("ben").public
