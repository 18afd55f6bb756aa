"""A validator's own affairs: evidence that it owes the ledger, and an onion that comes to its end.

Pure, like every machine: told what its replica found and how its seat stands after a block, it
answers with what is to be said. Evidence is said again until the ledger has it: a transaction can
get lost, and everybody who heard both words says so, of which the first is enough. What is owed is
kept in the journal, for a restart must not acquit anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from potminer.base import limits
from potminer.base.errors import Malformed
from potminer.core.machine import Persist
from potminer.core.pbft.events import DoubleVote
from potminer.wire.codec import decode, encode
from potminer.wire.record import Validator
from potminer.wire.tx import Evidence, Spoken

AGAIN_BLOCKS = 10
"""Between one try and the next."""
OWED = b"steward/"
"""Journal key of the evidence about a signer, before its key."""
_MOST = 4 * limits.COMMITTEE
_EVIDENCE_BYTES = 1_024


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
    """*renew_below*: an onion with fewer layers left is renewed, two epochs before anything hangs on it.
    *persisted*: the journal, of which the records under ``OWED`` are ours."""

    def __init__(self, *, renew_below: int, persisted: Mapping[bytes, bytes]) -> None:
        self._renew_below = renew_below
        self._owed = _read(persisted)
        self._said: dict[bytes, int] = {}
        self._renewed = -AGAIN_BLOCKS

    def accuse(self, found: DoubleVote) -> list[Persist]:
        """Keeps the first proof about each signer; a second one would change nothing."""
        if found.signer in self._owed or len(self._owed) >= _MOST:
            return []
        words = (Spoken(found.purpose, digest, signature) for digest, signature in (found.first, found.second))
        evidence = Evidence(found.signer, found.epoch, found.height, found.view, *words)
        self._owed[found.signer] = evidence
        return [Persist(OWED + found.signer, encode(evidence))]

    def look(self, seat: SeatSeen) -> list[SayEvidence | RenewOnion | Persist]:
        """What is to be said now, and what may be forgotten."""
        wishes: list[SayEvidence | RenewOnion | Persist] = []
        for signer in [signer for signer in self._owed if seat.slashed(signer)]:
            del self._owed[signer]
            self._said.pop(signer, None)
            wishes.append(Persist(OWED + signer, None))
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


def _read(persisted: Mapping[bytes, bytes]) -> dict[bytes, Evidence]:
    """What was owed when the last life ended. Evidence that an older potminer wrote in another shape is let go: it
    is nobody's vote, and the others who heard it say it too."""
    found: dict[bytes, Evidence] = {}
    for key, value in persisted.items():
        if key.startswith(OWED) and len(found) < _MOST:
            try:
                found[key[len(OWED) :]] = decode(Evidence, value, max_bytes=_EVIDENCE_BYTES)
            except Malformed:
                continue
    return found
