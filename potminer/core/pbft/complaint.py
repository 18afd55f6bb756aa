"""What this replica does about transactions that others leave out: it relays them, then asks for another primary.

Both are bounded: a transaction is relayed a few times and costs its primaries at most one turn each, so
neither a client nor a mempool that differs from ours can keep the committee changing views.
"""

from __future__ import annotations

from collections.abc import Sequence

from potminer.wire.pbft import RELAY_TRANSACTIONS, Relay
from potminer.wire.tx import SignedTransaction

RELAYS = 3
"""How often one transaction is relayed, once per status period."""
RELAY_BYTES = 65_536
TRACKED = 16
"""Transactions remembered; the oldest is forgotten for a new one."""
PERIOD = 100
"""Heights in which at most SHARE complaints per member are made, about whatever."""
SHARE = 4


class Complaints:
    """Counts of what was relayed and complained of, by transaction digest."""

    __slots__ = ("_made", "_period", "_relayed", "_spent")

    def __init__(self) -> None:
        self._made: dict[bytes, int] = {}
        self._relayed: dict[bytes, int] = {}
        self._period = 0
        self._spent = 0

    def relay(self, waiting: Sequence[SignedTransaction]) -> list[Relay]:
        """What to relay now of those that wait too long, oldest first."""
        chosen: list[SignedTransaction] = []
        size = 0
        for signed in waiting[:RELAY_TRANSACTIONS]:
            if self._relayed.get(signed.digest, 0) >= RELAYS:
                continue
            size += len(signed.encoded)
            if chosen and size > RELAY_BYTES:
                break
            _count(self._relayed, signed.digest)
            chosen.append(signed)
        return [Relay(transactions=tuple(chosen))] if chosen else []

    def allowed(self, name: bytes, *, height: int, members: int) -> bool:
        """Whether to complain that *name* was left out. It is counted if so."""
        if self._period != height // PERIOD:
            self._period, self._spent = height // PERIOD, 0
        if self._spent >= SHARE * members or self._made.get(name, 0) >= members:
            return False
        self._spent += 1
        _count(self._made, name)
        return True

    def size(self) -> int:
        return len(self._made) + len(self._relayed)


def _count(counts: dict[bytes, int], name: bytes) -> None:
    counts[name] = counts.pop(name, 0) + 1
    if len(counts) > TRACKED:
        del counts[next(iter(counts))]
