"""Which piece of a blob to ask of whom. Pure: time is passed in, in seconds.

A size is a claim until a verified piece proves it. Peers whose claims differ are never mixed, so
a piece that fails its check is always the fault of the peer that sent it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from potminer.base.blobs import piece_count

PIPELINE = 4
"""Pieces asked of one peer at a time: 4 MiB, a third of a second at 100 Mbit/s."""
IN_FLIGHT = 32
"""Pieces asked of all peers at a time: what may have to be held before it is checked."""
SOURCES = 2
"""Peers asked for the same piece where nothing else is left to ask."""


@dataclass(frozen=True, slots=True)
class FetchTimes:
    """Seconds. A piece is *late* after so long, asked of a second peer after *spare*; peers without
    the blob are asked again after *ask*, doubling up to *ask_most*."""

    late: float = 20.0
    spare: float = 2.0
    ask: float = 0.5
    ask_most: float = 8.0


@dataclass(slots=True)
class _Asked:
    at: float
    size: int
    late: bool = False


@dataclass(slots=True)
class _Inquiry:
    due: float
    interval: float


class FetchPlan:
    """*load* counts the pieces under way per peer, over all fetches of a node."""

    def __init__(self, load: Counter[bytes], times: FetchTimes, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._load = load
        self._times = times
        self._claims: dict[bytes, int] = {}
        self._liars: set[bytes] = set()
        self._strikes: Counter[bytes] = Counter()
        self._asked: dict[tuple[bytes, int], _Asked] = {}
        self._inquiries: dict[bytes, _Inquiry] = {}
        self._proven: int | None = None
        self._missing: set[int] = set()

    # ---- what is learned -----------------------------------------------------------------

    def prove(self, size: int, missing: set[int]) -> None:
        """The blob has *size* bytes; *missing* is what to fetch, and is shrunk by its owner."""
        self._proven = size
        self._missing = missing
        self._claims = {peer: claim for peer, claim in self._claims.items() if claim == size}

    def held(self, peer: bytes, size: int) -> None:
        """*peer* claims to hold the blob."""
        if peer not in self._liars and size <= self.max_bytes and self._proven in (None, size):
            self._claims[peer] = size

    def gone(self, peer: bytes) -> None:
        """*peer* does not hold the blob, or is not there any more."""
        self._claims.pop(peer, None)
        for key in [key for key in self._asked if key[0] == peer]:
            self._forget(key)

    def lied(self, peer: bytes) -> None:
        self._liars.add(peer)
        self.gone(peer)

    def arrived(self, peer: bytes, index: int) -> int | None:
        """Size under which *peer* was asked for piece *index*; None where it was not asked."""
        asked = self._asked.get((peer, index))
        if asked is None:
            return None
        self._forget((peer, index))
        self._strikes.pop(peer, None)
        return asked.size

    def expire(self, now: float) -> None:
        """A late piece is still welcome, but its peer is asked for less and others may be asked too."""
        for (peer, _), asked in self._asked.items():
            if not asked.late and now - asked.at >= self._times.late:
                asked.late = True
                self._lighten(peer)
                self._strikes[peer] += 1

    def close(self) -> None:
        for key in list(self._asked):
            self._forget(key)

    # ---- what to do ----------------------------------------------------------------------

    def to_ask_whether(self, peers: list[bytes], now: float) -> list[bytes]:
        """Peers to ask whether they hold the blob: the new ones, and again those who did not."""
        due = []
        self._inquiries = {peer: self._inquiries.get(peer, _Inquiry(now, self._times.ask)) for peer in peers}
        for peer, inquiry in self._inquiries.items():
            if peer not in self._claims and peer not in self._liars and inquiry.due <= now:
                due.append(peer)
                inquiry.due = now + inquiry.interval
                inquiry.interval = min(2 * inquiry.interval, self._times.ask_most)
        return due

    def next_ask(self, now: float) -> tuple[bytes, int] | None:
        """One more (peer, piece) to ask for now; the asking is noted."""
        size = self._size()
        if size is None or self._load.total() >= IN_FLIGHT:
            return None
        peers = [peer for peer, claim in self._claims.items() if claim == size and self._has_room(peer)]
        if not peers:
            return None
        missing = self._missing if self._proven is not None else set(range(min(IN_FLIGHT, piece_count(size))))
        for peer in sorted(peers, key=lambda peer: (self._load[peer], self._strikes[peer])):
            index = self._choose(peer, missing, now)
            if index is not None:
                self._asked[peer, index] = _Asked(now, size)
                self._load[peer] += 1
                return peer, index
        return None

    def _choose(self, peer: bytes, missing: set[int], now: float) -> int | None:
        """The first piece that nobody was asked for, else one that another peer is slow with."""
        asked: dict[int, list[_Asked]] = {}
        for (_, index), entry in self._asked.items():
            if not entry.late:
                asked.setdefault(index, []).append(entry)
        free = [index for index in missing if index not in asked and (peer, index) not in self._asked]
        if free:
            return min(free)
        slow = [
            index
            for index, entries in asked.items()
            if index in missing
            and (peer, index) not in self._asked
            and len(entries) < SOURCES
            and all(now - entry.at >= self._times.spare for entry in entries)
        ]
        return min(slow, default=None)

    def _size(self) -> int | None:
        """The proven size, else the one claimed by most, of which silent claimants count less."""
        if self._proven is not None or not self._claims:
            return self._proven
        weight: dict[int, int] = {}
        for peer, size in self._claims.items():
            weight[size] = weight.get(size, 0) + 1_000 // (1 + self._strikes[peer])
        return max(weight, key=lambda size: weight[size])

    def _has_room(self, peer: bytes) -> bool:
        most = max(1, PIPELINE >> self._strikes[peer]) if self._proven is not None else 1
        return self._load[peer] < most

    def _forget(self, key: tuple[bytes, int]) -> None:
        if not self._asked.pop(key).late:
            self._lighten(key[0])

    def _lighten(self, peer: bytes) -> None:
        self._load[peer] -= 1
        if self._load[peer] <= 0:
            del self._load[peer]
