"""Whether a leap is needed, and what it would have to gain."""

from __future__ import annotations

from typing import Final

from potminer.core.leap.peers import Peer, Peers

FAR_BLOCKS: Final = 1_000
"""Whoever misses more asks for a snapshot: those are executed in seconds to minutes, so a leap would gain little."""
FAR_BYTES: Final = 268_435_456
"""Or more than this, if blocks go on as the last ones: minutes of a slow line, and a few hundred full blocks."""
STUCK_MS: Final = 30_000
"""Nothing came for so long, though somebody is ahead and somebody let go of what is missing: others may claim it."""
_SMOOTH: Final = 8


class Need:
    """*tip* is the height of the last block executed."""

    def __init__(self, tip: int, far: int) -> None:
        self.tip, self._far = tip, far
        self._since: int | None = None
        """When the tip moved, or was first looked at."""
        self._block_bytes = 0
        """Of an executed block, about."""

    def look(self, now: int) -> None:
        if self._since is None or self._since > now:  # less where the clock was set back
            self._since = now

    def rise(self, height: int, now: int, *, size: int = 0) -> None:
        if height > self.tip:
            self.tip, self._since = height, now
        if size:
            before = self._block_bytes or size
            self._block_bytes = before + (size - before) // _SMOOTH

    def is_needed(self, peers: Peers, now: int) -> bool:
        """Somebody is far ahead, or who is ahead let go of the block that we need next. A claim costs a question,
        no more."""
        if peers.highest() <= self.tip:
            return False
        ahead = self._ahead(peers)
        return any(self._is_far(peer.claimed - self.tip) for peer in ahead) or self.is_stuck(peers, now)

    def is_gain(self, height: int, peers: Peers, now: int) -> bool:
        """Whether to stand after block *height* is worth a leap."""
        gained = height - self.tip
        return gained > 0 and (self._is_far(2 * gained) or self.is_stuck(peers, now))

    def is_stuck(self, peers: Peers, now: int) -> bool:
        ahead = self._ahead(peers)
        pruned = [peer.first > self.tip + 1 for peer in ahead]
        return any(pruned) and (all(pruned) or now >= self._stuck_ms)

    def wakes_ms(self, peers: Peers) -> int | None:
        """When somebody may turn out to be stuck."""
        return self._stuck_ms if any(peer.first > self.tip + 1 for peer in self._ahead(peers)) else None

    @property
    def _stuck_ms(self) -> int:
        return (self._since or 0) + STUCK_MS

    def _is_far(self, blocks: int) -> bool:
        return blocks > self._far or blocks * self._block_bytes > FAR_BYTES

    def _ahead(self, peers: Peers) -> list[Peer]:
        return [peer for _, peer in peers.able() if peer.claimed > self.tip]
