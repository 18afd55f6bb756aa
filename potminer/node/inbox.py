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
from potminer.wire.codec import Wire
from potminer.wire.hello import Hello
from potminer.wire.registry import BY_TYPE, Channel

FROM_PEERS = 20_000
"""Messages that may wait: seconds of full load; more means that we cannot keep up."""


class To(Enum):
    """The machines an event can be for, the most urgent first."""

    REPLICA = auto()
    SYNC = auto()
    ROUNDS = auto()
    GOSSIP = auto()


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
        self._queue: asyncio.PriorityQueue[tuple[int, int, To, object]] = asyncio.PriorityQueue()
        self._posted = 0
        self._on_blob = on_blob
        self._on_link_down = on_link_down
        self._note = note
        self.dropped = 0

    def post(self, to: To, event: object) -> None:
        """Queue an event of our own. A vote never waits behind what is gossiped."""
        self._posted += 1
        self._queue.put_nowait((to.value, self._posted, to, event))

    async def take(self) -> tuple[To, object]:
        _, _, to, event = await self._queue.get()
        return to, event

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
        if self._queue.qsize() >= FROM_PEERS:
            self.dropped += 1
            return
        arrived = words.MessageArrived(peer, message)
        match BY_TYPE[type(message)].channel:
            case Channel.CONSENSUS:
                self.post(To.REPLICA, arrived)
            case Channel.SYNC:
                self.post(To.SYNC, arrived)
            case Channel.GOSSIP | Channel.RPC:
                self.post(To.GOSSIP, arrived)
            case Channel.BLOB:
                self._on_blob(peer, message)

    def offence(self, peer: bytes, offence: str, detail: str) -> None:
        self._note("warning", f"peer {peer.hex()[:12]} refused: {offence} ({detail})")
        self.post(To.GOSSIP, gossip.Offended(peer, words.Offence(offence)))
