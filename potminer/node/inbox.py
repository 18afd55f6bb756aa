"""The inbox: everything that happens to a node; consensus first, then sync, then the rest, each in the order it came.

What peers say is bounded and dropped beyond, votes apart from all else and each peer's words apart from the others':
no crowd keeps a member's vote out, nor an honest stranger's question. What our own hands answer is as bounded as what
was asked of them and never dropped: a machine waits for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from enum import Enum, auto

from potminer.core import machine as words
from potminer.core.gossip import events as gossip
from potminer.wire.codec import Wire, encode
from potminer.wire.hello import Hello
from potminer.wire.registry import BY_TYPE, Channel

FROM_PEERS = 20_000
"""Votes that may wait, and other messages as many: seconds of full load; more means that we cannot keep up. Where half
of the places are taken, nobody gets more than a share of that half."""
LEAST_SHARE = 64
SYNC_RUN = 8
"""Questions in a row that go before what waits behind them: forty strangers within their rates ask more than we can
answer, and transactions and rounds have to go on."""
LARGE = 1_024
"""Kinds that may be larger than this are weighed; votes are not, and all small ones together are bounded by number."""
BYTES_FROM_PEERS = 33_554_432
"""What the large ones for one machine may weigh: a disk that stands still for seconds must not fill the memory."""


class To(Enum):
    """The machines an event can be for, the most urgent first."""

    REPLICA = auto()
    SYNC = auto()
    ROUNDS = auto()
    GOSSIP = auto()


MACHINES = {
    Channel.CONSENSUS: To.REPLICA, Channel.SYNC: To.SYNC, Channel.GOSSIP: To.GOSSIP, Channel.RPC: To.GOSSIP,
}  # fmt: skip
"""Whose a message is. Blobs are served elsewhere."""


class Inbox:
    """Events wait here for the engine. Satisfies the network's handler protocol.

    *on_blob* and *on_link_down* serve blob traffic, which is too large to wait here.
    """

    def __init__(
        self,
        *,
        on_blob: Callable[[bytes, Wire], None],
        on_link_down: Callable[[bytes], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._lanes: dict[To, deque[tuple[object, bytes, int]]] = {to: deque() for to in To}
        """Each machine's events, with whose they are (nobody's: our own) and what they weigh."""
        self._places: dict[bool, Counter[bytes]] = {True: Counter(), False: Counter()}
        """Of peers' messages, votes and others: how many wait, by peer."""
        self._waiting = {True: 0, False: 0}
        self._arrived = asyncio.Event()
        self._run = 0
        self._weights = dict.fromkeys(To, 0)
        self._gossiped = False
        self._on_blob = on_blob
        self._on_link_down = on_link_down
        self._note = note
        self.dropped = 0

    def post(self, to: To, event: object) -> None:
        """Queue an event of our own. A vote never waits behind what is gossiped."""
        self._put(to, event, b"", 0)

    async def take(self) -> tuple[To, object]:
        """The most urgent event. Between two of gossip the links get a turn: a queue that is not empty gives without
        waiting, and a vote would lie unread in its socket until thousands of signatures were checked."""
        if self._gossiped:
            self._gossiped = False
            await asyncio.sleep(0)
        while (to := self._next()) is None:
            self._arrived.clear()
            await self._arrived.wait()
        event, peer, weight = self._lanes[to].popleft()
        self._weights[to] -= weight
        self._run = self._run + 1 if to is To.SYNC else 0 if to is not To.REPLICA else self._run
        self._gossiped = to is To.GOSSIP
        if peer:
            votes = to is To.REPLICA
            self._waiting[votes] -= 1
            places = self._places[votes]
            places[peer] -= 1
            if not places[peer]:
                del places[peer]
        return to, event

    def _next(self) -> To | None:
        """Whose turn it is; None where nothing waits."""
        waiting = [to for to in To if self._lanes[to]]
        if len(waiting) > 1 and waiting[0] is To.SYNC and self._run >= SYNC_RUN:
            return waiting[1]
        return waiting[0] if waiting else None

    def _put(self, to: To, event: object, peer: bytes, weight: int) -> None:
        self._weights[to] += weight
        self._lanes[to].append((event, peer, weight))
        self._arrived.set()

    def _is_crowded(self, votes: bool, peer: bytes) -> bool:
        """Whether there is no place for another message of *peer*."""
        waiting, places = self._waiting[votes], self._places[votes]
        if 2 * waiting < FROM_PEERS:
            return False
        share = max(LEAST_SHARE, FROM_PEERS // 2 // (len(places) or 1))
        return waiting >= FROM_PEERS or places[peer] >= share

    # ---- what the network reports ---------------------------------------------------------

    def link_up(self, peer: bytes, hello: Hello, outbound: bool, address: tuple[str, int]) -> None:
        up = words.PeerUp(peer, outbound, address if outbound else None)
        self.post(To.GOSSIP, up)
        self.post(To.SYNC, up)

    def link_down(self, peer: bytes) -> None:
        self._on_link_down(peer)
        self.post(To.GOSSIP, words.PeerDown(peer))
        self.post(To.SYNC, words.PeerDown(peer))

    def message(self, peer: bytes, message: Wire) -> None:
        """Where a message belongs follows from its channel. A full inbox drops it, as a network may."""
        row = BY_TYPE[type(message)]
        to = MACHINES.get(row.channel)
        if to is None:
            self._on_blob(peer, message)
            return
        weight = len(encode(message)) if row.max_bytes > LARGE else 0
        heavy = weight and self._weights[to] + weight > BYTES_FROM_PEERS
        votes = to is To.REPLICA
        if heavy or self._is_crowded(votes, peer):
            self.dropped += 1
            return
        self._waiting[votes] += 1
        self._places[votes][peer] += 1
        self._put(to, words.MessageArrived(peer, message), peer, weight)

    def offence(self, peer: bytes, offence: str, detail: str) -> None:
        self._note("warning", f"peer {peer.hex()[:12]} refused: {offence} ({detail})")
        self.post(To.GOSSIP, gossip.Offended(peer, words.Offence(offence)))

    def other_version(self, host: str, detail: str) -> None:
        """Nobody is proven to be there, so nobody is blamed; but it is said why there is no link."""
        self._note("warning", f"no link with the node at {host}: {detail}")
