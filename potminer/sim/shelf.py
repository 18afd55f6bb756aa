"""What a citizen's store holds of the chain, and how its process reaches it: written whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from potminer.core.ledger.state import genesis_state
from potminer.core.pbft.application import Head
from potminer.node.engine import StoredBlock
from potminer.wire.block import Block
from potminer.wire.codec import decode
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.leap import CHUNK_MESSAGE_BYTES, Items
from potminer.wire.tx import transaction_digest
from potminer.world.store.snapshots import KEPT, Landing, Snapshot


class Shelf:
    """Blocks above *base*, the ledger after them, the head, snapshots and proofs."""

    def __init__(self, genesis: Genesis) -> None:
        self.start = genesis_state(genesis, chain=chain_id(genesis))
        self.head = Head(0, chain_id(genesis), genesis.time_ms, self.start.root)
        self.ledger = dict(self.start.items())
        self.base = 0
        self.blocks: list[tuple[bytes, bytes]] = []
        self.executed: set[bytes] = set()
        self.proofs: dict[tuple[str, int], bytes] = {}
        self.chunks: dict[bytes, bytes] = {}
        self.own: dict[int, Snapshot] = {}
        self.target: Snapshot | None = None

    def append(self, stored: StoredBlock, block: Block) -> None:
        for key, value in stored.changes:
            if value is None:
                self.ledger.pop(key, None)
            else:
                self.ledger[key] = value
        self.blocks.append((stored.block, stored.certificate))
        self.executed.update(transaction_digest(each.transaction) for each in block.transactions)
        self.proofs.update({(kind, number): value for kind, number, value in stored.proofs})
        self.head = Head(stored.height, stored.digest, stored.time_ms, stored.state_root)

    def read(self, first: int, count: int, max_bytes: int) -> list[tuple[bytes, bytes]]:
        if first <= self.base:
            return []
        found: list[tuple[bytes, bytes]] = []
        room = max_bytes
        for pair in self.blocks[first - self.base - 1 : first - self.base - 1 + count]:
            room -= len(pair[0]) + len(pair[1])
            if found and room < 0:
                break
            found.append(pair)
        return found

    def keep(self, snapshot: Snapshot, empty: bytes) -> bool:
        if not all(digest in self.chunks or digest == empty for digest in snapshot.chunks()):
            return False
        self.own[snapshot.height] = snapshot
        for height in sorted(self.own)[:-KEPT]:
            del self.own[height]
        named = {digest for each in self.own.values() for digest in each.chunks()}
        named.update(() if self.target is None else self.target.chunks())
        self.chunks = {digest: body for digest, body in self.chunks.items() if digest in named}
        return True

    def land(self, landing: Landing, empty: bytes) -> None:
        snapshot = landing.snapshot
        bodies = [self.chunks[digest] for digest in snapshot.chunks() if digest != empty]
        self.ledger = {k: v for body in bodies for k, v in decode(Items, body, max_bytes=CHUNK_MESSAGE_BYTES)}
        self.base, self.blocks = snapshot.height, []
        self.head = Head(snapshot.height, landing.digest, landing.time_ms, landing.state_root)
        self.proofs.update({(kind, number): value for kind, number, value in landing.proofs})
        self.target = None
        self.keep(snapshot, empty)

    def prune(self, below: int, most: int) -> int:
        gone = max(0, min(below - 1 - self.base, most, len(self.blocks)))
        self.base, self.blocks = self.base + gone, self.blocks[gone:]
        return gone


class Drawer:
    """A process's hold on its shelf: the part of the store that snapshots need. *write* takes as long as a commit, and
    ends the process's work where it died meanwhile; *landed* is told."""

    def __init__(
        self, shelf: Shelf, write: Callable[[], Awaitable[None]], landed: Callable[[Landing], None]
    ) -> None:
        self._shelf, self._write, self._landed = shelf, write, landed

    async def keep_chunk(self, digest: bytes, body: bytes) -> None:
        await self._write()
        self._shelf.chunks[digest] = body

    async def keep_snapshot(self, snapshot: Snapshot, empty: bytes) -> bool:
        await self._write()
        return self._shelf.keep(snapshot, empty)

    async def snapshots(self) -> list[Snapshot]:
        await asyncio.sleep(0)
        return [self._shelf.own[height] for height in sorted(self._shelf.own)]

    async def chunk(self, digest: bytes) -> bytes | None:
        await asyncio.sleep(0)
        return self._shelf.chunks.get(digest)

    async def aim(self, snapshot: Snapshot) -> None:
        await self._write()
        self._shelf.target = snapshot

    async def give_up(self) -> None:
        await self._write()
        self._shelf.target = None

    async def target(self) -> tuple[Snapshot, dict[bytes, bytes]] | None:
        return self.found()

    def found(self) -> tuple[Snapshot, dict[bytes, bytes]] | None:
        target, chunks = self._shelf.target, self._shelf.chunks
        return None if target is None else (target, {d: chunks[d] for d in target.chunks() if d in chunks})

    async def land(self, landing: Landing, empty: bytes) -> None:
        await self._write()
        self._shelf.land(landing, empty)
        self._landed(landing)

    async def lowest(self) -> int:
        await asyncio.sleep(0)
        return self._shelf.base + 1

    async def prune(self, below: int, most: int, outcomes: str) -> int:
        await self._write()
        return self._shelf.prune(below, most)

    async def forget(self, below: int, headers: str, series: str, most: int) -> None:
        """Receipts: a shelf keeps none."""
        await self._write()

    async def proof(self, kind: str, number: int) -> bytes | None:
        await asyncio.sleep(0)
        return self._shelf.proofs.get((kind, number))
