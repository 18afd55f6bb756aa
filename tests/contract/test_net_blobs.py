"""Blobs over real links: from several peers at once, past liars, across a restart."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from potminer.base.blobs import PIECE_BYTES, blob_id
from potminer.wire.blob import BlobHeld, BlobWanted, Piece, PieceWanted
from potminer.wire.codec import Wire
from potminer.world.net.blobs import BlobExchange
from potminer.world.net.fetch import PIPELINE, FetchPlan, FetchTimes
from potminer.world.store.blobs import BlobStore
from tests.contract.net_world import Node, join, node

DATA = random.Random(1).randbytes(8 * PIECE_BYTES + 77)
BLOB = blob_id(DATA)
QUICK = FetchTimes(late=0.5, spare=0.1, ask=0.05, ask_most=0.2)


@dataclass
class Peer:
    node: Node
    store: BlobStore
    exchange: BlobExchange
    blamed: list[tuple[bytes, str]]

    async def fetch(self, seconds: float = 20) -> bool:
        return await self.exchange.fetch(BLOB, max_bytes=len(DATA), timeout=seconds)


@asynccontextmanager
async def peer(
    name: str, folder: Path, *, says: Callable[[Wire], Wire] = lambda message: message
) -> AsyncIterator[Peer]:
    """A node with a blob exchange; *says* lets a liar change what it says."""
    blamed: list[tuple[bytes, str]] = []
    store = BlobStore(folder / name)
    async with node(name) as here:
        network = here.network

        def penalize(key: bytes, offence: str) -> None:
            blamed.append((key, offence))
            network.ban(key, 60)

        async with BlobExchange(
            store,
            lambda key, message: network.send(key, says(message)),
            lambda: [info.key for info in network.peers()],
            penalize,
            times=QUICK,
        ) as exchange:
            here.heard.on_message = exchange.message
            here.heard.on_down = exchange.link_down
            yield Peer(here, store, exchange, blamed)


def corrupted(message: Wire) -> Wire:
    if isinstance(message, Piece) and message.data:
        return Piece(message.blob, message.index, bytes([message.data[0] ^ 1]) + message.data[1:], message.siblings)
    return message


def oversold(message: Wire) -> Wire:
    return BlobHeld(message.blob, message.size - 1) if isinstance(message, BlobHeld) else message


async def test_a_blob_comes_from_several_peers_and_the_corrupt_one_is_blamed(tmp_path: Path) -> None:
    async with (
        peer("one", tmp_path) as one,
        peer("two", tmp_path) as two,
        peer("liar", tmp_path, says=corrupted) as liar,
        peer("fetcher", tmp_path) as fetcher,
    ):
        for holder in (one, two, liar):
            holder.store.put(DATA)
            await join(fetcher.node, holder.node)
        assert await fetcher.fetch()
        assert fetcher.store.read(BLOB, len(DATA)) == DATA
        assert {key for key, _ in fetcher.blamed} <= {liar.node.key}
        assert all(offence == "forged" for _, offence in fetcher.blamed)
        assert all(holder.node.network.traffic().total_sent > PIECE_BYTES for holder in (one, two))


RANGES = ((0, 32), (PIECE_BYTES - 5, PIECE_BYTES + 7), (3 * PIECE_BYTES, 3 * PIECE_BYTES), (len(DATA) - 9, len(DATA)))
CUT = b"".join(DATA[first:last] for first, last in RANGES)


async def excerpt(fetcher: Peer, *, size: int = len(DATA), seconds: float = 20) -> bytes | None:
    return await fetcher.exchange.excerpt(BLOB, size=size, ranges=RANGES, timeout=seconds)


async def test_an_excerpt_takes_only_the_pieces_it_lies_in_past_a_liar(tmp_path: Path) -> None:
    async with (
        peer("one", tmp_path) as one,
        peer("liar", tmp_path, says=corrupted) as liar,
        peer("fetcher", tmp_path) as fetcher,
    ):
        for holder in (liar, one):
            holder.store.put(DATA)
            await join(fetcher.node, holder.node)
        found = await asyncio.gather(excerpt(fetcher), excerpt(fetcher))
        assert found == [blob_id(CUT)] * 2
        assert fetcher.store.read(blob_id(CUT), len(CUT)) == CUT
        assert one.node.network.traffic().total_sent < 7 * PIECE_BYTES, "twice the pieces 0, 1 and 8, of nine"
        assert {key for key, _ in fetcher.blamed} <= {liar.node.key}
        assert not list((tmp_path / "fetcher" / "aside").iterdir())


async def test_a_disk_that_takes_no_excerpt_is_an_answer(tmp_path: Path) -> None:
    async with peer("fetcher", tmp_path) as fetcher:
        fetcher.store.put(DATA)
        (tmp_path / "fetcher" / "aside").rmdir()
        assert await excerpt(fetcher) is None


async def test_an_excerpt_of_a_blob_that_is_here_or_nowhere_or_of_another_size(tmp_path: Path) -> None:
    async with peer("one", tmp_path) as one, peer("fetcher", tmp_path) as fetcher:
        await join(fetcher.node, one.node)
        assert await excerpt(fetcher, seconds=0.3) is None
        one.store.put(DATA)
        assert await excerpt(fetcher, size=len(DATA) + PIECE_BYTES, seconds=0.3) is None
        fetcher.store.put(DATA)
        assert await excerpt(fetcher) == blob_id(CUT)
        assert not fetcher.blamed
        assert not list((tmp_path / "fetcher" / "aside").iterdir())


@pytest.mark.parametrize("lie", [corrupted, oversold])
async def test_a_lone_liar_is_blamed_and_an_honest_latecomer_serves(
    tmp_path: Path, lie: Callable[[Wire], Wire]
) -> None:
    async with (
        peer("liar", tmp_path, says=lie) as liar,
        peer("late", tmp_path) as late,
        peer("fetcher", tmp_path) as fetcher,
    ):
        liar.store.put(DATA)
        await join(fetcher.node, liar.node)
        fetching = asyncio.create_task(fetcher.fetch())
        await fetcher.node.heard.until(lambda: bool(fetcher.blamed))
        await join(fetcher.node, late.node)
        late.store.put(DATA)
        assert await fetching
        assert fetcher.blamed == [(liar.node.key, "forged")]


async def test_a_restarted_fetcher_takes_only_what_is_missing(tmp_path: Path) -> None:
    async with peer("holder", tmp_path) as holder:
        holder.store.put(DATA)
        async with AsyncExitStack() as stack:
            fetcher = await stack.enter_async_context(peer("fetcher", tmp_path))
            await join(fetcher.node, holder.node)
            fetching = asyncio.create_task(fetcher.fetch())
            pieces = lambda: sum(isinstance(m, Piece) for _, m in fetcher.node.heard.messages)  # noqa: E731
            await fetcher.node.heard.until(lambda: pieces() >= 5)
            fetching.cancel()
            await asyncio.wait([fetching])
        assert not BlobStore(tmp_path / "fetcher").has(BLOB)
        async with peer("fetcher", tmp_path) as fetcher:
            await join(fetcher.node, holder.node)
            assert await fetcher.fetch()
            taken = [m.index for _, m in fetcher.node.heard.messages if isinstance(m, Piece)]
            assert 0 < len(taken) < 9
            assert fetcher.store.read(BLOB, len(DATA)) == DATA


async def test_two_callers_share_one_fetch(tmp_path: Path) -> None:
    async with peer("holder", tmp_path) as holder, peer("fetcher", tmp_path) as fetcher:
        holder.store.put(DATA)
        await join(fetcher.node, holder.node)
        assert await asyncio.gather(fetcher.fetch(), fetcher.fetch()) == [True, True]
        wanted = [m for _, m in holder.node.heard.messages if isinstance(m, PieceWanted)]
        assert len(wanted) == 9


async def test_what_nobody_has_or_what_is_too_large_is_not_fetched(tmp_path: Path) -> None:
    async with peer("holder", tmp_path) as holder, peer("fetcher", tmp_path) as fetcher:
        await join(fetcher.node, holder.node)
        assert not await fetcher.fetch(0.3)
        holder.store.put(DATA)
        assert not await fetcher.exchange.fetch(BLOB, max_bytes=len(DATA) - 1, timeout=0.3)
        assert not any(isinstance(m, Piece) for _, m in fetcher.node.heard.messages)
        assert await fetcher.fetch()
        assert await fetcher.exchange.fetch(BLOB, max_bytes=len(DATA), timeout=0)


async def test_a_holder_that_vanishes_is_replaced(tmp_path: Path) -> None:
    async with peer("holder", tmp_path) as holder, peer("fetcher", tmp_path) as fetcher:
        holder.store.put(DATA)
        async with peer("other", tmp_path) as other:
            other.store.put(DATA)
            await join(fetcher.node, other.node)
            fetching = asyncio.create_task(fetcher.fetch())
            await fetcher.node.heard.until(lambda: any(isinstance(m, Piece) for _, m in fetcher.node.heard.messages))
        await join(fetcher.node, holder.node)
        assert await fetching
        assert not fetcher.blamed


async def test_the_empty_blob(tmp_path: Path) -> None:
    async with peer("holder", tmp_path) as holder, peer("fetcher", tmp_path) as fetcher:
        blob = holder.store.put(b"")
        await join(fetcher.node, holder.node)
        assert await fetcher.exchange.fetch(blob, max_bytes=0, timeout=10)
        assert fetcher.store.read(blob, 0) == b""


async def test_requests_beyond_the_bound_are_not_served(tmp_path: Path) -> None:
    said: list[Wire] = []
    other_served = asyncio.Event()

    def say(key: bytes, message: Wire) -> bool:
        said.append(message)
        if key == b"q":
            other_served.set()
        return True

    store = BlobStore(tmp_path)
    store.put(DATA)
    async with BlobExchange(store, say, list, lambda key, offence: None) as exchange:
        for _ in range(1_000):
            exchange.message(b"p", PieceWanted(BLOB, 0))
        exchange.message(b"p", BlobWanted(BLOB))
        exchange.message(b"q", PieceWanted(BLOB, 1))
        async with asyncio.timeout(20):
            await other_served.wait()
        assert len(said) <= 18
        assert said[0] == BlobHeld(BLOB, len(DATA))


def test_silent_claimants_lose_to_the_ones_that_deliver() -> None:
    load: Counter[bytes] = Counter()
    plan = FetchPlan(load, FetchTimes(late=10, spare=2), 2**30)
    plan.held(b"silent", 5)
    plan.held(b"honest", 3 * PIECE_BYTES)
    assert plan.next_ask(0) == (b"silent", 0)
    assert plan.next_ask(0) is None
    plan.expire(10)
    assert plan.next_ask(10) == (b"honest", 0)
    assert plan.arrived(b"honest", 0) == 3 * PIECE_BYTES
    assert plan.arrived(b"honest", 0) is None
    plan.prove(3 * PIECE_BYTES, {1, 2})
    assert [plan.next_ask(11) for _ in range(3)] == [(b"honest", 1), (b"honest", 2), None]
    plan.held(b"second", 3 * PIECE_BYTES)
    plan.held(b"silent", 5)
    assert plan.next_ask(11) is None
    assert plan.next_ask(13) == (b"second", 1)
    assert plan.arrived(b"silent", 0) == 5
    plan.gone(b"honest")
    plan.close()
    assert load.total() == 0


def test_a_fetch_asks_within_its_pipeline_and_asks_again_ever_less_often() -> None:
    plan = FetchPlan(Counter(), FetchTimes(ask=1, ask_most=4), 2**40)
    assert [plan.to_ask_whether([b"p"], now) for now in (0, 0.5, 1, 2, 3, 6.9, 7, 11)] == [
        [b"p"], [], [b"p"], [], [b"p"], [], [b"p"], [b"p"]
    ]  # fmt: skip
    plan.held(b"p", 100 * PIECE_BYTES)
    assert plan.to_ask_whether([b"p"], 50) == []
    plan.prove(100 * PIECE_BYTES, set(range(100)))
    asked = [plan.next_ask(50) for _ in range(PIPELINE + 1)]
    assert asked == [*((b"p", index) for index in range(PIPELINE)), None]
