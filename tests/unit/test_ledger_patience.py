"""Who waits too long: only what could have been in a block that had room for it."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base import limits
from potminer.core.ledger.ledger import COMPLAINT_MS, RELAY_MS, Ledger
from potminer.core.ledger.state import State
from potminer.wire.block import Block, transactions_root
from potminer.wire.tx import SignedTransaction, Transfer
from tests.unit.ledger_world import World, key
from tests.unit.test_ledger_mempool import ledger_of, propose

TO = key("receiver").public


def setting() -> tuple[World, Ledger, Ledger]:
    """Our ledger, and that of a primary that hears of nothing unless it is told."""
    world = World()
    return world, ledger_of(world), ledger_of(world)


def pay(world: World, nonce: int = 0, *, fee: int = 10) -> SignedTransaction:
    return world.sign("rich", Transfer(TO, 1), nonce=nonce, fee=fee)


def step(ours: Ledger, theirs: Ledger, after_ms: int = 1_000) -> None:
    """A block of theirs, executed by both."""
    block = propose(theirs, now=theirs.state.head.time_ms + after_ms)
    ours.execute(block)
    theirs.execute(block)


def following(theirs: Ledger) -> Block:
    return propose(theirs, now=theirs.state.head.time_ms + 1)


def test_a_transaction_is_relayed_after_a_second_and_complained_of_after_five() -> None:
    world, ours, theirs = setting()
    signed = pay(world)
    assert ours.submit(signed) is None
    assert ours.left_out(following(theirs)) is None  # nobody had a chance yet
    step(ours, theirs, after_ms=60_000)
    assert ours.neglected(stalled=False) == []
    assert ours.left_out(following(theirs)) is None
    for passed in range(1_000, COMPLAINT_MS, 1_000):
        step(ours, theirs)
        assert ours.neglected(stalled=False) == ([signed] if passed >= RELAY_MS else [])
        assert ours.left_out(following(theirs)) is None
    step(ours, theirs)
    assert ours.left_out(following(theirs)) == signed.digest
    assert theirs.submit(signed) is None
    assert ours.left_out(following(theirs)) is None


def test_the_clock_begins_again_for_a_senders_next_transaction() -> None:
    world, ours, theirs = setting()
    for nonce in range(2):
        assert ours.submit(pay(world, nonce)) is None
    for _ in range(5):
        step(ours, theirs)
    assert theirs.submit(pay(world)) is None
    step(ours, theirs)
    assert ours.neglected(stalled=False) == []
    step(ours, theirs)
    assert ours.neglected(stalled=False) == [pay(world, 1)]
    assert ours.left_out(following(theirs)) is None


def test_another_transaction_with_the_same_nonce_serves_its_sender() -> None:
    world, ours, theirs = setting()
    assert ours.submit(pay(world)) is None
    for _ in range(7):
        step(ours, theirs)
    assert theirs.submit(pay(world, fee=11)) is None
    assert ours.left_out(following(theirs)) is None


def test_what_waits_for_an_earlier_nonce_or_can_not_pay_is_nobodys_fault() -> None:
    world, ours, theirs = setting()
    assert ours.submit(pay(world, 1)) is None
    for _ in range(20):
        step(ours, theirs)
    assert ours.neglected(stalled=False) == []
    assert ours.left_out(following(theirs)) is None


def test_a_full_block_leaves_nobody_out() -> None:
    world = World()
    world.state = State(world.chain, replace(world.genesis.parameters, block_transactions=9), world.state.tree)
    ours, theirs = ledger_of(world), ledger_of(world)
    signed = pay(world)
    assert ours.submit(signed) is None
    for _ in range(7):
        step(ours, theirs)
    spare = following(theirs)
    many = tuple(pay(world, nonce, fee=99) for nonce in range(1, 10))
    full = Block(replace(spare.header, transactions_root=transactions_root(many)), many)
    assert ours.left_out(spare) == signed.digest
    assert ours.left_out(full) is None


def test_who_leads_on_slow_lines_may_stop_at_so_many() -> None:
    world, ours, theirs = setting()
    signed = pay(world)
    assert ours.submit(signed) is None
    for _ in range(7):
        step(ours, theirs)
    spare = following(theirs)
    many = tuple(pay(world, nonce, fee=99) for nonce in range(1, limits.NARROW_TRANSACTIONS + 1))
    for count, left_out in ((limits.NARROW_TRANSACTIONS - 1, signed.digest), (limits.NARROW_TRANSACTIONS, None)):
        header = replace(spare.header, transactions_root=transactions_root(many[:count]))
        assert ours.left_out(Block(header, many[:count])) == left_out


def test_where_nothing_moves_whatever_is_ready_is_shown_to_others() -> None:
    world, ours, _ = setting()
    assert ours.submit(pay(world)) is None
    assert ours.neglected(stalled=True) == [pay(world)]
