"""Whom a leap asks, for what, and until when. One open question a peer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from potminer.core.asking import Pace, Patience, answering, is_over

WINDOW_MS: Final = 10_000
QUESTIONS_PER_WINDOW: Final = 300
"""30 chunks a second from one peer, 4 MB."""


@dataclass(frozen=True, slots=True)
class Question:
    """*index* is of a chunk; None asks for the manifest, and without *height* for an offer, with steps from *epoch*."""

    until_ms: int
    height: int | None = None
    index: int | None = None
    epoch: int = 0


@dataclass(slots=True)
class Peer(Patience):
    """*claimed* it said itself; *first* is the oldest block it says it has, 0 where it said nothing."""

    asked: Pace = field(default_factory=lambda: Pace(QUESTIONS_PER_WINDOW, WINDOW_MS))
    claimed: int = 0
    first: int = 0
    question: Question | None = None
    lacks: int = 0
    """The height of a snapshot that it said it has not, and did not say anything new since."""
    vain: int = 0
    """How often it was asked what it offers since it last brought a chunk."""
    asks: Pace = field(default_factory=lambda: answering(QUESTIONS_PER_WINDOW, WINDOW_MS))

    @property
    def worth(self) -> tuple[int, int, int, int]:
        """The least is asked first. Claims cost nothing, so whoever was asked in vain goes behind who was not."""
        return self.failures, self.vain, self.busy, -self.claimed

    def failed(self, now: int) -> None:
        self.rest(now)
        self.question = None

    def brought(self) -> None:
        self.proved()
        self.vain = 0


class Peers:
    """The connected peers that may be asked. Who was shunned is none of them, whenever it comes back."""

    SHUNNED = 1_024

    def __init__(self) -> None:
        self._peers: dict[bytes, Peer] = {}
        self._shunned: dict[bytes, None] = {}

    def up(self, key: bytes) -> None:
        self._peers.setdefault(key, Peer())

    def down(self, key: bytes) -> None:
        self._peers.pop(key, None)

    def get(self, key: bytes) -> Peer | None:
        return self._peers.get(key)

    def shun(self, key: bytes) -> None:
        self._shunned[key] = None
        while len(self._shunned) > self.SHUNNED:
            del self._shunned[next(iter(self._shunned))]
        if key in self._peers:
            self._peers[key].question = None

    def highest(self) -> int:
        """What anybody claims."""
        return max((peer.claimed for peer in self._peers.values()), default=0)

    def able(self) -> Iterator[tuple[bytes, Peer]]:
        """Those that may be believed to answer, the best first."""
        trusted = [(key, peer) for key, peer in self._peers.items() if key not in self._shunned]
        yield from sorted(trusted, key=lambda item: (*item[1].worth, item[0]))

    def open(self) -> list[tuple[bytes, Question]]:
        return [(key, peer.question) for key, peer in self._peers.items() if peer.question is not None]

    def expire(self, now: int) -> list[bytes]:
        """Those whose time to answer ran out just now."""
        late = [key for key, question in self.open() if is_over(question.until_ms, now)]
        for key in late:
            self._peers[key].failed(now)
        return late

    def forget_questions(self) -> None:
        for peer in self._peers.values():
            peer.question = None
