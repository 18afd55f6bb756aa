"""A validator's own affairs: evidence that it owes the ledger, and an onion that comes to its end.

Pure, like every machine: told what its replica found and how its seat stands after a block, it
answers with what is to be said. Evidence is said again until the ledger has it: a transaction can
get lost, and everybody who heard both words says so, of which the first is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from potminer.base import limits
from potminer.core.pbft.events import DoubleVote
from potminer.wire.record import Validator
from potminer.wire.tx import Evidence, Spoken

AGAIN_BLOCKS = 10
"""Between one try and the next."""


@dataclass(frozen=True, slots=True)
class SeatSeen:
    """After a block: *own* is our record, None where we are no validator; *left* counts the layers of our
    onion that the chain has not seen, None where it knows none of ours."""

    height: int
    epoch: int
    own: Validator | None
    left: int | None
    slashed: Callable[[bytes], bool]
    """Whether the ledger has slashed this key."""


@dataclass(frozen=True, slots=True)
class SayEvidence:
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class RenewOnion:
    """Make the next onion and register it."""


class Steward:
    """*renew_below*: an onion with fewer layers left is renewed, two epochs before anything hangs on it."""

    def __init__(self, *, renew_below: int) -> None:
        self._renew_below = renew_below
        self._owed: dict[bytes, Evidence] = {}
        self._said: dict[bytes, int] = {}
        self._renewed = -AGAIN_BLOCKS

    def accuse(self, found: DoubleVote) -> None:
        """Keeps the first proof about each signer; a second one would change nothing."""
        if found.signer not in self._owed and len(self._owed) < 4 * limits.COMMITTEE:
            words = (Spoken(found.purpose, digest, signature) for digest, signature in (found.first, found.second))
            self._owed[found.signer] = Evidence(found.signer, found.epoch, found.height, found.view, *words)

    def look(self, seat: SeatSeen) -> list[SayEvidence | RenewOnion]:
        """What is to be said now."""
        wishes: list[SayEvidence | RenewOnion] = []
        for signer in [signer for signer in self._owed if seat.slashed(signer)]:
            del self._owed[signer]
            self._said.pop(signer, None)
        for signer, evidence in self._owed.items():
            if seat.height >= self._said.get(signer, -AGAIN_BLOCKS) + AGAIN_BLOCKS:
                self._said[signer] = seat.height
                wishes.append(SayEvidence(evidence))
        if self._ends(seat) and seat.height >= self._renewed + AGAIN_BLOCKS:
            self._renewed = seat.height
            wishes.append(RenewOnion())
        return wishes

    def _ends(self, seat: SeatSeen) -> bool:
        own = seat.own
        if own is None or own.slashed or seat.left is None or seat.left >= self._renew_below:
            return False
        return own.next_onion is None or seat.epoch >= own.next_epoch
