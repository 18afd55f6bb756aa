"""What peers say from beyond our height: who is ahead, and a few messages kept for the next height.

Both are bounded per peer, and nothing here is believed: a kept message passes every check when
its height begins, and being behind only makes this replica ask for certified blocks.
"""

from __future__ import annotations

from potminer.core.committee import Committee
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, PrePrepare

MESSAGES_KEPT = 8
"""Per peer: its votes and view changes for a height that we are about to reach."""


class Ahead:
    """Claims of height by member index, and messages for exactly the next height."""

    __slots__ = ("_claims", "_kept")

    def __init__(self) -> None:
        self._claims: dict[int, int] = {}
        self._kept: dict[tuple[int, bool], list[tuple[int, Wire]]] = {}

    def claim(self, member: int, height: int) -> None:
        """*member* works on *height*; the newest word counts, or a lie would stand for ever."""
        self._claims[member] = height

    def passed(self, committee: Committee) -> int:
        """The highest height that a weak quorum is done with: at least one honest replica is."""
        for height in sorted(set(self._claims.values()), reverse=True):
            if committee.is_weak_quorum(m for m, claimed in self._claims.items() if claimed >= height):
                return height - 1
        return -1

    def keep(self, member: int, height: int, message: Wire) -> None:
        """Keeps *message* unless its sender already filled its place: one proposal, some votes."""
        proposal = isinstance(message, PrePrepare | NewView)
        kept = self._kept.setdefault((member, proposal), [])
        kept[:] = [item for item in kept if item[0] >= height]
        if len(kept) < (1 if proposal else MESSAGES_KEPT):
            kept.append((height, message))

    def take(self, height: int) -> list[tuple[int, Wire]]:
        """The (member, message) kept for *height*, proposals first; what is older is dropped."""
        ordered = sorted(self._kept.items(), key=lambda item: (not item[0][1], item[0][0]))
        found = [(member, message) for (member, _), kept in ordered for at, message in kept if at == height]
        self._kept.clear()
        return found

    def size(self) -> int:
        return len(self._claims) + sum(len(kept) for kept in self._kept.values())
