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
SPARE: Final = 2
"""No more is asked for than came in this part of an answer's time before, and after one that never came this part."""
GRACE_MS: Final = 500
"""Somebody else has a block that was asked for ahead: so long who was asked may still bring it before others are."""


@dataclass(frozen=True, slots=True)
class Request:
    """*until_ms* is None for a block that nobody is known to have yet: it may be decided at any time. *ahead*: who
    was asked had not said that it has it."""

    first: int
    count: int
    until_ms: int | None
    since_ms: int
    ahead: bool = False


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
    known: bool = False
    """It was asked before."""
    whole: int = 0
    """Answers in a row that held all that was asked for."""
    request: Request | None = None

    def may_hold(self, height: int) -> bool:
        return self.first <= height <= max(self.claimed, self.supposed)

    def answered(self, blocks: int, of: int, now: int) -> None:
        self.known = True
        took = 1 if self.request is None else max(1, now - self.request.since_ms)
        self.request = None
        self.whole = self.whole + 1 if blocks >= of else 0
        if not self.whole:
            self.span = max(1, blocks)
        elif self.whole % WHOLE == 0:
            self.span = min(BLOCKS_PER_REPLY, 2 * self.span)
        self.span = min(self.span, max(1, blocks * TIMEOUT_MS // (SPARE * took)))

    def failed(self, now: int) -> None:
        self.rest(now)
        self.request = None


class Sources:
    """The connected peers and what was asked of them."""

    def __init__(self) -> None:
        self._peers: dict[bytes, Source] = {}
        self._usual = BLOCKS_PER_REPLY
        """What the last that answered may be asked for: as much of who never answered yet."""
        self._quickest = b""
        """Who told first of the highest block that anybody told of."""

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

    def claim(self, peer: bytes, height: int, now: int) -> None:
        """*peer* says that its chain is so high. What was asked for ahead is due from now on: of *peer* as any
        question, of another for a short while yet."""
        source = self._peers.get(peer)
        if source is None:
            return
        if height > max(self.claims().values()):
            self._quickest = peer
        source.claimed, source.supposed = height, 0
        for asked in self._peers.values():
            request = asked.request
            if request is None or not request.ahead or request.first > height:
                continue
            if asked is source:
                asked.request = Request(request.first, request.count, now + TIMEOUT_MS, now)
            elif request.until_ms is None:
                asked.request = Request(request.first, request.count, now + GRACE_MS, now, ahead=True)

    def rose(self, tip: int) -> None:
        """What was asked for ahead came from elsewhere."""
        for source in self._peers.values():
            if source.request is not None and source.request.ahead and source.request.first <= tip:
                source.request = None

    def answered(self, peer: bytes, blocks: int, now: int) -> None:
        """*peer* sent so many of the blocks that it was asked for."""
        source = self._peers[peer]
        if source.request is not None:
            source.answered(blocks, source.request.count, now)
            self._usual = source.span

    @property
    def highest(self) -> int:
        """What anybody claims, or is supposed to have."""
        return max((max(source.claimed, source.supposed) for source in self._peers.values()), default=0)

    def suppose(self, height: int) -> None:
        for source in self._peers.values():
            source.supposed = max(source.supposed, height)

    def expire(self, now: int) -> list[bytes]:
        """Peers whose request ran out of time just now. Who never said that it has the block broke no promise: it is
        not asked ahead again while others bring them."""
        late = []
        for peer, source in self._peers.items():
            request = source.request
            if request is None or request.until_ms is None or not is_over(request.until_ms, now):
                continue
            if request.ahead:
                source.request = None
                source.put_off(now, GRACE_MS)
            else:
                source.span, source.known = max(1, request.count // SPARE), True
                source.failed(now)
                late.append(peer)
        return late

    def ask_ahead(self, *, tip: int, now: int) -> tuple[bytes, Request] | None:
        """The question for the block after *tip*, which nobody claims to have: to one that is as far, who was quick."""
        if any(source.request or max(source.claimed, source.supposed) > tip for source in self._peers.values()):
            return None
        able = [
            (source.failures, source.busy, peer != self._quickest, peer)
            for peer, source in self._peers.items()
            if source.claimed == tip and source.free_ms(now) <= now
        ]
        if not able:
            return None
        peer = min(able)[-1]
        source = self._peers[peer]
        source.asked.take(now)
        source.request = Request(tip + 1, 1, None, now, ahead=True)
        return peer, source.request

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
            span = source.span if source.known else min(source.span, self._usual)
            count = min(count, span, max(source.claimed, source.supposed) - first + 1)
            source.asked.take(now)
            source.request = Request(first, count, now + TIMEOUT_MS, now)
            assigned.append((peer, source.request))
        return assigned

    def next_deadline(self, *, tip: int, now: int) -> int | None:
        """When something has to be looked at again, or None while nothing is missing."""
        requests = [source.request for source in self._peers.values() if source.request]
        moments = [request.until_ms for request in requests if request.until_ms is not None]
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
        target = self.highest
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
