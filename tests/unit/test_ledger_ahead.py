"""A round that trains while the one before is audited: when it opens, what it stands on, and when it is void."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base.bounded import MILLION
from potminer.core import trie
from potminer.core.ledger import event
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.progress import round_of
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft, State
from potminer.wire.codec import encode
from potminer.wire.record import Outcome, Phase, RoundRecord, Standing, Trainer, task_key, trainer_key
from potminer.wire.task import AuditSpec, Deadlines, Evaluation, Reward, TaskSpec
from potminer.wire.tx import AggregateResult, Bond, CancelTask, JoinTask, LeaveTask, RegisterTrainer, Transfer, Unbond
from tests.unit.ledger_world import World, blob, key, spec

PRICE = 1_000_003
NEED = 10 * 2 * PRICE
NAMES = ("ann", "ben", "cy")


def overlapping(**changes: object) -> TaskSpec:
    audit = AuditSpec(MILLION, 1_000, overlap=True)
    return spec(**{"rounds": 6, "audit": audit, "reward": Reward(10**9, PRICE), **changes})


def at_audit(task: TaskSpec | None = None, *, bonded: tuple[str, ...] = NAMES, **how: object) -> World:
    """Audits of the first round are drawn; *bonded* trainers have exactly the bond that they need."""
    world = World(**how)  # type: ignore[arg-type]
    world.step(*[("rich", Transfer(key(name).public, NEED + 10_000)) for name in bonded])
    world.step(*[(name, RegisterTrainer(key(name + "-wallet").public)) for name in bonded])
    assert set(world.step(*[(name, Bond(NEED)) for name in bonded])) <= {None}
    world.submit(task or overlapping())
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    return world


def early(world: World, *, model: bytes = blob("early"), malformed: tuple[int, ...] = ()) -> AggregateResult:
    current = world.round
    return AggregateResult(world.task, current.number, current.attempt, model, malformed, early=True)


def attest_early(world: World, count: int = 2, **how: object) -> None:
    said = early(world, **how)  # type: ignore[arg-type]
    assert set(world.step(*[(each, said) for each in world.validators[:count]])) == {None}


def ahead(world: World) -> RoundRecord | None:
    return round_of(Draft(world.state), world.task, world.record.round + 1)


def test_the_next_round_trains_on_what_was_attested_and_goes_on_when_nothing_was_refused() -> None:
    world = at_audit()
    attest_early(world, 1)
    assert ahead(world) is None, "one of four may lie"
    world.step((world.validators[1], early(world)))
    second = ahead(world)
    assert second is not None
    assert (second.number, second.attempt, second.base, second.phase) == (1, 0, blob("early"), Phase.COMMIT)
    world.ahead = 1
    world.commit_all()
    world.reveal_all()
    for _ in range(4):
        world.step()
    assert world.round.phase == Phase.DRAW, "its audits are drawn when the first is decided"
    assert len(world.round.witnesses) == 4
    world.ahead = 0
    world.audit_all()
    assert world.record.round == 1
    assert world.record.model == blob("early"), "closed with what was attested: nobody aggregates again"
    assert (world.round.number, world.round.base) == (1, blob("early"))
    assert 0 <= world.round.draws_at - world.state.head.height < 4, "enough have witnessed: chance picks the block"
    world.until(Phase.AUDIT)
    (closed,) = world.happened(event.RoundClosed)
    assert (closed.accepted, closed.pot) == (6, 6 * PRICE)
    assert not world.happened(event.RoundFailed)
    world.audit_all()
    world.attest()
    assert world.record.round == 2


def test_where_a_unit_is_refused_the_round_ahead_is_void_and_comes_again_on_the_true_model() -> None:
    world = at_audit()
    attest_early(world)
    world.ahead = 1
    world.commit_all()
    world.ahead = 0
    cheat = world.name_of(world.round.slots[2])
    escrow = world.record.escrow
    world.audit_all(bad=(2,))
    assert world.round.phase == Phase.DISPUTE
    assert ahead(world) is not None
    world.judge(2, 900_000)
    assert ahead(world) is None
    (failed,) = world.happened(event.RoundFailed)
    assert (failed.round, failed.attempt, failed.reason) == (1, 0, "a unit of the round before was refused")
    assert (world.round.phase, world.round.attestations) == (Phase.AGGREGATE, ())
    assert world.record.escrow >= escrow, "no money moved for the round that is void"
    late = early(world)
    assert world.step((world.validators[2], late)) == [Refusal.LATE], "it counts what was refused"
    world.attest(model=blob("true"))
    assert (world.record.round, world.record.attempt, world.record.voided) == (1, 1, 0)
    assert (world.round.number, world.round.attempt, world.round.base) == (1, 1, blob("true"))
    assert all(world.unit(slot).commitment is None for slot in range(len(world.round.slots)))
    outcomes = {name: [u.judgement.outcome for u in world.happened(event.UnitEnded) if u.trainer == key(name).public]
                for name in NAMES}  # fmt: skip
    assert Outcome.OUT_OF_TOLERANCE in outcomes[cheat]
    assert all(set(outcomes[name]) == {Outcome.ACCEPTED} for name in NAMES if name != cheat)
    paid = {share.earner for each in world.happened(event.Rewarded) for share in each.shares}
    assert key(cheat).public not in paid
    assert {key(name).public for name in NAMES if name != cheat} <= paid


def test_who_had_it_done_again_is_not_trusted_for_a_while() -> None:
    """A trainer that only does not open loses nothing but its unit: it must not void everybody's work twice."""
    world = at_audit(escrow_rounds=2)
    attest_early(world)
    assert ahead(world) is not None
    idle = world.name_of(world.round.slots[0])
    world.audit_all(unopened=tuple(s for s, t in enumerate(world.round.slots) if t == key(idle).public))
    world.pass_deadline()
    assert ahead(world) is None
    doubted = {world.name_of(m.trainer): m.doubted for m in world.record.members}
    assert doubted == {**dict.fromkeys(NAMES, 0), idle: 3}
    world.attest()
    assert {m.standing for m in world.record.members if m.trainer == key(idle).public} == {Standing.INACTIVE}


