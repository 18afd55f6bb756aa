"""Why something that was shown is not believed."""

from __future__ import annotations

from enum import StrEnum


class Flaw(StrEnum):
    OTHER = "other"
    """The certificate is of another block, height, epoch or purpose."""
    UNKNOWN_EPOCH = "unknown-epoch"
    """Its committee has not been learnt yet: the epochs between are needed first."""
    WRONG_EPOCH = "wrong-epoch"
    """No block of that height is of that epoch."""
    DUPLICATE = "duplicate"
    """A signer twice, out of order, or not of the committee."""
    INSUFFICIENT = "insufficient"
    """Fewer signers than a quorum of its committee."""
    FORGED = "forged"
    """A signature does not hold: another chain, another signer, or other words."""
    STALE = "stale"
    """Older than what is known already."""
    EXPIRED = "expired"
    """So old that those who vouch for it could sign anything without loss."""
    FUTURE = "future"
    """From a time that has not come yet."""
    BROKEN = "broken"
    """It does not follow what is known: its parent or its time is another."""
    CONFLICT = "conflict"
    """Another block is final at the same height: more than a third of a committee broke agreement."""
    NOT_SHOWN = "not-shown"
    """The proof does not show what it is for."""
    BAD_COMMITTEE = "bad-committee"
    """A committee that cannot be one."""
