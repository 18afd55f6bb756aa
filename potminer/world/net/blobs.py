"""Blobs between peers: asked of everybody, taken in pieces from several at once, served in turn.

A fetch trusts nobody: each piece is checked against the blob's id before it is kept, and a wrong
one is blamed on its sender. What a fetch collected stays on disk for the next one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from potminer.base.blobs import verify_piece
from potminer.wire.blob import BlobHeld, BlobMissing, BlobWanted, Piece, PieceWanted
from potminer.wire.codec import Wire
from potminer.world.net.fetch import IN_FLIGHT, FetchPlan, FetchTimes
from potminer.world.net.refusal import OffenceWord
from potminer.world.store.blobs import BlobStore, NoBlob, Partial, StoreFull
from potminer.world.store.excerpt import Excerpt, Span

SERVE_PER_PEER = 16
"""Piece requests of one peer that may wait; its pipeline is shorter."""
SERVERS = 2
TICK_S = 0.25


@dataclass(slots=True)
class _Fetch:
    """A blob under way and whoever waits for it."""

    blob: bytes
    plan: FetchPlan
    waiting: int = 0
    abandoned: bool = False
    inbox: deque[tuple[bytes, int, Piece]] = field(default_factory=deque)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class BlobExchange:
    """Use as ``async with``. *send* says whether a message was queued; *peers* are the keys linked
    now; *penalize* hears who sent a false piece."""

    def __init__(
        self,
        store: BlobStore,
        send: Callable[[bytes, Wire], bool],
        peers: Callable[[], Sequence[bytes]],
        penalize: Callable[[bytes, OffenceWord], None],
        *,
        times: FetchTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._send = send
        self._peers = peers
        self._penalize = penalize
        self._times = times or FetchTimes()
        self._clock = clock
        self._load: Counter[bytes] = Counter()
        self._fetches: dict[bytes, _Fetch] = {}
        self._cuts: dict[bytes, _Fetch] = {}
        """Excerpts under way, by the blob they are of."""
        self._requests: dict[bytes, deque[PieceWanted]] = {}
        self._asked_for = asyncio.Event()
        self._closing = False
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> BlobExchange:
        await self._group.__aenter__()
        for _ in range(SERVERS):
            self._group.create_task(self._serve())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._asked_for.set()
        for fetch in self._fetches.values():
            self._abandon(fetch)
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)

    # ---- what peers say ------------------------------------------------------------------

    def message(self, peer: bytes, message: Wire) -> None:
        """Handles a message of ``wire.blob``; others are ignored."""
        match message:
            case BlobWanted(blob):
                self._send(peer, self._holding(blob))
            case PieceWanted():
                self._queue(peer, message)
            case BlobHeld(blob, size):
                for fetch in self._of(blob):
                    fetch.plan.held(peer, size)
                    fetch.wake.set()
            case BlobMissing(blob):
                for fetch in self._of(blob):
                    fetch.plan.gone(peer)
                    fetch.wake.set()
            case Piece():
                self._receive(peer, message)

    def link_down(self, peer: bytes) -> None:
        self._requests.pop(peer, None)
        for fetch in (*self._fetches.values(), *self._cuts.values()):
            fetch.plan.gone(peer)
            fetch.wake.set()

    def _of(self, blob: bytes) -> list[_Fetch]:
        """The fetches of *blob* under way: of all of it, and of an excerpt."""
        return [fetches[blob] for fetches in (self._fetches, self._cuts) if blob in fetches]

    def _holding(self, blob: bytes) -> BlobHeld | BlobMissing:
        try:
            return BlobHeld(blob, self._store.size(blob))
        except NoBlob:
            return BlobMissing(blob)

    def _receive(self, peer: bytes, piece: Piece) -> None:
        """Keeps what was asked for; anything else was late or unwanted and costs nothing more."""
        for fetch in self._of(piece.blob):
            size = fetch.plan.arrived(peer, piece.index)
            if size is not None and not fetch.abandoned:
                fetch.inbox.append((peer, size, piece))
                fetch.wake.set()

    # ---- serving -------------------------------------------------------------------------

    def _queue(self, peer: bytes, wanted: PieceWanted) -> None:
        waiting = self._requests.setdefault(peer, deque())
        if len(waiting) < SERVE_PER_PEER:
            waiting.append(wanted)
            self._asked_for.set()

    async def _serve(self) -> None:
        """One piece of each peer in turn. Reading and hashing happen in a thread."""
        while not self._closing:
            if not self._requests:
                self._asked_for.clear()
                await self._asked_for.wait()
                continue
            peer = next(iter(self._requests))
            waiting = self._requests.pop(peer)
            wanted = waiting.popleft()
            if waiting:
                self._requests[peer] = waiting
            self._send(peer, await asyncio.to_thread(self._answer, wanted))

    def _answer(self, wanted: PieceWanted) -> Piece | BlobMissing:
        try:
            data, siblings = self._store.piece(wanted.blob, wanted.index)
        except (NoBlob, OSError):
            return BlobMissing(wanted.blob)
        return Piece(wanted.blob, wanted.index, data, tuple(siblings))

    # ---- fetching ------------------------------------------------------------------------

    async def fetch(self, blob: bytes, *, max_bytes: int, timeout: float) -> bool:  # noqa: ASYNC109
        """Whether *blob*, of at most *max_bytes*, is in the store within *timeout* seconds.

        Several callers share one fetch; it goes on while one of them waits.
        """
        try:
            async with asyncio.timeout(timeout):
                while not self._store.has(blob) and not self._closing:
                    if not await self._join(blob, max_bytes):
                        return False
        except TimeoutError:
            pass
        return self._store.has(blob) and self._store.size(blob) <= max_bytes

    async def excerpt(
        self, blob: bytes, *, size: int, ranges: Sequence[Span], timeout: float  # noqa: ASYNC109
    ) -> bytes | None:
        """The blob that *ranges* of *blob* have become within *timeout* seconds; None where its pieces are to be had
        from nobody, or our disk takes no more."""
        try:
            with await asyncio.to_thread(Excerpt, self._store, blob, size, ranges) as cut:
                async with asyncio.timeout(timeout):
                    if self._store.has(blob):
                        await asyncio.to_thread(cut.take)
                    while cut.missing and not self._closing:
                        await self._collect(cut)
                return await asyncio.to_thread(cut.finish) if not cut.missing else None
        except (TimeoutError, NoBlob, StoreFull, OSError):
            return None

    async def _collect(self, cut: Excerpt) -> None:
        """One excerpt of a blob after the other: their pieces come under the same name."""
        if cut.blob in self._cuts:
            await self._cuts[cut.blob].done.wait()
            return
        fetch = self._cuts[cut.blob] = _Fetch(cut.blob, FetchPlan(self._load, self._times, cut.size))
        fetch.plan.prove(cut.size, cut.missing)
        try:
            while cut.missing and not self._closing:
                self._ask(fetch)
                await _event_or_tick(fetch.wake)
                while fetch.inbox:
                    peer, _, piece = fetch.inbox.popleft()
                    wanted = piece.index in cut.missing
                    if wanted and not await asyncio.to_thread(cut.write, piece.index, piece.data, piece.siblings):
                        fetch.plan.lied(peer)
                        self._penalize(peer, "forged")
        finally:
            fetch.plan.close()
            del self._cuts[cut.blob]
            fetch.done.set()

    async def _join(self, blob: bytes, max_bytes: int) -> bool:
        """Waits for the fetch of *blob*; False where it failed for a reason of our own."""
        fetch = self._fetches.get(blob)
        if fetch is not None and fetch.abandoned:
            await fetch.done.wait()
            return True
        if fetch is None:
            fetch = _Fetch(blob, FetchPlan(self._load, self._times, max_bytes))
            self._fetches[blob] = fetch
            self._group.create_task(self._run(fetch))
        fetch.plan.max_bytes = max(fetch.plan.max_bytes, max_bytes)
        fetch.waiting += 1
        try:
            await fetch.done.wait()
        finally:
            fetch.waiting -= 1
            if not fetch.waiting:
                self._abandon(fetch)
        return self._store.has(blob)

    @staticmethod
    def _abandon(fetch: _Fetch) -> None:
        fetch.abandoned = True
        fetch.wake.set()

    async def _run(self, fetch: _Fetch) -> None:
        partial: Partial | None = None
        try:
            partial = await asyncio.to_thread(self._store.resume, fetch.blob)
            if partial is not None:
                fetch.plan.prove(partial.size, partial.missing)
            while not fetch.abandoned:
                if partial is not None and not partial.missing:
                    if await asyncio.to_thread(partial.finish):
                        return
                    fetch.plan.prove(partial.size, partial.missing)
                self._ask(fetch)
                await _event_or_tick(fetch.wake)
                while fetch.inbox and not fetch.abandoned:
                    partial = await self._keep(fetch, partial, *fetch.inbox.popleft())
        except (StoreFull, OSError):
            # No room or no disk: those who wait are told that the blob is not here.
            return
        finally:
            if partial is not None:
                partial.close()
            fetch.abandoned = True
            fetch.plan.close()
            del self._fetches[fetch.blob]
            fetch.done.set()

    async def _keep(
        self, fetch: _Fetch, partial: Partial | None, peer: bytes, size: int, piece: Piece
    ) -> Partial | None:
        """Checks a piece and writes it; the first true one proves the size and opens the partial."""
        if partial is not None and (piece.index not in partial.missing or size != partial.size):
            return partial
        if partial is None and await asyncio.to_thread(_is_true, size, piece):
            partial = await asyncio.to_thread(self._store.partial, fetch.blob, size)
            fetch.plan.prove(size, partial.missing)
        if partial is None or not await asyncio.to_thread(partial.write, piece.index, piece.data, piece.siblings):
            fetch.plan.lied(peer)
            self._penalize(peer, "forged")
        return partial

    def _ask(self, fetch: _Fetch) -> None:
        now = self._clock()
        fetch.plan.expire(now)
        for peer in fetch.plan.to_ask_whether(list(self._peers()), now):
            self._send(peer, BlobWanted(fetch.blob))
        if sum(len(other.inbox) for other in (*self._fetches.values(), *self._cuts.values())) >= IN_FLIGHT:
            # What came in is not on the disk yet: more would only pile up in memory.
            return
        while ask := fetch.plan.next_ask(now):
            peer, index = ask
            if not self._send(peer, PieceWanted(fetch.blob, index)):
                fetch.plan.gone(peer)


def _is_true(size: int, piece: Piece) -> bool:
    return verify_piece(blob=piece.blob, size=size, index=piece.index, data=piece.data, siblings=piece.siblings)


async def _event_or_tick(event: asyncio.Event) -> None:
    """Sleeps until *event* or the next tick, and clears it."""
    try:
        async with asyncio.timeout(TICK_S):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