def test_no_round_opens_ahead_of_one_that_a_doubted_trainer_works_in() -> None:
    for until, opens in ((0, True), (1, False)):
        world = at_audit()
        ben = key("ben").public
        members = tuple(replace(m, doubted=until) if m.trainer == ben else m for m in world.record.members)
        changed = (task_key(world.task), encode(replace(world.record, members=members)))
        world.state = State(world.chain, world.state.parameters, trie.update(world.state.tree, [changed]))
        attest_early(world, 4)
        assert (ahead(world) is not None) == opens


def test_newcomers_and_units_that_calibrate_make_it_wait() -> None:
    for world in (at_audit(bonded=("ann", "ben")), at_audit(calibrated=False)):
        attest_early(world, 4)
        assert ahead(world) is None
        assert not Ledger(world.state, head=world.head).waits(world.state.head.time_ms)


def test_only_tasks_that_ask_for_it_overlap_and_only_while_audits_go_on() -> None:
    world = at_audit(spec())
    assert world.step((world.validators[0], early(world))) == [Refusal.WRONG_PHASE]
    world = at_audit()
    final = replace(early(world), early=False)
    said = world.step((world.validators[0], final), ("ann", early(world)))
    assert said == [Refusal.WRONG_PHASE, Refusal.NOT_VALIDATOR]
    attest_early(world, malformed=(1,))
    assert ahead(world) is None, "somebody's update is none"


def test_a_failed_round_takes_what_was_begun_on_it_with_it() -> None:
    world = at_audit(overlapping(deadlines=Deadlines(10**6, 10_000, 10_000, 10_000, 10_000)))
    attest_early(world)
    world.audit_all(silent=tuple(range(6)))
    world.pass_deadline()
    while world.record.attempt == 0:
        world.pass_deadline()
    reasons = [(each.round, each.reason) for each in world.happened(event.RoundFailed)]
    assert reasons == [(0, "no unit was accepted"), (1, "the round before failed")]
    assert (world.record.round, world.record.attempt, world.record.voided) == (0, 1, 1)


def test_a_late_round_ahead_is_opened_again_beside_the_first() -> None:
    world = at_audit(overlapping(deadlines=Deadlines(4_000, 4_000, 60_000, 10_000, 10_000)))
    attest_early(world)
    world.ahead = 1
    world.pass_deadline()
    world.ahead = 0
    (failed,) = world.happened(event.RoundFailed)
    assert (failed.round, failed.reason) == (1, "no unit was committed in time")
    assert ahead(world) is None, "all were late, and nobody is left"
    assert world.round.phase == Phase.AUDIT
    assert world.step(*[(name, JoinTask(world.task)) for name in NAMES]) == [None] * 3
    again = ahead(world)
    assert again is not None
    assert (again.number, again.attempt, again.base) == (1, 1, blob("early"))


def test_what_may_end_the_task_is_decided_first() -> None:
    target = overlapping(evaluation=Evaluation(1, 3, 900_000))
    last = overlapping(rounds=1)
    for task in (target, last):
        world = at_audit(task)
        attest_early(world, 4)
        assert ahead(world) is None


def test_the_escrow_pays_for_both_rounds_and_the_evaluation_between() -> None:
    reward = Reward(18 * PRICE + 10**6, PRICE)
    task = overlapping(rounds=3, min_trainers=2, evaluation=Evaluation(1, 3), reward=reward)
    world = at_audit(task)
    attest_early(world)
    second = ahead(world)
    assert second is not None
    reserved = 6 * PRICE + 3 * (PRICE // 10)
    assert len(second.slots) <= (world.record.escrow - reserved) // PRICE
    world.audit_all()
    assert world.record.round == 1
    assert world.record.escrow >= len(world.round.slots) * PRICE


def test_cancelled_it_ends_after_the_rounds_in_progress() -> None:
    world = at_audit()
    attest_early(world)
    world.step(("requester", CancelTask(world.task)))
    world.audit_all()
    assert (world.record.round, world.round.number) == (1, 1)
    world.commit_all()
    world.reveal_all()
    world.audit_all()
    world.attest()
    assert world.task not in world.state.head.open_tasks
    assert [each.reason for each in world.happened(event.TaskEnded)] == ["cancelled"]


def test_a_bond_stays_while_the_first_is_judged_and_the_second_asks_again_when_it_is_drawn() -> None:
    world = at_audit(overlapping(deadlines=Deadlines(10_000, 10_000, 60_000, 10_000, 10_000)))
    attest_early(world)
    assert {world.unit(slot).stake for slot in range(6)} == {NEED}
    world.ahead = 1
    world.commit_all()
    world.reveal_all()
    leaver = world.name_of(world.round.slots[0])
    assert world.step((leaver, LeaveTask(world.task)), (leaver, Unbond(NEED))) == [None, None]
    world.step(after_ms=6_000)
    held = world.state.need(Trainer, trainer_key(key(leaver).public))
    assert (held.bond, held.unbonding) == (0, NEED), "the unbonding time is over, the first round's verdicts are not"
    world.ahead = 0
    world.audit_all()
    world.until(Phase.AUDIT)
    at_stake = {world.unit(slot).stake for slot, t in enumerate(world.round.slots) if t == key(leaver).public}
    assert max(at_stake) < 3 * PRICE, "what the task owes for the first, and no bond any more"
