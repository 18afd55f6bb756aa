"""One block: what makes it invalid, what each refused transaction is told, and what money does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from potminer.base import limits
from potminer.core.ledger.apply import Applied, InvalidBlock, apply_block
from potminer.core.ledger.refusal import Refusal
from potminer.wire import record as records
from potminer.wire.block import Block, Receipt, receipts_root, transactions_root
from potminer.wire.model import Mlp
from potminer.wire.record import (
    ChainRecord,
    Phase,
    ReceiptsRecord,
)
from potminer.wire.task import DataSpec, Reward
from potminer.wire.tx import (
    AuditVerdict,
    Body,
    Bond,
    CancelTask,
    Finding,
    JoinTask,
    LeaveTask,
    OpenResidue,
    RegisterTrainer,
    SignedTransaction,
    SubmitTask,
    Transfer,
    Unbond,
    signature_holds,
    transaction_digest,
)
from tests.unit.ledger_stages import attestation, auditor, cancelled, full_registry, other, owner, signed, stage
from tests.unit.ledger_world import RICH, World, blob, key, spec

# ---- blocks that are no blocks -----------------------------------------------------------


def reseal(block: Block, *transactions: SignedTransaction) -> Block:
    return Block(replace(block.header, transactions_root=transactions_root(transactions)), transactions)


def other_signature(honest: SignedTransaction) -> SignedTransaction:
    return SignedTransaction(honest.transaction, bytes(64))


HEADERS: dict[str, tuple[dict[str, object], str]] = {
    "height skipped": ({"height": 3}, "height or time"),
    "height repeated": ({"height": 1}, "height or time"),
    "time standing": ({"time_ms": 1_001_000}, "height or time"),
    "time going back": ({"time_ms": 1}, "height or time"),
    "other state": ({"state_root": blob("root")}, "another state"),
    "other transactions": ({"transactions_root": blob("root")}, "transactions"),
    "not the next layer": ({"preimage": blob("layer")}, "onion"),
    "proposer no validator": ({"proposer": key("rich").public}, "no turn"),
    "another epoch": ({"epoch": 1}, "another epoch"),
    "proposer another validator": ({"proposer": key("validator-3").public}, "onion"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_that_does_not_follow_is_invalid(case: str) -> None:
    world = World()
    world.step()
    changes, reason = HEADERS[case]
    block = world.block(signed(world))
    assert isinstance(apply_block(world.state, block), Applied)
    found = apply_block(world.state, Block(replace(block.header, **changes), block.transactions))
    assert isinstance(found, InvalidBlock)
    assert reason in found.reason


TRANSACTIONS: dict[str, tuple[Callable[[World], SignedTransaction], Refusal]] = {
    "forged": (lambda w: other_signature(signed(w)), Refusal.BAD_SIGNATURE),
    "signed by another": (
        lambda w: SignedTransaction(signed(w).transaction, signed(w, "requester").signature), Refusal.BAD_SIGNATURE,
    ),
    "another chain": (lambda w: signed(w, chain=blob("chain")), Refusal.WRONG_CHAIN),
    "nonce ahead": (lambda w: signed(w, nonce=1), Refusal.BAD_NONCE),
    "nonce huge": (lambda w: signed(w, nonce=2**63 - 1), Refusal.BAD_NONCE),
    "expired": (lambda w: signed(w, expiry=w.state.head.height), Refusal.EXPIRED),
    "fee too low": (lambda w: signed(w, fee=9), Refusal.FEE_TOO_LOW),
    "fee above the balance": (lambda w: signed(w, fee=RICH + 1), Refusal.BALANCE_TOO_LOW),
    "fee of the poor": (lambda w: signed(w, "poor"), Refusal.BALANCE_TOO_LOW),
    "free work of a stranger": (lambda w: signed(w, "poor", fee=0, body=JoinTask(blob("task"))), Refusal.FEE_TOO_LOW),
}


@pytest.mark.parametrize("case", TRANSACTIONS)
def test_a_transaction_that_should_never_have_been_proposed_spoils_the_block(case: str) -> None:
    world = World()
    world.step()
    make, refusal = TRANSACTIONS[case]
    found = apply_block(world.state, world.block(make(world)))
    assert found == InvalidBlock(f"transaction 0: {refusal}")


def test_the_same_transaction_twice_spoils_the_block() -> None:
    world = World()
    once = signed(world)
    assert apply_block(world.state, world.block(once, once)) == InvalidBlock("transaction 1: bad-nonce")


def test_another_body_under_the_same_header_is_invalid() -> None:
    world = World()
    block = world.block(signed(world))
    for body in ((), (other_signature(signed(world)),), (signed(world), signed(world, nonce=1))):
        found = apply_block(world.state, Block(block.header, body))
        assert isinstance(found, InvalidBlock)
        assert "transactions" in found.reason
    assert reseal(block, other_signature(signed(world))).header != block.header, "signatures are under the root"


def test_a_verifier_that_remembers_changes_nothing_else() -> None:
    world = World()
    block = world.block(signed(world))
    seen: list[SignedTransaction] = []

    def remember(each: SignedTransaction) -> bool:
        seen.append(each)
        return signature_holds(each)

    first, second = apply_block(world.state, block), apply_block(world.state, block, verifier=remember)
    assert isinstance(first, Applied)
    assert isinstance(second, Applied)
    assert first.state.root == second.state.root
    assert first.changes == second.changes
    assert seen == list(block.transactions)


# ---- refused transactions ----------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    world: Callable[[], World]
    act: Callable[[World], tuple[str, Body]]
    refusal: Refusal


def rich_trainer() -> World:
    world = World()
    world.step(("rich", RegisterTrainer(blob("payout"))))
    return world


def full_task() -> World:
    world = World()
    world.submit(spec(max_trainers=3))
    world.step(("dee", RegisterTrainer(key("dee-wallet").public)))
    return world


def full_house() -> World:
    """As many tasks as may be open."""
    world = World()
    small = spec(rounds=1, min_trainers=1, units_per_trainer=1, reward=Reward(1, 1))
    world.step(*[("requester", SubmitTask(small)) for _ in range(limits.TASKS_OPEN)])
    return world


def many_unbondings() -> World:
    world = registered()
    world.step(("rich", RegisterTrainer(blob("payout"))), ("rich", Bond(10_000)))
    for _ in range(8):
        world.step(*[("rich", Unbond(1)) for _ in range(512)], after_ms=1)
    return world


def registered() -> World:
    world = World()
    world.step(("ann", RegisterTrainer(key("ann-wallet").public)))
    return world


def expelled() -> World:
    world = stage(Phase.DISPUTE)
    world.judge(0, 900_000)
    return world


def spoken() -> World:
    """The first auditor of slot 0 has spoken."""
    world = stage(Phase.AUDIT)
    world.step((auditor(world, 0), world.verdict_of(0, 0)))
    return world


def malformed() -> World:
    world = stage(Phase.AUDIT)
    world.step((auditor(world, 0), world.verdict_of(0, 0, Finding.MALFORMED)))
    return world


def opening(world: World) -> OpenResidue:
    audit = next(a for a in world.round.audits if a.slot == 0)
    return world.opening_of(0, audit.segment, audit.leaf)


TABLE: dict[str, Row] = {
    "transfer above the balance": Row(
        World, lambda w: ("rich", Transfer(blob("to"), RICH)), Refusal.BALANCE_TOO_LOW),
    "bond of no trainer": Row(World, lambda w: ("rich", Bond(1)), Refusal.NOT_REGISTERED),
    "bond above the balance": Row(
        rich_trainer, lambda w: ("rich", Bond(RICH)), Refusal.BALANCE_TOO_LOW),
    "unbond of no trainer": Row(World, lambda w: ("rich", Unbond(1)), Refusal.NOT_REGISTERED),
    "unbond above the bond": Row(rich_trainer, lambda w: ("rich", Unbond(1)), Refusal.BOND_TOO_LOW),
    "unbond nothing": Row(rich_trainer, lambda w: ("rich", Unbond(0)), Refusal.BOND_TOO_LOW),
    "too many unbondings": Row(many_unbondings, lambda w: ("rich", Unbond(1)), Refusal.TOO_MANY),
    "too many trainers": Row(full_registry, lambda w: ("rich", RegisterTrainer(blob("payout"))), Refusal.TOO_MANY),
    "min above max": Row(
        World, lambda w: ("requester", SubmitTask(spec(min_trainers=9))), Refusal.BAD_TASK),
    "more units than a round may have": Row(
        World, lambda w: ("requester", SubmitTask(spec(max_trainers=1_024, units_per_trainer=5))), Refusal.BAD_TASK),
    "more segments than a round may have": Row(
        World, lambda w: ("requester", SubmitTask(spec(max_trainers=1_024, units_per_trainer=1, segments=17))),
        Refusal.BAD_TASK),
    "budget below its rounds": Row(
        World, lambda w: ("requester", SubmitTask(spec(reward=Reward(12 * 7 - 1, 7)))), Refusal.BAD_TASK),
    "model larger than any blob": Row(
        World, lambda w: ("requester", SubmitTask(spec(model=Mlp(65_536, (65_536,), 10)))), Refusal.BAD_TASK),
    "data larger than any blob": Row(
        World, lambda w: ("requester", SubmitTask(spec(data=huge_data()))), Refusal.BAD_TASK),
    "budget above the balance": Row(
        World, lambda w: ("requester", SubmitTask(spec(reward=Reward(2 * RICH, 1)))), Refusal.BALANCE_TOO_LOW),
    "too many tasks": Row(full_house, lambda w: ("requester", SubmitTask(spec())), Refusal.TOO_MANY),
    "cancel an unknown task": Row(World, lambda w: ("rich", CancelTask(blob("task"))), Refusal.UNKNOWN_TASK),
    "cancel another's task": Row(
        lambda: stage(None), lambda w: ("rich", CancelTask(w.task)), Refusal.NOT_REQUESTER),
    "cancel twice": Row(cancelled, lambda w: ("requester", CancelTask(w.task)), Refusal.TASK_NOT_OPEN),
    "join an unknown task": Row(registered, lambda w: ("ann", JoinTask(blob("task"))), Refusal.UNKNOWN_TASK),
    "join unregistered": Row(lambda: stage(None), lambda w: ("rich", JoinTask(w.task)), Refusal.NOT_REGISTERED),
    "join twice": Row(lambda: stage(None), lambda w: ("ann", JoinTask(w.task)), Refusal.ALREADY_MEMBER),
    "join a full task": Row(full_task, lambda w: ("dee", JoinTask(w.task)), Refusal.TOO_MANY),
    "join a cancelled task": Row(cancelled, lambda w: ("ann", JoinTask(w.task)), Refusal.TASK_NOT_OPEN),
    "join expelled": Row(expelled, lambda w: (owner(w, 0), JoinTask(w.task)), Refusal.EXPELLED),
    "leave an unknown task": Row(registered, lambda w: ("ann", LeaveTask(blob("task"))), Refusal.UNKNOWN_TASK),
    "leave as no member": Row(lambda: stage(None), lambda w: ("rich", LeaveTask(w.task)), Refusal.NOT_MEMBER),
    "leave expelled": Row(expelled, lambda w: (owner(w, 0), LeaveTask(w.task)), Refusal.NOT_MEMBER),
    "leave a cancelled task": Row(cancelled, lambda w: ("ann", LeaveTask(w.task)), Refusal.TASK_NOT_OPEN),
    "commit to an unknown task": Row(
        lambda: stage(None), lambda w: (owner(w, 0), replace(w.commit_of(0), task=blob("task"))),
        Refusal.UNKNOWN_TASK),
    "commit to another round": Row(
        lambda: stage(None), lambda w: (owner(w, 0), replace(w.commit_of(0), round=1)), Refusal.WRONG_ROUND),
    "commit to another attempt": Row(
        lambda: stage(None), lambda w: (owner(w, 0), replace(w.commit_of(0), attempt=1)), Refusal.WRONG_ROUND),
    "commit another's unit": Row(
        lambda: stage(None), lambda w: (other(w, 0), w.commit_of(0)), Refusal.NOT_ASSIGNED),
    "commit a slot that is none": Row(
        lambda: stage(None), lambda w: ("ann", replace(w.commit_of(0), slot=65_535)), Refusal.NOT_ASSIGNED),
    "commit late": Row(lambda: stage(Phase.REVEAL), lambda w: (owner(w, 0), w.commit_of(0)), Refusal.LATE),
    "reveal early": Row(lambda: stage(None), lambda w: (owner(w, 0), w.reveal_of(0)), Refusal.WRONG_PHASE),
    "reveal late": Row(lambda: stage(Phase.AUDIT), lambda w: (owner(w, 0), w.reveal_of(0)), Refusal.LATE),
    "reveal something else": Row(
        lambda: stage(Phase.REVEAL), lambda w: (owner(w, 0), replace(w.reveal_of(0), salt=blob("pepper"))),
        Refusal.COMMITMENT_MISMATCH),
    "reveal after a wrong base": Row(
        lambda: wrong_base(), lambda w: (owner(w, 0), w.reveal_of(0)), Refusal.ALREADY_DONE),
    "reveal too few snapshots": Row(
        lambda: bound_to(blob(1), blob(2)), lambda w: (owner(w, 0), w.reveal_of(0, snapshots=(blob(1), blob(2)))),
        Refusal.WRONG_SNAPSHOTS),
    "reveal one snapshot twice": Row(
        lambda: bound_to(*[blob(1)] * 4), lambda w: (owner(w, 0), w.reveal_of(0, snapshots=(blob(1),) * 4)),
        Refusal.WRONG_SNAPSHOTS),
    "say two lengths of a round that is not cut": Row(
        lambda: bound_to(lengths=(30_000, 30_000)),
        lambda w: (owner(w, 0), replace(w.reveal_of(0), lengths=(30_000, 30_000))), Refusal.WRONG_LENGTHS),
    "audit early": Row(
        lambda: stage(Phase.REVEAL),
        lambda w: ("ann", AuditVerdict(w.task, 0, 0, 0, 1, Finding.MEASURED, 0, bytes(64))),
        Refusal.WRONG_PHASE),
    "measure without a sketch": Row(
        lambda: stage(Phase.AUDIT), lambda w: (auditor(w, 0), replace(w.verdict_of(0, 0), sketch=b"")),
        Refusal.WRONG_SKETCH),
    "measure with half a sketch": Row(
        lambda: stage(Phase.AUDIT), lambda w: (auditor(w, 0), replace(w.verdict_of(0, 0), sketch=bytes(32))),
        Refusal.WRONG_SKETCH),
    "sketch what was not measured": Row(
        lambda: stage(Phase.AUDIT), lambda w: (auditor(w, 0), replace(w.verdict_of(0, 0), finding=Finding.MALFORMED)),
        Refusal.WRONG_SKETCH),
    "judge without a sketch": Row(
        lambda: stage(Phase.DISPUTE), lambda w: ("validator-0", replace(w.verdict_of(0, 0), sketch=b"")),
        Refusal.WRONG_SKETCH),
    "open before the auditor has spoken": Row(
        lambda: stage(Phase.AUDIT), lambda w: (owner(w, 0), opening(w)), Refusal.NOT_ASKED),
    "open to an auditor that measured nothing": Row(
        malformed, lambda w: (owner(w, 0), opening(w)), Refusal.NOT_ASKED),
    "open another leaf": Row(
        spoken, lambda w: (owner(w, 0), replace(opening(w), leaf=(opening(w).leaf + 1) % 32)), Refusal.NOT_ASKED),
    "open other residues": Row(
        spoken, lambda w: (owner(w, 0), replace(opening(w), residues=bytes(64))), Refusal.WRONG_RESIDUES),
    "open without the path": Row(
        spoken, lambda w: (owner(w, 0), replace(opening(w), siblings=())), Refusal.WRONG_RESIDUES),
    "open another's unit": Row(spoken, lambda w: (other(w, 0), opening(w)), Refusal.NOT_ASSIGNED),
    "open early": Row(
        lambda: stage(Phase.REVEAL),
        lambda w: (owner(w, 0), w.opening_of(0, 1, 0)), Refusal.WRONG_PHASE),
    "open late": Row(lambda: stage(Phase.DISPUTE), lambda w: (owner(w, 0), opening(w)), Refusal.LATE),
    "audit another's audit": Row(
        lambda: stage(Phase.AUDIT),
        lambda w: (next(n for n in ("ann", "ben", "cy") if n != auditor(w, 0)), w.verdict_of(0, 0)),
        Refusal.NOT_AUDITOR),
    "audit another segment": Row(
        lambda: stage(Phase.AUDIT),
        lambda w: (auditor(w, 0), replace(w.verdict_of(0, 0), segment=w.verdict_of(0, 0).segment % 4 + 1)),
        Refusal.NOT_AUDITOR),
    "audit as a validator before any dispute": Row(
        lambda: stage(Phase.AUDIT), lambda w: ("validator-0", w.verdict_of(0, 0)), Refusal.NOT_AUDITOR),
    "judge as a trainer": Row(
        lambda: stage(Phase.DISPUTE), lambda w: ("ann", w.verdict_of(0, 0)), Refusal.NOT_VALIDATOR),
    "judge what is not disputed": Row(
        lambda: stage(Phase.DISPUTE), lambda w: ("validator-0", w.verdict_of(1, 0)), Refusal.ALREADY_DONE),
    "judge late": Row(lambda: stage(Phase.AGGREGATE), lambda w: ("validator-0", w.verdict_of(0, 0)), Refusal.LATE),
    "attest early": Row(
        lambda: stage(Phase.DISPUTE), lambda w: ("validator-0", attestation(w)), Refusal.WRONG_PHASE),
    "attest as a trainer": Row(
        lambda: stage(Phase.AGGREGATE), lambda w: ("ann", attestation(w)), Refusal.NOT_VALIDATOR),
    "attest another round": Row(
        lambda: stage(Phase.AGGREGATE), lambda w: ("validator-0", attestation(w, round=1)), Refusal.WRONG_ROUND),
}


def huge_data() -> DataSpec:
    return replace(spec().data, train_samples=2**31, shape=(65_536,) * 4)


def wrong_base() -> World:
    world = World()
    world.submit()
    world.step((owner(world, 0), world.commit_of(0, base=blob("old"))))
    world.commit_all(but=(0,))
    return world


def bound_to(*snapshots: bytes, lengths: tuple[int, ...] = (30_000,)) -> World:
    """Slot 0 committed to exactly these snapshots and lengths."""
    world = World()
    world.submit()
    world.step((owner(world, 0), world.commit_of(0, replace(world.reveal_of(0, snapshots=snapshots), lengths=lengths))))
    world.commit_all(but=(0,))
    return world


def done_twice(world: World) -> list[tuple[str, Body]]:
    """What is in order once and refused the second time."""
    match world.round.phase:
        case Phase.COMMIT:
            return [(owner(world, 0), world.commit_of(0))]
        case Phase.REVEAL:
            return [(owner(world, 0), world.reveal_of(0))]
        case Phase.AUDIT:
            return [(auditor(world, 0), world.verdict_of(0, 0))]
        case Phase.DISPUTE:
            return [("validator-0", world.verdict_of(0, 0))]
        case _:
            return [("validator-0", attestation(world))]


def others(world: World, *names: str) -> dict[bytes, bytes]:
    """Every record but the accounts of *names*, the validators', the receipts' and the chain's own."""
    own = {records.account_key(key(name).public) for name in (*names, *world.validators)}
    kept = dict(world.state.items())
    return {k: v for k, v in kept.items() if k not in own and k[:1] not in (b"v", b"C", b"R")}


