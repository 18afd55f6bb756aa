"""What a node gives a client over its API, checked by the client alone."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path

import pytest

from potminer.base import limits
from potminer.base.errors import NotPermitted, Unreachable, UsageError
from potminer.core.light.flaw import Flaw
from potminer.core.light.header import follow
from potminer.core.light.shown import Fate, facts, fate
from potminer.core.light.trust import Terms, from_genesis
from potminer.node.courier import proof_of
from potminer.node.follower import Follower, anchored
from potminer.node.past import HEADER, MODELS, OUTCOMES, Past
from potminer.node.prover import Prover
from potminer.wire import record as records
from potminer.wire.block import block_digest
from potminer.wire.codec import decode
from potminer.wire.control import ReceiptStatus, ReceiptView, Until
from potminer.wire.proof import TransactionProof
from potminer.wire.record import Account
from potminer.wire.tx import AggregateResult, Transfer, Unbond, transaction_digest
from potminer.world.api.attach import Client, NotFound
from tests.contract.chain_node import chain_nodes
from tests.unit.ledger_world import key
from tests.unit.light_world import Certified

TO = key("ann").public


def checked(world: Certified, view: ReceiptView) -> Fate | Flaw:
    proof = decode(TransactionProof, b64decode(view.proof), max_bytes=1 << 20)
    return fate(proof, world.trust, Terms(), now_ms=world.now)


async def test_one_reply_to_a_transaction_proves_it_and_the_next_block_its_outcome(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]), Client(address) as client:
        signed = world.sign("rich", Unbond(1))
        asking = asyncio.create_task(client.post(signed, wait_ms=10_000))
        await node.submitted.get()
        await node.step()
        first = await asking
        assert (first.status, first.proven, first.height) == (ReceiptStatus.REFUSED, Until.INCLUDED, 1)
        told = checked(world, first)
        assert isinstance(told, Fate)
        assert (told.height, told.decided) == (1, False)
        name = transaction_digest(signed.transaction).hex()
        asking = asyncio.create_task(client.receipt(name, wait_ms=10_000, until=Until.DECIDED))
        await node.step()
        told = checked(world, await asking)
        assert isinstance(told, Fate)
        assert (told.decided, told.refusal) == (True, "not-registered")


async def test_who_does_not_have_the_block_never_says_that_no_money_moved(tmp_path: Path) -> None:
    """After a leap, or when receipts went with their blocks, the same bytes again are neither done nor refused."""
    async with chain_nodes(tmp_path) as (world, [(node, address)]), Client(address) as client:
        signed = world.sign("rich", Transfer(TO, 5))
        await client.post(signed)
        await node.step()
        for _ in range(2):
            await node.step()
        while await node.store.prune(3, 9, OUTCOMES):
            pass
        await node.store.forget(3, HEADER, MODELS, 9)
        fresh = Prover(
            world.genesis, node.ledger, Past(node.ledger.state), node.store, node._take, dict, lambda: world.now
        )
        with pytest.raises(Unreachable, match="blocks 1 to 2 are not here") as told:
            await fresh.submit(signed, wait_ms=0, until=Until.DECIDED)
        assert "no money moved" not in told.value.hint
        early = world.sign("poor", Transfer(TO, 5))
        with pytest.raises(NotPermitted, match="is refused"):
            await fresh.submit(early, wait_ms=0, until=Until.DECIDED)
        assert await fresh.receipt(signed.digest, wait_ms=0, until=Until.DECIDED) is None
        with pytest.raises(NotFound) as unknown:
            await client.receipt("ab" * 32)
        assert "a validator that keeps all" in unknown.value.hint


async def test_without_patience_the_answer_is_pending(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]), Client(address) as client:
        signed = world.sign("rich", Transfer(TO, 5))
        for wait_ms in (0, 20):
            view = await client.post(signed, wait_ms=wait_ms)
            assert (view.status, view.proven, view.proof) == (ReceiptStatus.WAITING, None, "")
        assert len(node.ledger.mempool) == 1


async def test_the_same_bytes_again_are_answered_the_same_and_never_done_twice(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]), Client(address) as client:
        signed = world.sign("rich", Transfer(TO, 5))
        await asyncio.gather(*(client.post(signed) for _ in range(3)))
        await node.step()
        await node.step()
        answers = [await client.post(signed, until=Until.DECIDED) for _ in range(3)]
        answers.append(await client.receipt(transaction_digest(signed.transaction).hex()))
        assert len(set(answers)) == 1
        told = checked(world, answers[0])
        assert isinstance(told, Fate)
        assert (told.height, told.decided, told.refusal) == (1, True, None)
        await node.step()
        assert node.ledger.state.account(TO).balance == 5
        with pytest.raises(NotPermitted, match="bad-nonce"):
            await client.post(world.sign("rich", Transfer(TO, 6), nonce=0))


async def test_of_a_batch_each_is_taken_or_refused_by_itself(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]), Client(address) as client:
        old = world.sign("rich", Transfer(TO, 5))
        await client.post(old)
        await node.step()
        await node.step()  # what the last block held may not be stored yet; now the store has to be asked
        batch = [
            old,
            world.sign("rich", Transfer(TO, 6), nonce=0),
            *(world.sign("rich", Transfer(TO, nonce), nonce=nonce) for nonce in range(1, 40)),
        ]
        handed = (await client.submit_all(batch)).transactions
        assert [each.transaction for each in handed] == [signed.digest.hex() for signed in batch]
        assert [each.refusal for each in handed] == [None, "bad-nonce", *[None] * 39]
        await node.step()
        assert node.ledger.state.account(TO).balance == 5 + sum(range(1, 40))


async def test_blocks_that_are_asked_about_are_kept_within_a_bound_of_transactions(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, _)]):
        names = []
        for height in range(5):
            batch = [world.sign("rich", Transfer(TO, 1), nonce=2 * height + more) for more in (0, 1)]
            assert [node.ledger.submit(signed) for signed in batch] == [None, None]
            names += [signed.digest for signed in batch]
            await node.step()
        prover = Prover(
            world.genesis, node.ledger, node.past, node.store, lambda some: [None] * len(some), dict,
            lambda: world.now, listed=5,
        )  # fmt: skip
        for name in [*names, *names]:
            view = await prover.receipt(name, wait_ms=0, until=Until.INCLUDED)
            assert view is not None
            assert isinstance(checked(world, view), Fate)
            assert sum(len(each.leaves) for each in prover._listed.values()) <= 5
        assert len(prover._listed) == 2


async def test_a_node_serves_what_a_light_client_follows(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]), Client(address) as client:
        ann = records.account_key(TO)
        with pytest.raises(Unreachable, match="before the next block"):
            await client.show([ann])
        for amount in range(1, 80):
            await client.submit(world.sign("rich", Transfer(TO, amount)))
            await node.step()
        trust = from_genesis(await client.genesis())
        assert trust == world.trust
        status = await client.chain()
        assert (status.height, status.provable_first, status.provable_last) == (79, 15, 78)
        headers = (await client.headers(10, 64)).headers
        assert [each.header.height for each in headers] == list(range(10, 74))
        assert (await client.headers(80, 64)).headers == ()
        moved = follow(trust, headers[-1], Terms(), now_ms=world.now)
        assert not isinstance(moved, Flaw)
        shown = facts(await client.show([ann, b"none"]), [ann, b"none"], moved, Terms(), now_ms=world.now)
        assert not isinstance(shown, Flaw)
        assert [(fact.height, fact.value is None) for fact in shown] == [(78, False), (78, True)]
        assert shown[0].record(Account) == Account(sum(range(1, 79)))
        earlier = facts(await client.show([ann], height=15), [ann], trust, Terms(), now_ms=world.now)
        assert not isinstance(earlier, Flaw)
        assert earlier[0].record(Account) == Account(sum(range(1, 16)))
        for height in (14, 79, 10**9):
            with pytest.raises(UsageError, match="cannot be proven"):
                await client.show([ann], height=height)


async def test_a_block_far_larger_than_its_proposal_is_proven_too(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]), Client(address) as client:
        slots = tuple(range(60_000, 60_000 + limits.UNITS_PER_ROUND))
        many = [world.sign("rich", AggregateResult(TO, 0, 0, TO, slots), nonce=nonce) for nonce in range(30)]
        assert sum(len(signed.encoded) for signed in many) > limits.PROPOSAL_BYTES
        for signed in many:
            assert node.ledger.submit(signed) is None
        await node.step()
        await node.step()
        told = checked(world, await client.receipt(many[-1].digest.hex(), until=Until.DECIDED))
        assert isinstance(told, Fate)
        assert (told.height, told.refusal) == (1, "unknown-task")
        assert len((await client.headers(1, 2)).headers) == 2


async def test_a_follower_crosses_the_epochs_of_a_real_ledger_from_genesis_or_anchor(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path, epoch_blocks=5) as (world, [(node, address)]), Client(address) as client:
        signed = world.sign("rich", Transfer(TO, 5))
        node.ledger.submit(signed)
        for _ in range(73):
            await node.step()
        genesis = await client.genesis()
        follower = Follower(from_genesis(genesis), Terms(), clock=lambda: world.now)
        trust = await follower.catch_up(client)
        assert (trust.height, trust.digest, trust.newest_epoch) == (73, world.head, 15), "the next one too"
        (fact,) = await follower.facts(client, [records.account_key(TO)])
        assert (fact.height, fact.record(Account)) == (72, Account(5))
        view = await client.receipt(transaction_digest(signed.transaction).hex())
        fate = await follower.fate(client, proof_of(view), transaction_digest(signed.transaction))
        assert (fate.height, fate.decided) == (1, True)
        steps = (await client.epochs(0, 64)).steps
        assert [each.certified.header.height for each in steps] == [*range(5, 75, 5), 73]
        for height in (10, 72):
            anchor = block_digest(world.blocks[height - 1].header)
            begun = await anchored(client, genesis, height=height, digest=anchor)
            assert (await Follower(begun, Terms(), clock=lambda: world.now).catch_up(client)).digest == world.head
        await node.step()
        await node.step()
        late = Follower(from_genesis(genesis), Terms(), clock=lambda: world.now)
        (fact,) = await late.facts(client, [records.account_key(TO)])
        assert fact.height == 74
