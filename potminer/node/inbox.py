"""The inbox: everything that happens to a node; consensus first, the rest in the order it came.

What peers say is bounded and dropped beyond; what our own hands answer is as bounded as what
was asked of them and never dropped: a machine waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

from potminer.core import machine as words
from potminer.core.gossip import events as gossip
from potminer.wire.codec import Wire, encode
from potminer.wire.hello import Hello
from potminer.wire.registry import BY_TYPE, Channel

FROM_PEERS = 20_000
"""Messages that may wait: seconds of full load; more means that we cannot keep up."""
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
        self._queue: asyncio.PriorityQueue[tuple[int, int, To, object, int]] = asyncio.PriorityQueue()
        self._weights = dict.fromkeys(To, 0)
        self._gossiped = False
        self._posted = 0
        self._on_blob = on_blob
        self._on_link_down = on_link_down
        self._note = note
        self.dropped = 0

    def post(self, to: To, event: object) -> None:
        """Queue an event of our own. A vote never waits behind what is gossiped."""
        self._put(to, event, 0)

    async def take(self) -> tuple[To, object]:
        """The most urgent event. Between two of gossip the links get a turn: a queue that is not empty gives without
        waiting, and a vote would lie unread in its socket until thousands of signatures were checked."""
        if self._gossiped:
            self._gossiped = False
            await asyncio.sleep(0)
        _, _, to, event, weight = await self._queue.get()
        self._weights[to] -= weight
        self._gossiped = to is To.GOSSIP
        return to, event

    def _put(self, to: To, event: object, weight: int) -> None:
        self._posted += 1
        self._weights[to] += weight
        self._queue.put_nowait((to.value, self._posted, to, event, weight))

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
        if heavy or self._queue.qsize() >= FROM_PEERS:
            self.dropped += 1
            return
        self._put(to, words.MessageArrived(peer, message), weight)

    def offence(self, peer: bytes, offence: str, detail: str) -> None:
        self._note("warning", f"peer {peer.hex()[:12]} refused: {offence} ({detail})")
        self.post(To.GOSSIP, gossip.Offended(peer, words.Offence(offence)))

    def other_version(self, host: str, detail: str) -> None:
        """Nobody is proven to be there, so nobody is blamed; but it is said why there is no link."""
        self._note("warning", f"no link with the node at {host}: {detail}")