def ledger_words(world: World) -> ChainRecord:
    return replace(world.state.head, height=0, time_ms=0, beacon=bytes(32))


@pytest.mark.parametrize("case", TABLE)
def test_a_refused_transaction_has_its_reason_and_changes_nothing_but_fee_and_nonce(case: str) -> None:
    row = TABLE[case]
    world = row.world()
    name, body = row.act(world)
    before, words, account = others(world, name), ledger_words(world), world.state.account(key(name).public)
    money = world.balance(name) + sum(world.balance(v) for v in world.validators if v != name)
    assert world.step((name, body), after_ms=1) == [row.refusal]
    assert others(world, name) == before
    assert ledger_words(world) == words
    after = world.state.account(key(name).public)
    assert after.nonce == account.nonce + 1
    assert after.balance in (account.balance, account.balance - 10)
    assert world.balance(name) + sum(world.balance(v) for v in world.validators if v != name) == money


@pytest.mark.parametrize("phase", [Phase.COMMIT, Phase.REVEAL, Phase.AUDIT, Phase.DISPUTE, Phase.AGGREGATE])
def test_what_is_done_once_is_refused_the_second_time(phase: Phase) -> None:
    world = stage(phase)
    actions = done_twice(world)
    assert world.step(*actions, after_ms=1) == [None]
    assert world.step(*actions, after_ms=1) == [Refusal.ALREADY_DONE]


