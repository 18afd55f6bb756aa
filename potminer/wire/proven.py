"""How far a daemon's word is backed by proofs: what a face shows beside it, and says in its JSON."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from potminer.base.bounded import U32, Grains, Height, Millis
from potminer.wire.control import Hex, Line, Photo

CONTRADICTIONS = 16
ROUNDS_OWED = 1_024


class Backing(StrEnum):
    """What stands behind the numbers of a daemon."""

    PROVEN = "proven"
    """All that can be compared is as a quorum of the committee vouches for it."""
    WORD = "word"
    """Nothing but the daemon's word: why, says the view."""
    CONTRADICTED = "contradicted"
    """The daemon says something else than what a quorum of the committee vouches for."""
    FORGED = "forged"
    """What the daemon shows as a proof does not hold."""


class Contradiction(Photo, frozen=True, kw_only=True):
    """*said* by the daemon of *what*, as it was after block *height*; *proven* is what it was."""

    what: Line
    said: Line
    proven: Line
    height: Height


class RoundOwed(Photo, frozen=True, kw_only=True):
    """What a closed round of *task* owes to this rig and has not paid: its units, audits and votes together."""

    task: Hex
    round: U32
    amount: Grains


class ProvenView(Photo, frozen=True, kw_only=True):
    """What is proven of the rig with the node key *key* after block *height*, by *signers* of the *members* of the
    committee; null is not proven. *anchored*: from a genesis of our own; else from one that the daemon handed us,
    which is its word again."""

    backing: Backing
    why: Line = ""
    """In words, where it is not PROVEN; or what it lacks."""
    taken_ms: Millis
    key: Line
    height: Height | None = None
    signers: U32 = 0
    members: U32 = 0
    anchored: bool = False
    payout: Line | None = None
    """Address that earnings go to, and its *balance*; the node key itself where it is no trainer."""
    balance: Grains | None = None
    bond: Grains | None = None
    unbonding: Grains | None = None
    held: Grains | None = None
    """Out of reach until hidden work was shown."""
    validator_bond: Grains | None = None
    owed: Grains | None = None
    """What open tasks owe for closed rounds in the dispute window: of all of them where *whole*, else at least this."""
    whole: bool = True
    rounds: Annotated[tuple[RoundOwed, ...], Meta(max_length=ROUNDS_OWED)] = ()
    contradictions: Annotated[tuple[Contradiction, ...], Meta(max_length=CONTRADICTIONS)] = ()
