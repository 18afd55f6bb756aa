"""Who is asked for which range: one open request per peer, several peers at once, each at its pace (core/asking.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from potminer.core.asking import TIMEOUT_MS, Pace, Patience, is_over
from potminer.wire.sync import BLOCKS_PER_REPLY

WINDOW: Final = 4 * BLOCKS_PER_REPLY
"""Blocks asked for ahead of the executed one."""
OPEN_REQUESTS: Final = 4
"""Replies on their way or held: 16 MiB at 4 MiB each, and one more for the very next block."""
WHOLE: Final = 4
"""After so many whole answers twice as much is asked for: each try costs a gap, which is asked for again."""
READS_PER_WINDOW: Final = 60
WINDOW_MS: Final = 10_000
"""Of one peer; six replies a second are more than can be executed."""


@dataclass(frozen=True, slots=True)
class Request:
    first: int
    count: int
    until_ms: int


@dataclass(slots=True)
class Source(Patience):
    """One connected peer. *claimed* it said itself; *supposed* we hope for on hearing we are behind. Blocks below
    *first* it let go."""

    asked: Pace = field(default_factory=lambda: Pace(READS_PER_WINDOW, WINDOW_MS))
    claimed: int = 0
    supposed: int = 0
    first: int = 0
    span: int = BLOCKS_PER_REPLY
    """As many blocks as fitted into its last answer: what is beyond is asked of others meanwhile."""
    whole: int = 0
    """Answers in a row that held all that was asked for."""
    request: Request | None = None

    def may_hold(self, height: int) -> bool:
        return self.first <= height <= max(self.claimed, self.supposed)

    def answered(self, blocks: int, of: int) -> None:
        self.request = None
        self.whole = self.whole + 1 if blocks >= of else 0
        if not self.whole:
            self.span = max(1, blocks)
        elif self.whole % WHOLE == 0:
            self.span = min(BLOCKS_PER_REPLY, 2 * self.span)

    def failed(self, now: int) -> None:
        self.rest(now)
        self.request = None


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
        late = [p for p, source in self._peers.items() if source.request and is_over(source.request.until_ms, now)]
        for peer in late:
            self._peers[peer].failed(now)
        return late

    def assign(self, *, tip: int, held: Collection[int], replies: int, now: int) -> list[tuple[bytes, Request]]:
        """New requests that close the gaps after *tip*, lowest first.

        *held* are the heights at hand, out of *replies* replies. The gap that stops execution is
        always asked for, whatever else is held.
        """
        assigned: list[tuple[bytes, Request]] = []
        while (gap := self._gap(tip, held)) is not None:
            first, count = gap
            if first > tip + 1 and self._open() + replies >= OPEN_REQUESTS:
                break
            peer = self._best(first, now)
            if peer is None:
                break
            source = self._peers[peer]
            count = min(count, source.span, max(source.claimed, source.supposed) - first + 1)
            source.asked.take(now)
            source.request = Request(first, count, now + TIMEOUT_MS)
            assigned.append((peer, source.request))
        return assigned

    def next_deadline(self, *, tip: int, now: int) -> int | None:
        """When something has to be looked at again, or None while nothing is missing."""
        moments = [source.request.until_ms for source in self._peers.values() if source.request]
        moments += [
            source.free_ms(now)
            for source in self._peers.values()
            if source.request is None and source.free_ms(now) > now and source.may_hold(tip + 1)
        ]
        return min(moments, default=None)

    def _open(self) -> int:
        return sum(source.request is not None for source in self._peers.values())

    def _best(self, first: int, now: int) -> bytes | None:
        able = [
            (source.worse(now), peer)
            for peer, source in self._peers.items()
            if source.request is None and source.free_ms(now) <= now and source.may_hold(first)
        ]
        return min(able)[1] if able else None

    def _gap(self, tip: int, held: Collection[int]) -> tuple[int, int] | None:
        """(first, count) of the lowest heights in the window that are neither held nor asked for."""
        target = max((max(source.claimed, source.supposed) for source in self._peers.values()), default=0)
        asked = {
            height
            for source in self._peers.values()
            if source.request
            for height in range(source.request.first, source.request.first + source.request.count)
        }
        missing = (h for h in range(tip + 1, min(target, tip + WINDOW) + 1) if h not in held and h not in asked)
        first = next(missing, None)
        if first is None:
            return None
        count = 1
        while count < BLOCKS_PER_REPLY and next(missing, None) == first + count:
            count += 1
        return first, count
