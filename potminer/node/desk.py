"""Answers that are read from the disk: one at a time, members first, then one of each peer in turn.

The store has one thread, and a vote is on the disk before it is said. Thirty strangers who each asked for as many
blocks as they may once made every vote wait for half a minute. So of each peer little waits, nobody's crowd stands
before another's question, and between two answers to strangers the disk rests as long as the last one took.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

WAITING: Final = 4
"""Questions of one peer. An honest one has one open, and perhaps some that it gave up as late."""
REST_S: Final = 0.5
"""At most: a disk that stood still for once makes nobody wait for as long again."""
BUSY_MS: Final = 1_000
"""When who has too many waiting may ask again."""

Answer = Callable[[], Awaitable[None]]


class Desk:
    """*clock* gives seconds; *rest* sleeps so many."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, rest: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._clock, self._rest = clock, rest
        self._members: dict[bytes, deque[Answer]] = {}
        self._strangers: dict[bytes, deque[Answer]] = {}
        self._works = False

    def ask(
        self, peer: bytes, answer: Answer, *, member: bool, spawn: Callable[[Awaitable[None]], None]
    ) -> bool:
        """Whether *answer* will be worked on in its turn; *spawn* begins to, where nobody does."""
        waiting = (self._members if member else self._strangers).setdefault(peer, deque())
        if len(waiting) >= WAITING:
            return False
        waiting.append(answer)
        if not self._works:
            self._works = True
            spawn(self._work())
        return True

    def gone(self, peer: bytes) -> None:
        """Nobody waits for its answers any more."""
        self._members.pop(peer, None)
        self._strangers.pop(peer, None)

    async def _work(self) -> None:
        try:
            while (line := self._members or self._strangers):
                strange = line is self._strangers
                began = self._clock()
                await self._next(line)()
                if strange:
                    await self._rest(min(REST_S, max(0.0, self._clock() - began)))
        finally:
            self._works = False

    @staticmethod
    def _next(line: dict[bytes, deque[Answer]]) -> Answer:
        peer = next(iter(line))
        waiting = line.pop(peer)
        answer = waiting.popleft()
        if waiting:
            line[peer] = waiting
        return answer
