"""Transactions brought in and proven over real sockets, past validators that are dead, silent, unwilling or lying."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from potminer.base.errors import NotPermitted, NotProven, PotminerError, Unreachable
from potminer.core.light.trust import Terms
from potminer.node.courier import Courier
from potminer.node.follower import Follower
from potminer.wire.codec import decode, encode
from potminer.wire.control import ReceiptView, Until
from potminer.wire.proof import TransactionProof
from potminer.wire.tx import SignedTransaction, Transfer, Unbond
from potminer.world.api.address import Address, UnixAddress
from tests.contract.chain_node import ChainNode, chain_nodes
from tests.unit.ledger_world import key
from tests.unit.light_world import Certified

TO = key("ann").public


def courier(world: Certified, *addresses: Address, retry_s: float = 0.05) -> Courier:
    return Courier(addresses, Follower(world.trust, Terms(), clock=lambda: world.now), retry_s=retry_s)


@asynccontextmanager
async def blocks(maker: ChainNode, *others: ChainNode) -> AsyncIterator[None]:
    """A block for every transaction that is handed in, and another."""

    async def make() -> None:
        while True:
            for node in (maker, *others):
                if node is not maker:
                    while not node.submitted.empty():
                        maker.ledger.submit(node.submitted.get_nowait())
            if len(maker.ledger.mempool):
                await maker.step(*others)
                await maker.step(*others)
            await asyncio.sleep(0.01)

    making = asyncio.create_task(make())
    try:
        yield
    finally:
        making.cancel()
        [ended] = await asyncio.gather(making, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended


class Liar(ChainNode):
    """Shows proofs that are bent by ``bend``."""

    def bend(self, proof: TransactionProof) -> TransactionProof:
        raise NotImplementedError

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        return self._bent(await super().submit(transaction, wait_ms=wait_ms, until=until))

    async def receipt(self, transaction: bytes, *, wait_ms: int, until: Until) -> ReceiptView | None:
        view = await super().receipt(transaction, wait_ms=wait_ms, until=until)
        return None if view is None else self._bent(view)

    def _bent(self, view: ReceiptView) -> ReceiptView:
        if view.proven is None:
            return view
        proof = self.bend(decode(TransactionProof, b64decode(view.proof), max_bytes=1 << 20))
        return replace(view, proof=b64encode(encode(proof)).decode())


class Flatterer(Liar):
    """Says of what was refused that it was done."""

    def bend(self, proof: TransactionProof) -> TransactionProof:
        return proof if proof.outcome is None else replace(proof, outcome=replace(proof.outcome, refusal=None))


class Confuser(Liar):
    """Proves something that is true of another transaction."""

    def bend(self, proof: TransactionProof) -> TransactionProof:
        return self.world.proof(1, 0, after=2)


class Loner(Liar):
    """Signs alone for everybody."""

    def bend(self, proof: TransactionProof) -> TransactionProof:
        certificate = proof.included.certificate
        alone = replace(certificate, signatures=certificate.signatures[:1])
        return replace(proof, included=replace(proof.included, certificate=alone))


class Babbler(ChainNode):
    """Claims a proof and sends none."""

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        view = await super().submit(transaction, wait_ms=0, until=until)
        return replace(view, proven=Until.DECIDED, proof="no proof")


class Unwilling(ChainNode):
    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        raise NotPermitted("the transaction is refused: pool-full")


class Pending(ChainNode):
    """Takes everything and never tells anybody."""

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        view = await super().submit(transaction, wait_ms=0, until=until)
        self.submitted.get_nowait()
        return view


async def test_one_honest_validator_is_enough(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]), blocks(node):
        for body, refusal in ((Transfer(TO, 5), None), (Unbond(1), "not-registered")):
            found = await courier(world, address).send(world.sign("rich", body))
            assert (found.fate.decided, found.fate.refusal, found.node, found.faults) == (True, refusal, address, {})
        quick = await courier(world, address).send(world.sign("rich", Transfer(TO, 5)), until=Until.INCLUDED)
        assert quick.fate.height == 5


@pytest.mark.parametrize("kind", [Flatterer, Confuser, Loner, Babbler])
async def test_a_liar_is_found_out_and_another_is_asked(tmp_path: Path, kind: type[ChainNode]) -> None:
    async with (
        chain_nodes(tmp_path, kind, ChainNode) as (world, [(liar, lies), (honest, truth)]),
        blocks(honest, liar),
    ):
        await courier(world, truth).send(world.sign("rich", Transfer(TO, 5)))
        found = await courier(world, lies, truth, retry_s=10).send(world.sign("rich", Unbond(1)))
        assert (found.fate.refusal, found.node) == ("not-registered", truth)
        assert [isinstance(fault, NotProven) for fault in found.faults.values()] == [True]
        with pytest.raises(NotProven):
            await courier(world, lies).send(world.sign("rich", Unbond(1)))


@pytest.mark.parametrize(("kind", "fault"), [(Unwilling, NotPermitted), (Pending, None)])
async def test_who_refuses_or_says_nothing_is_gone_around(
    tmp_path: Path, kind: type[ChainNode], fault: type[PotminerError] | None
) -> None:
    async with (
        chain_nodes(tmp_path, kind, ChainNode) as (world, [(_, first), (honest, second)]),
        blocks(honest),
    ):
        found = await courier(world, first, second).send(world.sign("rich", Transfer(TO, 5)))
        assert (found.node, found.fate.refusal) == (second, None)
        assert [type(each) for each in found.faults.values()] == ([] if fault is None else [fault])
        assert honest.ledger.state.account(TO).balance == 5


async def test_a_dead_and_a_silent_validator_cost_time_only(tmp_path: Path) -> None:
    silent = UnixAddress(tmp_path / "silent.sock")
    dead = UnixAddress(tmp_path / "dead.sock")
    hears: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hears.append(await reader.read(100))
        await reader.read()
        writer.close()

    server = await asyncio.start_unix_server(listen, silent.path)
    silent.path.chmod(0o600)
    async with (
        server,
        chain_nodes(tmp_path) as (world, [(node, address)]),
        blocks(node),
    ):
        found = await courier(world, dead, silent, address).send(world.sign("rich", Transfer(TO, 5)))
        assert (found.node, found.fate.refusal) == (address, None)
        assert [type(each) for each in found.faults.values()] == [Unreachable]
        assert hears
        assert hears[0].startswith(b"POST /v1/transactions")


async def test_nobody_left_is_said_with_the_gravest_reason(tmp_path: Path) -> None:
    dead = UnixAddress(tmp_path / "dead.sock")
    async with chain_nodes(tmp_path, Unwilling, Pending) as (world, [(_, unwilling), (_, pending)]):
        signed = world.sign("rich", Transfer(TO, 5))
        with pytest.raises(Unreachable):
            await courier(world, dead).send(signed)
        with pytest.raises(NotPermitted, match="pool-full"):
            await courier(world, dead, unwilling).send(signed)
        with pytest.raises(Unreachable, match="nobody proved the transaction"):
            await courier(world, pending).send(signed, within_s=0.3)


async def test_the_same_transaction_at_every_validator_is_done_once(tmp_path: Path) -> None:
    async with (
        chain_nodes(tmp_path, ChainNode, ChainNode, ChainNode) as (world, made),
        blocks(*(node for node, _ in made)),
    ):
        signed = world.sign("rich", Transfer(TO, 5))
        addresses = [address for _, address in made]
        carriers: list[Callable[[], Courier]] = [
            lambda order=order: courier(world, *order, retry_s=0)  # type: ignore[misc]
            for order in (addresses, addresses[::-1], addresses[1:])
        ]
        found = await asyncio.gather(*(carrier().send(signed) for carrier in carriers))
        assert len({each.fate for each in found}) == 1
        again = await courier(world, *addresses).send(signed)
        assert again.fate == found[0].fate
        assert made[0][0].ledger.state.account(TO).balance == 5