def test_every_refusal_can_be_met() -> None:
    """POOL_FULL is told at the mempool's door only (test_ledger_mempool.py);
    two are of validators' bonds (test_ledger_bonds.py), one of slices (test_ledger_slices.py), two of what is hidden
    (test_ledger_hidden.py)."""
    met = {row.refusal for row in TABLE.values()} | {refusal for _, refusal in TRANSACTIONS.values()}
    elsewhere = {Refusal.POOL_FULL, Refusal.BAD_EVIDENCE, Refusal.SLASHED, Refusal.NOT_SLICED}
    assert set(Refusal) - met == elsewhere | {Refusal.NOT_HELD, Refusal.TOO_SOON}


def test_the_state_names_the_receipts_of_the_last_block_that_had_any() -> None:
    world = World()
    assert world.state.get(ReceiptsRecord, records.RECEIPTS) is None
    world.step()
    assert world.state.get(ReceiptsRecord, records.RECEIPTS) is None
    refusals = world.step(
        ("rich", Transfer(key("ann").public, 5)), ("rich", Unbond(1)), ("requester", Transfer(key("ann").public, 7))
    )
    assert refusals == [None, Refusal.NOT_REGISTERED, None]
    receipts = tuple(
        Receipt(transaction_digest(signed.transaction), index, refusal)
        for index, (signed, refusal) in enumerate(zip(world.blocks[-1].transactions, refusals, strict=True))
    )
    expected = ReceiptsRecord(2, receipts_root(receipts))
    assert world.state.get(ReceiptsRecord, records.RECEIPTS) == expected
    world.step()
    assert world.state.get(ReceiptsRecord, records.RECEIPTS) == expected
