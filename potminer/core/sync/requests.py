"""Who is asked for which range.

One open request per peer; whoever answers late or badly waits longer and longer before it
is asked again, so progress needs one honest peer and no luck.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from potminer.wire.sync import BLOCKS_PER_REPLY

WINDOW: Final = 4 * BLOCKS_PER_REPLY
"""Blocks asked for ahead of the executed one."""
OPEN_REQUESTS: Final = 4
"""Replies on their way or held: 16 MiB at 4 MiB each, and one more for the very next block."""
TIMEOUT_MS: Final = 10_000
"""A reply of 4 MiB at 4 Mbit/s."""
BACKOFF_MS: Final = 2_000
BACKOFF_CAP_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Request:
    first: int
    count: int
    until_ms: int


@dataclass(slots=True)
class Source:
    """One connected peer. *claimed* it said itself; *supposed* we hope for on hearing we are behind. Blocks below
    *first* it let go."""

    claimed: int = 0
    supposed: int = 0
    first: int = 0
    failures: int = 0
    not_before_ms: int = 0
    request: Request | None = None

    def may_hold(self, height: int) -> bool:
        return self.first <= height <= max(self.claimed, self.supposed)

    def failed(self, now: int) -> None:
        self.failures += 1
        self.request = None
        self.not_before_ms = now + min(BACKOFF_MS << min(self.failures - 1, 16), BACKOFF_CAP_MS)

    def proved(self) -> None:
        """A block it sent was proven."""
        self.failures = self.not_before_ms = 0


class Sources:
    """The connected peers and what was asked of them."""

    def __init__(self) -> None:
        self._peers: dict[bytes, Source] = {}

    def up(self, peer: bytes) -> None:
        self._peers.setdefault(peer, Source())

    def down(self, peer: bytes) -> None:
        self._peers.pop(peer, None)

    def get(self, peer: bytes) -> Source | None:
        return self._peers.get(peer)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._peers)

    def claims(self) -> dict[bytes, int]:
        return {peer: source.claimed for peer, source in self._peers.items()}

    def suppose(self, height: int) -> None:
        for source in self._peers.values():
            source.supposed = max(source.supposed, height)

    def expire(self, now: int) -> list[bytes]:
        """Peers whose request ran out of time just now."""
        late = [p for p, source in self._peers.items() if source.request and source.request.until_ms <= now]
        for peer in late:
            self._peers[peer].failed(now)
        return late

    def assign(self, *, tip: int, held: Collection[int], replies: int, now: int) -> list[tuple[bytes, Request]]:
        """New requests that close the gaps after *tip*, lowest first.

        *held* are the heights at hand, out of *replies* replies. The gap that stops execution is
        always asked for, whatever else is held.
        """
        assigned: list[tuple[bytes, Request]] = []
        for first, count in self._gaps(tip, held):
            if first > tip + 1 and self._open() + replies >= OPEN_REQUESTS:
                break
            peer = self._best(first, now)
            if peer is None:
                break
            source = self._peers[peer]
            count = min(count, max(source.claimed, source.supposed) - first + 1)
            source.request = Request(first, count, now + TIMEOUT_MS)
            assigned.append((peer, source.request))
        return assigned

    def next_deadline(self, *, tip: int, now: int) -> int | None:
        """When something has to be looked at again, or None while nothing is missing."""
        moments = [source.request.until_ms for source in self._peers.values() if source.request]
        moments += [
            source.not_before_ms
            for source in self._peers.values()
            if source.not_before_ms > now and source.may_hold(tip + 1)
        ]
        return min(moments, default=None)

    def _open(self) -> int:
        return sum(source.request is not None for source in self._peers.values())

    def _best(self, first: int, now: int) -> bytes | None:
        able = [
            (source.failures, peer)
            for peer, source in self._peers.items()
            if source.request is None and source.not_before_ms <= now and source.may_hold(first)
        ]
        return min(able)[1] if able else None

    def _gaps(self, tip: int, held: Collection[int]) -> list[tuple[int, int]]:
        """(first, count) of heights in the window that are neither held nor asked for."""
        target = max((max(source.claimed, source.supposed) for source in self._peers.values()), default=0)
        asked = {
            height
            for source in self._peers.values()
            if source.request
            for height in range(source.request.first, source.request.first + source.request.count)
        }
        gaps: list[tuple[int, int]] = []
        for height in range(tip + 1, min(target, tip + WINDOW) + 1):
            if height in held or height in asked:
                continue
            if gaps and sum(gaps[-1]) == height and gaps[-1][1] < BLOCKS_PER_REPLY:
                gaps[-1] = (gaps[-1][0], gaps[-1][1] + 1)
            else:
                gaps.append((height, 1))
        return gaps
