"""Signatures in certified blocks: who must check all of them, who relies on a quorum, and who notices a false one."""

from __future__ import annotations

import pytest

from potminer.base.digest import Domain, digest
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.vouched import SPOT, spot_checks
from potminer.wire.block import block_digest
from potminer.wire.tx import SignedTransaction, Transfer
from tests.unit.ledger_world import World, key

TO = key("receiver").public


def secret(number: int) -> bytes:
    return digest(Domain.DRAW, b"follower", number.to_bytes(8, "big"))


def with_a_false_one(world: World, *, count: int = 3, at: int = 1) -> tuple[SignedTransaction, ...]:
    """Transfers of "rich", of which number *at* is signed by nobody."""
    honest = [world.sign("rich", Transfer(TO, 5 + serial)) for serial in range(count)]
    return tuple(
        SignedTransaction(each.transaction, bytes(64)) if serial == at else each for serial, each in enumerate(honest)
    )


def test_no_member_votes_for_a_block_with_a_false_signature_wherever_it_stands() -> None:
    for at in range(3):
        world = World()
        ledger = Ledger(world.state, head=world.head)
        block = world.block(*with_a_false_one(world, at=at))
        refusal = ledger.refusal(block, fresh=True, now=block.header.time_ms)
        assert refusal == f"transaction {at}: bad-signature"
        with pytest.raises(AssertionError, match="does not apply: transaction"):
            ledger.execute(block)


def test_a_transaction_that_waits_here_lends_its_good_name_to_no_other_bytes() -> None:
    world = World()
    ledger = Ledger(world.state, head=world.head)
    honest = world.sign("rich", Transfer(TO, 5))
    assert ledger.submit(honest) is None
    block = world.block(SignedTransaction(honest.transaction, bytes(64)))
    assert ledger.refusal(block, fresh=True, now=block.header.time_ms) == "transaction 0: bad-signature"


def test_who_follows_comes_to_the_very_state_that_members_come_to() -> None:
    world = World()
    block = world.block(*(world.sign("rich", Transfer(TO, 5 + serial)) for serial in range(40)))
    member = Ledger(world.state, head=world.head)
    follower = Ledger(world.state, head=world.head, follows=secret(0))
    assert follower.execute(block) == member.execute(block)
    assert (follower.state.root, follower.head) == (member.state.root, member.head)


def test_who_follows_looks_at_one_in_so_many_and_nobody_else_knows_which() -> None:
    world = World()
    block = world.block(*with_a_false_one(world, count=1, at=0))
    noticed = 0
    for number in range(4 * SPOT):
        try:
            Ledger(world.state, head=world.head, follows=secret(number)).execute(block)
        except AssertionError:
            noticed += 1
    assert 1 <= noticed <= 16, "of 128 followers four notice it in the mean"


def test_in_every_row_of_neighbours_exactly_one_is_looked_at() -> None:
    world = World()
    bad = SignedTransaction(world.sign("rich", Transfer(TO, 5)).transaction, bytes(64))
    starts = set()
    for number in range(200):
        holds = spot_checks(secret(1), number.to_bytes(32, "big"))
        seen = [holds(bad) for _ in range(3 * SPOT)]
        first = seen.index(False)
        assert [at for at, held in enumerate(seen) if not held] == [first, first + SPOT, first + 2 * SPOT]
        starts.add(first)
    assert len(starts) > SPOT // 2, "another place in every block"


def test_who_did_not_check_all_is_never_asked_for_its_vote() -> None:
    world = World()
    block = world.block()
    follower = Ledger(world.state, head=world.head, follows=secret(0))
    with pytest.raises(AssertionError, match="does not vote"):
        follower.refusal(block, fresh=True, now=block.header.time_ms)
    follower.execute(block)
    assert follower.head == block_digest(block.header)
