"""A node of one process that makes its own certified blocks: real ledger, store, proofs and API, no consensus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from potminer.base.address import encode_address
from potminer.core.ledger.apply import RULES
from potminer.core.ledger.apply import Applied as Done
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.refusal import Refusal
from potminer.node.past import Past
from potminer.node.prover import Prover
from potminer.wire.answers import ChainStatus, HandedIn
from potminer.wire.block import Block, block_digest
from potminer.wire.codec import encode
from potminer.wire.control import AccountView, ReceiptView, Until
from potminer.wire.proof import Epochs, Headers, Shown
from potminer.wire.tx import SignedTransaction
from potminer.world.api.address import Address
from potminer.world.api.serve import ApiServer
from potminer.world.paths import locate
from potminer.world.store.chain import Applied
from potminer.world.store.store import Store
from tests.contract.api_rig import Rig
from tests.unit.light_world import Certified


class ChainNode(Rig):
    """*world* makes the blocks; several nodes may share one."""

    def __init__(self, folder: Path, world: Certified, store: Store) -> None:
        super().__init__(folder)
        self.world = world
        self.ledger = Ledger(world.states[0], head=world.chain)
        self.past = Past(world.states[0])
        self.store = store
        self.submitted: asyncio.Queue[SignedTransaction] = asyncio.Queue()
        self.prover = Prover(world.genesis, self.ledger, self.past, store, self._take, dict, lambda: world.now)

    def _take(self, transactions: Sequence[SignedTransaction]) -> list[Refusal | None]:
        for signed in transactions:
            self.submitted.put_nowait(signed)
        return [self.ledger.submit(signed) for signed in transactions]

    async def begin(self) -> None:
        start = self.world.states[0]
        changes = tuple(start.items())
        await self.store.append(
            Applied(0, self.world.chain, start.root, start.head.time_ms, b"", b"", changes, rules=RULES)
        )

    async def follow(self, block: Block) -> None:
        """Execute and store *block*, which the world has certified."""
        header = self.world.headers[block.header.height - 1]
        applied = self.world.as_calibrated(self.ledger.execute(block))
        self.ledger.state = applied.state
        self.executed(applied)
        proofs = self.past.follow(applied, header)
        await self.store.append(
            Applied(
                block.header.height, block_digest(block.header), applied.state.root, block.header.time_ms,
                encode(block), encode(header.certificate), applied.changes,
                tuple((r.transaction, r.index, r.refusal or "", "") for r in applied.receipts), proofs=proofs,
            )
        )  # fmt: skip
        self.prover.changed()

    def executed(self, applied: Done) -> None:
        """For nodes that keep books."""

    async def step(self, *nodes: ChainNode) -> None:
        """One block of what waits here, for this node and *nodes*."""
        waiting = tuple(self.ledger.mempool.ready(self.ledger.state))
        block = self.world.add_signed(*waiting)
        for node in (self, *nodes):
            await node.follow(block)

    # ---- the Backend ----------------------------------------------------------------------

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        return await self.prover.submit(transaction, wait_ms=wait_ms, until=until)

    async def submit_all(self, transactions: Sequence[SignedTransaction]) -> HandedIn:
        return await self.prover.submit_all(transactions)

    async def receipt(self, transaction: bytes, *, wait_ms: int, until: Until) -> ReceiptView | None:
        return await self.prover.receipt(transaction, wait_ms=wait_ms, until=until)

    async def account(self, key: bytes) -> AccountView:
        state = self.ledger.state
        return AccountView(
            address=encode_address(key), balance=state.account(key).balance, pending=0, bond=0,
            nonce=self.ledger.mempool.next_nonce(key, state), height=state.head.height,
        )  # fmt: skip

    async def genesis(self) -> bytes:
        return await self.prover.genesis()

    async def chain(self) -> ChainStatus:
        return await self.prover.chain()

    async def headers(self, first: int, count: int) -> Headers:
        return await self.prover.headers(first, count)

    async def epochs(self, first: int, count: int) -> Epochs:
        return await self.prover.epochs(first, count)

    async def model(self, task: bytes, round: int) -> Shown | None:
        return await self.prover.model(task, round)

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        return await self.prover.show(keys, height)


@asynccontextmanager
async def chain_nodes(
    folder: Path, *kinds: type[ChainNode], epoch_blocks: int = 100
) -> AsyncIterator[tuple[Certified, list[tuple[ChainNode, Address]]]]:
    """A world, and a node of each of *kinds* (without any: one) behind its API."""
    world = Certified(epoch_blocks=epoch_blocks)
    made: list[tuple[ChainNode, Address]] = []
    async with AsyncExitStack() as stack:
        for index, kind in enumerate(kinds or (ChainNode,)):
            home = folder / f"node-{index}"
            home.mkdir()
            store = await stack.enter_async_context(Store.open(home / "potminer.sqlite"))
            node = kind(home, world, store)
            await node.begin()
            paths = locate({}, datadir=home, network="devnet")
            server = await ApiServer.open(node, paths, clock=lambda: world.now)
            stack.push_async_callback(server.close)
            made.append((node, server.address))
        yield world, made
