"""Money and tasks on the ledger: bonds, joining and leaving, copies, what is left out, and bounds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.base import limits
from potminer.core.ledger import event
from potminer.core.ledger.apply import InvalidBlock, apply_block
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import State
from potminer.wire import record as records
from potminer.wire.codec import decode, encode
from potminer.wire.genesis import Parameters
from potminer.wire.record import (
    Account,
    Member,
    Outcome,
    Phase,
    RoundRecord,
    Standing,
    TaskStatus,
    Trainer,
)
from potminer.wire.task import Reward
from potminer.wire.tx import (
    Body,
    Bond,
    CancelTask,
    Finding,
    JoinTask,
    LeaveTask,
    RegisterTrainer,
    SubmitTask,
    Transfer,
    Unbond,
)
from tests.unit.ledger_stages import attestation, auditor, copied, full_registry, owner, signed, stage
from tests.unit.ledger_world import RICH, World, blob, key, spec

# ---- money -------------------------------------------------------------------------------


def trainer(world: World, name: str) -> Trainer:
    return world.state.need(Trainer, records.trainer_key(key(name).public))


def test_a_transfer_to_oneself_makes_no_money() -> None:
    world = World()
    world.step(("rich", Transfer(key("rich").public, RICH - 10)))
    assert world.balance("rich") == RICH - 10


def test_the_fee_goes_to_the_proposer() -> None:
    world = World()
    world.step(("rich", Transfer(key("x").public, 5)), ("rich", Transfer(key("x").public, RICH)))
    assert (world.balance("rich"), world.balance("x")) == (RICH - 25, 5)
    assert sum(world.balance(v) for v in world.validators) == 20


def test_a_bond_comes_back_to_the_payout_after_its_delay() -> None:
    world = World()
    world.step(("rich", RegisterTrainer(key("wallet").public)), ("rich", Bond(100)), ("rich", Unbond(60)))
    assert (trainer(world, "rich").bond, trainer(world, "rich").unbonding) == (40, 60)
    world.step(after_ms=4_999)
    assert world.balance("wallet") == 0
    world.step(after_ms=1)
    assert world.balance("wallet") == 60
    assert (trainer(world, "rich").bond, trainer(world, "rich").unbonding) == (40, 0)
    assert world.state.head.releases == ()


def test_a_payout_named_later_takes_what_comes_later() -> None:
    world = World()
    world.step(("rich", RegisterTrainer(key("old").public)), ("rich", Bond(100)), ("rich", Unbond(100)))
    world.step(("rich", RegisterTrainer(key("new").public)))
    assert world.state.head.trainers == 1
    world.step(after_ms=5_000)
    assert (world.balance("old"), world.balance("new")) == (0, 100)


def test_unbonding_does_not_save_a_cheat() -> None:
    """Drawn for an audit, it asks for its bond back before the verdict: everything is lost all the same."""
    world = World()
    world.submit()
    world.step(("rich", Transfer(key("ann").public, 10_000)))
    world.step(("ann", Bond(5_000)))
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    slots = tuple(s for s, t in enumerate(world.round.slots) if t == key("ann").public)
    assert world.step(("ann", Unbond(4_000))) == [Refusal.BOND_TOO_LOW]
    assert world.step(("ann", LeaveTask(world.task)), ("ann", Unbond(4_000)), after_ms=1) == [None, None]
    world.step(after_ms=5_001)
    assert world.balance("ann-wallet") == 0, "its delay is over, but its work is being judged"
    world.audit_all(bad=slots)
    for slot in slots:
        world.judge(slot, 900_000)
    found = world.happened(event.Expelled)
    assert sum(e.forfeited for e in found) == 5_000
    assert world.balance("ann-wallet") == 0
    assert (trainer(world, "ann").bond, trainer(world, "ann").unbonding) == (0, 0)
    assert world.state.head.releases == ()
    world.step(after_ms=10_000)


# ---- tasks -------------------------------------------------------------------------------


def test_a_cancelled_task_ends_after_its_round_pays_it_and_refunds_the_rest() -> None:
    world = World()
    world.submit()
    paid_for = 6 * 1_000_003
    world.step(("requester", CancelTask(world.task)))
    assert world.round.phase == Phase.COMMIT, "the round in progress is finished"
    before = world.balance("requester")
    world.whole_round()
    assert world.record.status == TaskStatus.CANCELLED
    assert world.record.escrow == 0
    assert world.task not in world.state.head.open_tasks
    assert world.balance("requester") == before + 10**9 - paid_for
    assert sum(s.amount for p in world.happened(event.Paid) for s in p.shares) == paid_for
    assert world.happened(event.TaskEnded)[0].reason == "cancelled"
    leftovers = {k[:1] for k, _ in world.state.items()} & {b"r", b"u", b"p", b"d"}
    assert not leftovers, "an ended task leaves its record and nothing else"


def test_a_task_nobody_joined_is_refunded_at_once() -> None:
    world = World()
    world.step(("requester", SubmitTask(spec())))
    task = world.state.head.open_tasks[0]
    world.step(("requester", CancelTask(task)))
    assert world.state.head.open_tasks == ()
    assert world.balance("requester") == RICH - 20


def test_who_left_is_not_assigned_and_may_come_back() -> None:
    world = World()
    world.submit(spec(units_per_trainer=1))
    world.step(("ann", LeaveTask(world.task)))
    world.whole_round()
    assert key("ann").public not in world.round.slots
    world.step(("ann", JoinTask(world.task)))
    world.whole_round()
    assert key("ann").public in world.round.slots


def test_the_late_come_back_by_joining_again() -> None:
    world = World()
    world.submit(spec(units_per_trainer=1))
    late = owner(world, 0)
    world.commit_all(but=(0,))
    world.step(after_ms=10_001)
    standing = {m.trainer: m.standing for m in world.record.members}
    assert standing[key(late).public] == Standing.INACTIVE
    world.step((late, LeaveTask(world.task)))
    world.step((late, JoinTask(world.task)))
    assert {m.standing for m in world.record.members} == {Standing.ACTIVE}


def test_trainers_who_left_or_missed_do_not_take_the_places_of_others() -> None:
    world = World()
    world.submit(spec(max_trainers=3))
    world.step(("dee", RegisterTrainer(key("dee-wallet").public)))
    world.step(("ann", LeaveTask(world.task)), ("dee", JoinTask(world.task)))
    assert {m.trainer for m in world.record.members if m.standing == Standing.ACTIVE} == {
        key(n).public for n in ("ben", "cy", "dee")
    }
    assert world.step(("ann", JoinTask(world.task))) == [Refusal.TOO_MANY], "the place is taken now"


def test_a_full_record_forgets_idle_members_but_nobody_at_work_or_expelled() -> None:
    world = World()
    world.submit(spec(max_trainers=4))
    world.step(("ann", LeaveTask(world.task)), ("dee", RegisterTrainer(key("dee-wallet").public)))
    count = limits.TRAINERS_PER_TASK - len(world.record.members)
    idle = tuple(Member(blob("idle", i), Standing.LEFT, None) for i in range(2))
    gone = tuple(Member(blob("bad", i), Standing.EXPELLED, None) for i in range(count - 2))
    rewrite(world, records.task_key(world.task), replace(world.record, members=(*world.record.members, *gone, *idle)))
    assert world.step(("dee", JoinTask(world.task))) == [None]
    members = {m.trainer for m in world.record.members}
    assert len(members) == limits.TRAINERS_PER_TASK
    assert key("ann").public in members, "she left, but her units are in the round"
    assert idle[0].trainer not in members
    assert {m.trainer for m in gone} < members


def rewrite(world: World, record_key: bytes, value: records.Record) -> None:
    """Put a record where only many blocks could."""
    from potminer.core import trie

    tree = trie.update(world.state.tree, [(record_key, encode(value))])
    world.state = State(world.chain, world.state.parameters, tree)


def test_a_task_may_pay_for_fewer_units_than_it_has_trainers() -> None:
    """The budget decides who works: nobody is assigned what could not be paid."""
    price = 1_000
    world = World()
    world.submit(spec(rounds=1, min_trainers=2, units_per_trainer=1, reward=Reward(2 * price, price)))
    assert len(world.round.slots) == 2
    world.whole_round()
    assert world.record.status == TaskStatus.CLOSED
    assert world.happened(event.TaskEnded)[0].refunded == 0


def test_a_price_of_one_grain_is_split_without_loss() -> None:
    world = World()
    world.submit(spec(rounds=1, reward=Reward(100, 1)))
    world.whole_round()
    rewarded = world.happened(event.Rewarded)[0]
    assert sum(s.amount for s in rewarded.shares) == 6
    assert all(s.amount >= 0 for s in rewarded.shares)


def test_the_same_spec_twice_is_two_tasks() -> None:
    world = World()
    world.step(("requester", SubmitTask(spec())), ("requester", SubmitTask(spec())))
    assert len(set(world.state.head.open_tasks)) == 2


# ---- one blob, two units -----------------------------------------------------------------


def test_a_trainer_that_repeats_its_own_update_is_expelled_even_where_the_round_then_fails() -> None:
    """Two units of one round share an update; nobody attests a model: the round is opened again."""
    world = World()
    world.submit(spec(min_trainers=1), trainers=("ann",))
    shared = tuple(blob("mine", i) for i in range(4))
    reveals = [world.reveal_of(slot, snapshots=shared) for slot in range(2)]
    world.step(*[("ann", world.commit_of(slot, reveals[slot])) for slot in range(2)])
    assert world.step(*[("ann", reveal) for reveal in reveals]) == [None, None]
    assert world.unit(1).judgement.outcome == Outcome.DUPLICATE  # type: ignore[union-attr]
    world.until(Phase.DISPUTE)
    world.judge(0, 3)
    assert world.round.phase == Phase.AGGREGATE
    world.step(after_ms=10_001)
    assert world.happened(event.RoundFailed)
    assert world.record.attempt == 1
    assert not [k for k, _ in world.state.items() if k[:1] in (b"u", b"d")]


def test_who_reveals_anothers_unit_first_does_not_make_its_author_a_copycat() -> None:
    """A unit can be recomputed by a rival before its author reveals it. Both are audited where the tag is."""
    world = World()
    world.submit()
    rival, author = 0, next(s for s in range(6) if world.round.slots[s] != world.round.slots[0])
    honest = world.reveal_of(author)
    stolen = world.reveal_of(rival, snapshots=(*world.reveal_of(rival).snapshots[:-1], honest.snapshots[-1]))
    world.step((owner(world, rival), world.commit_of(rival, stolen)))
    world.commit_all(but=(rival,))
    assert world.step((owner(world, rival), stolen)) == [None]
    world.reveal_all(but=(rival,))
    assert world.happened(event.Expelled) == []
    world.until(Phase.AUDIT)
    last = {a.slot: a for a in world.round.audits if a.segment == 4}
    assert {rival, author} <= set(last)
    bodies: list[tuple[str, Body]] = []
    for audit in world.round.audits:
        bad = Finding.MALFORMED if audit == last[rival] else Finding.MEASURED
        assert audit.auditor is not None
        said = world.verdict_of(audit.slot, 0, bad, segment=audit.segment)
        bodies.append((world.name_of(audit.auditor), said))
    world.step(*bodies)
    world.open_all()
    thief = world.round.slots[rival]
    world.judge(rival, 0, finding=Finding.MALFORMED)
    assert [(e.trainer, e.reason) for e in world.happened(event.Expelled)] == [(thief, Outcome.MALFORMED)]
    world.attest()
    ended = {e.slot: e for e in world.happened(event.UnitEnded)}
    assert (ended[author].judgement.outcome, ended[rival].judgement.outcome) == (Outcome.ACCEPTED, Outcome.MALFORMED)
    assert ended[author].paid > 0
    world.whole_round()
    world.whole_round()
    assert world.record.status == TaskStatus.CLOSED


def test_a_contested_update_is_audited_whatever_the_bond() -> None:
    world = World()
    world.submit()
    for name in ("ann", "ben", "cy"):
        world.step(("rich", Transfer(key(name).public, 4 * 10**9)))
        world.step((name, Bond(3 * 10**9)))
    rewrite(world, records.task_key(world.task), replace(world.record, spec=spec(audit=low_rate())))
    author = next(s for s in range(6) if world.round.slots[s] != world.round.slots[0])
    stolen = world.reveal_of(0, snapshots=world.reveal_of(author).snapshots)
    world.step((owner(world, 0), world.commit_of(0, stolen)))
    world.commit_all(but=(0,))
    world.step((owner(world, 0), stolen))
    world.reveal_all(but=(0,))
    world.until(Phase.AUDIT)
    assert {0, author} <= {a.slot for a in world.round.audits}


def low_rate() -> object:
    return type(spec().audit)(30_000, 1_000)


def test_who_was_expelled_audits_nobody() -> None:
    world = copied()
    thief = world.round.slots[0]
    assert [e.trainer for e in world.happened(event.Expelled)] == [thief]
    world.reveal_all(but=(0,))
    world.until(Phase.AUDIT)
    assert thief not in {a.auditor for a in world.round.audits}
    assert 1 in {a.slot for a in world.round.audits} or world.round.slots[1] != thief
    world.audit_all()
    world.attest()
    assert thief not in {s.earner for r in world.happened(event.Rewarded)[1:] for s in r.shares}


# ---- left out ----------------------------------------------------------------------------


def test_whose_update_was_left_out_must_join_again() -> None:
    world = stage(Phase.AGGREGATE)
    liar = auditor(world, 0)  # stage has it call slot 0 bad: it is no member any more
    slot = next(at for at in range(6) if owner(world, at) != liar)
    author = world.round.slots[slot]
    world.attest(malformed=(slot,))
    assert {m.trainer for m in world.record.members if m.standing == Standing.INACTIVE} == {author}
    world.step((world.name_of(author), JoinTask(world.task)))
    assert author in world.round.slots


def test_a_list_of_malformed_slots_may_name_slots_that_are_none() -> None:
    world = stage(Phase.AGGREGATE)
    world.attest(malformed=(3, 60_000))
    assert world.happened(event.RoundClosed)[0].accepted == 5


def test_where_every_update_is_malformed_the_round_is_opened_again() -> None:
    world = stage(Phase.AGGREGATE)
    world.attest(malformed=tuple(range(6)))
    assert world.happened(event.RoundFailed)[0].reason == "every accepted update was malformed"
    assert world.record.model == blob("theta", 0)
    assert {m.standing for m in world.record.members} <= {Standing.INACTIVE, Standing.EXPELLED}


# ---- bounds ------------------------------------------------------------------------------


def test_a_stranger_leaves_nothing_behind_for_free() -> None:
    world = World()
    world.submit()
    for body in (JoinTask(world.task), world.commit_of(0), world.reveal_of(0), attestation(world)):
        block = world.block(signed(world, "stranger", fee=0, body=body))
        assert apply_block(world.state, block) == InvalidBlock("transaction 0: fee-too-low")
    full = full_registry()
    block = full.block(signed(full, "stranger", fee=0, body=RegisterTrainer(blob("payout"))))
    assert apply_block(full.state, block) == InvalidBlock("transaction 0: fee-too-low")


def test_the_largest_round_fits_its_record() -> None:
    """Every list of a round at its limit still decodes."""
    world = stage(None)
    full = replace(world.round, slots=(key("ann").public,) * limits.UNITS_PER_ROUND)
    assert decode(RoundRecord, encode(full), max_bytes=1 << 24) == full
    with pytest.raises(ValueError, match="length"):
        decode(RoundRecord, encode(replace(full, slots=(*full.slots, blob("x")))), max_bytes=1 << 24)


def test_a_ledger_without_fees_still_counts_nonces() -> None:
    world = World()
    world.state = State(world.chain, replace(world.genesis.parameters, minimum_fee=0), world.state.tree)
    assert world.step(("poor", JoinTask(blob("task")))) == [Refusal.UNKNOWN_TASK]
    assert world.state.account(key("poor").public) == Account(0, 1)
    assert Parameters().minimum_fee > 0
