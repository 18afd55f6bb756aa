"""What peers say from beyond our height: who is ahead, and a few messages kept for the next height.

Both are bounded per peer, and nothing here is believed: a kept message passes every check when
its height begins, and being behind only makes this replica ask for certified blocks.
"""

from __future__ import annotations

from collections.abc import Collection

from potminer.core.committee import Committee
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, PrePrepare

_PROPOSALS = (PrePrepare, NewView)
MESSAGES_KEPT = 8
"""Per peer: its votes and view changes for a height that we are about to reach."""


class Ahead:
    """Claims of height and messages for exactly the next height, by the key of who said them: at the
    next height another committee may sit."""

    __slots__ = ("_claims", "_kept")

    def __init__(self) -> None:
        self._claims: dict[bytes, int] = {}
        self._kept: dict[tuple[bytes, bool], list[tuple[int, Wire]]] = {}

    def claim(self, peer: bytes, height: int) -> None:
        """*peer* works on *height*; the newest word counts, or a lie would stand for ever."""
        self._claims[peer] = height

    def passed(self, committee: Committee) -> int:
        """The highest height that a weak quorum is done with: at least one honest replica is."""
        seats, claims = committee.seats, self._claims
        done: list[int] = []
        for height, seat in sorted([(claims[key], seats[key]) for key in claims if key in seats], reverse=True):
            done.append(seat)
            if committee.is_weak_quorum(done):
                return height - 1
        return -1

    def keep(self, peer: bytes, height: int, message: Wire) -> None:
        """Keeps *message* unless its sender already filled its place: one proposal, some votes."""
        proposal = isinstance(message, _PROPOSALS)
        kept = self._kept.setdefault((peer, proposal), [])
        kept[:] = [item for item in kept if item[0] >= height]
        if len(kept) < (1 if proposal else MESSAGES_KEPT):
            kept.append((height, message))

    def take(self, height: int) -> list[tuple[bytes, Wire]]:
        """The (peer, message) kept for *height*, proposals first; what is older is dropped."""
        ordered = sorted(self._kept.items(), key=lambda item: (not item[0][1], item[0][0]))
        found = [(peer, message) for (peer, _), kept in ordered for at, message in kept if at == height]
        self._kept.clear()
        return found

    def forget_all_but(self, keys: Collection[bytes]) -> None:
        """Nobody but *keys* is listened to any more."""
        self._claims = {peer: height for peer, height in self._claims.items() if peer in keys}
        self._kept = {place: kept for place, kept in self._kept.items() if place[0] in keys}

    def size(self) -> int:
        return len(self._claims) + sum(map(len, self._kept.values()))
