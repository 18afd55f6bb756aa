"""The mempool and the blocks built from it: bounded, fair, and never a block that does not apply."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from potminer.base import limits
from potminer.core import trie
from potminer.core.ledger.apply import Applied
from potminer.core.ledger.beacon import Onions
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.mempool import Mempool
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import State
from potminer.wire import record as records
from potminer.wire.block import Block, block_digest, transactions_root
from potminer.wire.codec import encode
from potminer.wire.task import Reward
from potminer.wire.tx import (
    AggregateResult,
    Body,
    Bond,
    JoinTask,
    RegisterTrainer,
    RevealWork,
    SignedTransaction,
    SubmitTask,
    Transaction,
    Transfer,
    Unbond,
    sign_transaction,
    transaction_digest,
)
from tests.unit.ledger_world import RICH, World, blob, key, onion, spec

WORK = JoinTask(blob("no such task"))


def sign(
    world: World, name: str, body: Body = WORK, *, nonce: int = 0, fee: int = 10, expiry: int = 10**9
) -> SignedTransaction:
    return sign_transaction(Transaction(world.chain, key(name).public, nonce, fee, expiry, body), key(name))


def pool() -> tuple[World, Mempool]:
    return World(), Mempool()


def waiting(mempool: Mempool, state: State) -> list[tuple[bytes, int]]:
    return [(s.transaction.sender, s.transaction.nonce) for s in mempool.ready(state)]


def ledger_of(world: World) -> Ledger:
    return Ledger(world.state, head=world.head, onions=Onions(onion("validator-0")))


def propose(ledger: Ledger, *, now: int | None = None) -> Block:
    """A block by validator 0, whose onion this ledger holds."""
    head = ledger.state.head
    now = head.time_ms + 1_000 if now is None else now
    return ledger.build(height=head.height + 1, parent=ledger.head, proposer=key("validator-0").public, now=now)


# ---- the door ----------------------------------------------------------------------------


def test_a_gap_waits_for_what_is_missing() -> None:
    world, mempool = pool()
    rich = key("rich").public
    for nonce in (2, 1):
        assert mempool.add(sign(world, "rich", nonce=nonce), world.state) is None
    assert waiting(mempool, world.state) == []
    assert mempool.next_nonce(rich, world.state) == 0
    assert mempool.add(sign(world, "rich", nonce=0), world.state) is None
    assert waiting(mempool, world.state) == [(rich, 0), (rich, 1), (rich, 2)]
    assert mempool.next_nonce(rich, world.state) == 3
    assert [s.transaction.nonce for s in mempool.of(rich)] == [0, 1, 2]


def test_a_waiting_transaction_is_not_replaced() -> None:
    world, mempool = pool()
    first = sign(world, "rich")
    assert mempool.add(first, world.state) is None
    assert mempool.add(sign(world, "rich", Transfer(blob("x"), 1), fee=999), world.state) == Refusal.BAD_NONCE
    assert mempool.of(key("rich").public) == [first]
    assert mempool.add(first, world.state) is None, "the same once more is no fault"
    assert len(mempool) == 1


DOOR: dict[str, tuple[dict[str, object], Refusal]] = {
    "used nonce": ({"nonce": -1}, Refusal.BAD_NONCE),
    "nonce out of sight": ({"nonce": limits.MEMPOOL_PER_SENDER}, Refusal.BAD_NONCE),
    "expired": ({"expiry": 0}, Refusal.EXPIRED),
    "fee": ({"fee": 9}, Refusal.FEE_TOO_LOW),
    "balance": ({"fee": RICH + 1}, Refusal.BALANCE_TOO_LOW),
}


@pytest.mark.parametrize("case", DOOR)
def test_the_door_is_shut_for_what_no_block_may_hold(case: str) -> None:
    world, mempool = pool()
    world.step(("rich", Transfer(blob("x"), 1)))
    changes, refusal = DOOR[case]
    fields = {"nonce": 0, "fee": 10, "expiry": 10**9, **changes}
    fields["nonce"] += 1  # type: ignore[operator]
    body = Transfer(blob("x"), 1)
    made = Transaction(world.chain, key("rich").public, fields["nonce"], fields["fee"], fields["expiry"], body)  # type: ignore[arg-type]
    assert mempool.add(sign_transaction(made, key("rich")), world.state) == refusal
    other = sign_transaction(replace(made, chain=blob("chain"), nonce=1, fee=10, expiry=9), key("rich"))
    assert mempool.add(other, world.state) == Refusal.WRONG_CHAIN
    assert len(mempool) == 0


def test_a_forged_signature_stays_outside_also_for_what_already_waits() -> None:
    """Who passes it on as known would be punished by everybody who does not know the true one."""
    world, mempool = pool()
    true = sign(world, "rich")
    forged = SignedTransaction(true.transaction, bytes(64))
    assert mempool.add(forged, world.state) == Refusal.BAD_SIGNATURE
    assert mempool.add(true, world.state) is None
    assert mempool.add(forged, world.state) == Refusal.BAD_SIGNATURE
    assert mempool.verified(true)
    assert not mempool.verified(forged)
    assert mempool.get(transaction_digest(true.transaction)) == true


def test_signatures_are_checked_once_at_the_door() -> None:
    world = World()
    asked: list[SignedTransaction] = []

    def verifier(signed: SignedTransaction) -> bool:
        asked.append(signed)
        return True

    mempool = Mempool(verifier)
    signed = sign(world, "rich")
    mempool.add(signed, world.state)
    assert mempool.verified(signed)
    assert mempool.verified(signed)
    assert asked == [signed]


def test_one_sender_has_room_for_so_many_and_all_for_so_many_more() -> None:
    world = World()
    mempool = Mempool(lambda signed: True)
    free = State(world.chain, replace(world.genesis.parameters, minimum_fee=0), world.state.tree)

    def unsigned(sender: bytes, nonce: int) -> SignedTransaction:
        return SignedTransaction(Transaction(world.chain, sender, nonce, 0, 10**9, WORK), bytes(64))

    senders = [blob("sender", i) for i in range(80)]
    each = limits.MEMPOOL_TRANSACTIONS // 80
    assert [mempool.add(unsigned(sender, nonce), free) for sender in senders for nonce in range(each)] == (
        [None] * limits.MEMPOOL_TRANSACTIONS
    )
    assert len(mempool) == limits.MEMPOOL_TRANSACTIONS
    assert mempool.add(unsigned(senders[0], each), free) == Refusal.POOL_FULL, "who has its share gets no more"
    assert mempool.add(unsigned(senders[0], limits.MEMPOOL_PER_SENDER), free) == Refusal.BAD_NONCE
    late = [mempool.add(unsigned(blob("late"), nonce), free) for nonce in range(limits.MEMPOOL_PER_SENDER)]
    assert late[:100] == [None] * 100, "who has little gets in: whoever has most gives way"
    assert late[-1] == Refusal.POOL_FULL, "up to half of a share"
    assert len(mempool) == limits.MEMPOOL_TRANSACTIONS
    assert min(len(mempool.of(sender)) for sender in senders) >= each - 2


def test_what_waits_for_a_missing_nonce_keeps_nobody_out_however_many_keys_send_it() -> None:
    """It pays nothing and never leaves: eighty keys, free to register, would shut every mempool for good."""
    world = World()
    mempool = Mempool(lambda signed: True)
    free = State(world.chain, replace(world.genesis.parameters, minimum_fee=0), world.state.tree)
    part = limits.MEMPOOL_TRANSACTIONS // limits.MEMPOOL_GAPS

    def unsigned(sender: bytes, nonce: int) -> SignedTransaction:
        return SignedTransaction(Transaction(world.chain, sender, nonce, 0, 10**9, WORK), bytes(64))

    crowd = [blob("gap", i) for i in range(80)]
    refusals = [mempool.add(unsigned(s, n), free) for s in crowd for n in range(1, limits.MEMPOOL_PER_SENDER)]
    assert refusals.count(None) == len(mempool) == part
    assert set(refusals[part:]) == {Refusal.POOL_FULL}
    assert mempool.add(unsigned(blob("new"), 1), free) == Refusal.POOL_FULL
    assert [mempool.add(unsigned(blob("new"), nonce), free) for nonce in range(100)] == [None] * 100
    assert mempool.add(unsigned(crowd[0], 0), free) is None, "a gap that closes makes room for others"
    assert mempool.add(unsigned(blob("other"), 1), free) is None
    assert len(list(mempool.ready(free))) == 100 + limits.MEMPOOL_PER_SENDER


def test_what_becomes_a_gap_later_counts_as_one() -> None:
    """The first is affordable until the one before it is executed; what follows it can then never happen."""
    world = World()
    mempool = Mempool(lambda signed: True)
    free = State(world.chain, replace(world.genesis.parameters, minimum_fee=0), world.state.tree)
    part = limits.MEMPOOL_TRANSACTIONS // limits.MEMPOOL_GAPS
    crowd = [blob("late gap", i) for i in range(80)]
    first = SignedTransaction(Transaction(world.chain, crowd[0], 0, 0, 5, WORK), bytes(64))
    assert mempool.add(first, free) is None
    for sender in crowd:
        for nonce in range(1, limits.MEMPOOL_PER_SENDER):
            if len(mempool) < part:
                made = Transaction(world.chain, sender, nonce, 0, 10**9, WORK)
                assert mempool.add(SignedTransaction(made, bytes(64)), free) is None
    for nonce in range(1, 250):
        made = Transaction(world.chain, crowd[79], nonce - 1, 0, 10**9 if nonce > 1 else 5, WORK)
        assert mempool.add(SignedTransaction(made, bytes(64)), free) is None
    assert len(mempool) == part + 249
    late = State(world.chain, free.parameters, trie.update(
        free.tree, [(records.CHAIN, encode(replace(free.head, height=6)))]
    ))  # fmt: skip
    mempool.settle(late)
    assert len(mempool) == part, "both first ones expired; what waits behind them is within its part"


def test_a_forged_signature_makes_nobody_give_way() -> None:
    world = World()
    mempool = Mempool(lambda signed: signed.signature == bytes(64))
    free = State(world.chain, replace(world.genesis.parameters, minimum_fee=0), world.state.tree)
    for at in range(limits.MEMPOOL_TRANSACTIONS):
        made = Transaction(world.chain, blob("sender", at // 250), at % 250, 0, 10**9, WORK)
        assert mempool.add(SignedTransaction(made, bytes(64)), free) is None
    before = {blob("sender", at): len(mempool.of(blob("sender", at))) for at in range(80)}
    forged = SignedTransaction(Transaction(world.chain, blob("late"), 0, 0, 10**9, WORK), b"x" * 64)
    assert mempool.add(forged, free) == Refusal.BAD_SIGNATURE
    assert before == {sender: len(mempool.of(sender)) for sender in before}


def test_what_waits_weighs_no_more_than_it_may_and_room_comes_back() -> None:
    world = World()
    mempool = Mempool(lambda signed: True)
    free = State(world.chain, replace(world.genesis.parameters, minimum_fee=0), world.state.tree)
    heavy = RevealWork(bytes(32), 0, 0, 0, bytes(32), 0, (bytes(32),) * 64, bytes(32), (30_000,))

    def unsigned(sender: int, nonce: int, body: Body = heavy, expiry: int = 10**9) -> SignedTransaction:
        return SignedTransaction(Transaction(world.chain, blob("sender", sender), nonce, 0, expiry, body), bytes(64))

    each = len(unsigned(0, 0).encoded)
    most = limits.MEMPOOL_BYTES // each
    assert most < limits.MEMPOOL_TRANSACTIONS
    refusals = [mempool.add(unsigned(at % 56, at // 56, expiry=20), free) for at in range(most + 40)]
    assert refusals.count(None) == len(mempool)
    assert most - 20 <= len(mempool) <= most + 20, "nonces and expiries of other lengths weigh a byte or two"
    assert refusals[-1] == Refusal.POOL_FULL
    assert mempool.add(unsigned(0, 1), free) == Refusal.BAD_NONCE
    light = next(
        at for at in range(56)
        if mempool.add(unsigned(at, mempool.next_nonce(blob("sender", at), free), WORK), free) is not None
    )  # fmt: skip
    assert light * len(unsigned(500, 0, WORK).encoded) < each + 200
    held = len(mempool)
    assert mempool.add(unsigned(500, 0, WORK), free) is None, "by weight as well, whoever has most gives way"
    assert len(mempool) == held
    late = replace(free.head, height=21)
    mempool.settle(State(free.chain, free.parameters, trie.update(free.tree, [(records.CHAIN, encode(late))])))
    assert len(mempool) == light, "the last of the heaviest was a light one"
    assert mempool.add(unsigned(0, 0), free) is None


def test_settling_forgets_what_is_done_outlived_or_impossible() -> None:
    world, mempool = pool()
    world.step(("rich", Transfer(key("poor").public, 15)))
    add = [
        sign(world, "rich", Transfer(blob("x"), 1), nonce=1),
        sign(world, "rich", nonce=2, expiry=3),
        sign(world, "poor", nonce=0),
        sign(world, "poor", nonce=1),
    ]
    assert [mempool.add(each, world.state) for each in add] == [None] * 4
    world.step(("rich", Transfer(blob("y"), 1)))
    world.step(("poor", WORK))
    mempool.settle(world.state)
    assert len(mempool) == 0, "done, expired, done, and a fee that cannot be paid any more"
    assert mempool.of(key("rich").public) == []


# ---- fairness ----------------------------------------------------------------------------


def test_senders_take_turns() -> None:
    world, mempool = pool()
    for nonce in range(3):
        mempool.add(sign(world, "rich", nonce=nonce), world.state)
    mempool.add(sign(world, "requester"), world.state)
    rich, requester = key("rich").public, key("requester").public
    assert waiting(mempool, world.state) == [(rich, 0), (requester, 0), (rich, 1), (rich, 2)]


def test_a_full_mempool_of_a_few_does_not_keep_another_out() -> None:
    world = World()
    parameters = replace(world.genesis.parameters, minimum_fee=0, block_transactions=900)
    free = State(world.chain, parameters, world.state.tree)
    ledger = Ledger(free, head=world.head, onions=Onions(onion("validator-0")))
    ledger.mempool = Mempool(lambda signed: True)
    for sender in range(5):
        for nonce in range(limits.MEMPOOL_PER_SENDER):
            made = Transaction(world.chain, blob("flood", sender), nonce, 0, 10**9, WORK)
            assert ledger.submit(SignedTransaction(made, bytes(64))) is None
    honest = sign(world, "rich")
    assert ledger.submit(honest) is None
    block = propose(ledger)
    assert ledger.is_full
    assert len(block.transactions) == 900
    assert honest in block.transactions


def test_who_was_served_waits_at_the_end() -> None:
    world, mempool = pool()
    for name in ("rich", "requester"):
        for nonce in range(2):
            mempool.add(sign(world, name, nonce=nonce), world.state)
    world.step(("rich", WORK))
    mempool.settle(world.state)
    assert waiting(mempool, world.state)[0] == (key("requester").public, 0)


# ---- building ----------------------------------------------------------------------------

NAMES = ("rich", "requester", "poor")
BODIES: Sequence[Body] = (
    Transfer(key("poor").public, 25),
    Transfer(key("poor").public, RICH // 2),
    Transfer(blob("nobody"), RICH * 2),
    Bond(RICH // 3),
    Unbond(5),
    RegisterTrainer(blob("payout")),
    SubmitTask(spec(reward=Reward(RICH // 2, 1))),
    WORK,
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES), st.sampled_from(BODIES), st.integers(0, 3),
            st.sampled_from((10, 20, RICH // 3, RICH)), st.sampled_from((1, 2, 10**9)),
        ),
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_what_is_built_applies_and_the_work_comes_to_an_end(
    wishes: list[tuple[str, Body, int, int, int]],
) -> None:
    world = World()
    ledger = ledger_of(world)
    for name, body, nonce, fee, expiry in wishes:
        ledger.submit(sign(world, name, body, nonce=nonce, fee=fee, expiry=expiry))
    blocks = 0
    while ledger.wants_block(ledger.state.head.time_ms):
        block = propose(ledger)
        now = block.header.time_ms
        assert block.transactions, "a block nobody needs"
        assert ledger.refusal(block, fresh=True, now=now) is None
        assert isinstance(ledger.execute(block), Applied)
        blocks += 1
        assert blocks <= len(wishes)
    assert propose(ledger).transactions == ()


def test_a_wish_that_cannot_be_paid_is_refused_by_its_receipt_and_not_for_ever() -> None:
    """Its fee can be paid, its amount cannot: it must not keep the chain making empty blocks."""
    world = World()
    ledger = ledger_of(world)
    assert ledger.submit(sign(world, "rich", Transfer(blob("x"), RICH))) is None
    assert ledger.wants_block(0)
    applied = ledger.execute(propose(ledger))
    assert [receipt.refusal for receipt in applied.receipts] == [Refusal.BALANCE_TOO_LOW]
    assert not ledger.wants_block(ledger.state.head.time_ms)


def test_a_block_has_room_for_its_limit_in_bytes() -> None:
    world = World()
    world.state = State(world.chain, replace(world.genesis.parameters, block_bytes=1_048_576), world.state.tree)
    ledger = ledger_of(world)
    large = AggregateResult(blob("task"), 0, 0, blob("model"), tuple(range(60_000, 60_000 + limits.UNITS_PER_ROUND)))
    for nonce in range(40):
        for name in world.validators:
            assert ledger.submit(sign(world, name, large, nonce=nonce, fee=0)) is None
    block = propose(ledger)
    assert 1_048_576 - 2 * 4_096 - len(encode(large)) < len(encode(block)) <= 1_048_576
    assert ledger.refusal(block, fresh=True, now=block.header.time_ms) is None


@pytest.mark.parametrize("limit", [{"block_transactions": 4}, {"block_bytes": 2 * limits.TRANSACTION_BYTES}])
def test_a_block_above_what_the_genesis_allows_is_refused(limit: dict[str, int]) -> None:
    world = World()
    generous = ledger_of(world)
    large = AggregateResult(blob("task"), 0, 0, blob("model"), tuple(range(60_000, 60_000 + limits.UNITS_PER_ROUND)))
    for nonce in range(6):
        assert generous.submit(sign(world, "validator-1", large, nonce=nonce, fee=0)) is None
    block = propose(generous)
    world.state = State(world.chain, replace(world.genesis.parameters, **limit), world.state.tree)
    strict = ledger_of(world)
    assert generous.refusal(block, fresh=True, now=block.header.time_ms) is None
    assert strict.refusal(block, fresh=True, now=block.header.time_ms) == "too large"


# ---- voting ------------------------------------------------------------------------------


def test_a_forged_body_under_a_true_header_does_not_spoil_the_true_block() -> None:
    world = World()
    ledger = ledger_of(world)
    ledger.submit(sign(world, "rich"))
    true = propose(ledger)
    forged = Block(true.header, (SignedTransaction(true.transactions[0].transaction, bytes(64)),))
    now = true.header.time_ms
    for _ in range(2):
        assert ledger.refusal(forged, fresh=True, now=now) is not None
        assert ledger.refusal(Block(true.header, ()), fresh=True, now=now) is not None
        assert ledger.refusal(true, fresh=True, now=now) is None
    for number in range(20):
        ledger.refusal(Block(replace(true.header, time_ms=now + number + 1), ()), fresh=True, now=now)
    assert ledger.refusal(true, fresh=True, now=now) is None
    ledger.execute(true)
    assert ledger.head == block_digest(true.header)


def test_what_no_replica_votes_for() -> None:
    world = World()
    ledger = ledger_of(world)
    block = propose(ledger)
    now = block.header.time_ms

    def why(*, fresh: bool = True, at: int = now, **changes: object) -> str | None:
        return ledger.refusal(Block(replace(block.header, **changes), ()), fresh=fresh, now=at)

    assert why() is None
    assert why(parent=blob("parent")) == "another parent"
    assert why(epoch=1) == "another epoch"
    assert why(at=now + 5_001) == why(at=now - 5_001) == "its time is too far from ours"
    assert why(at=now + 5_000) is None
    assert why(at=now + 10**6, fresh=False) is None, "a re-proposed block keeps its time"
    lagging = world.state.head.time_ms + 1
    assert why(time_ms=lagging, at=now + 10**6) is None, "the least time that rises is always in order"
    assert why(state_root=blob("root")) == "built on another state"


def test_a_replica_builds_on_its_own_head_only_and_with_a_foreign_onion_loses_its_turn() -> None:
    world = World()
    ledger = ledger_of(world)
    with pytest.raises(AssertionError):
        ledger.build(height=1, parent=blob("parent"), proposer=key("validator-0").public, now=0)
    assert ledger.build(height=1, parent=ledger.head, proposer=key("validator-1").public, now=0) is None
    with pytest.raises(AssertionError):
        ledger.execute(Block(replace(propose(ledger).header, parent=blob("parent")), ()))
    with pytest.raises(AssertionError):
        ledger.execute(Block(replace(propose(ledger).header, transactions_root=transactions_root(())[::-1]), ()))


def test_time_alone_makes_work_only_once() -> None:
    """A deadline that passed wants one block; a task that waits for trainers wants none."""
    world = World()
    world.submit()
    ledger = ledger_of(world)
    deadline = world.round.deadline_ms
    assert not ledger.wants_block(deadline)
    assert ledger.wants_block(deadline + 1)
    ledger.execute(propose(ledger, now=deadline + 1))
    assert not ledger.wants_block(deadline + 1), "all missed: the task rests until somebody joins"


def test_a_bond_due_wants_one_block() -> None:
    world = World()
    world.step(("rich", RegisterTrainer(blob("payout"))), ("rich", Bond(10)), ("rich", Unbond(10)))
    ledger = ledger_of(world)
    due = world.state.head.releases[0].time_ms
    assert not ledger.wants_block(due - 1)
    assert ledger.wants_block(due)
    ledger.execute(propose(ledger, now=due))
    assert not ledger.wants_block(due)
