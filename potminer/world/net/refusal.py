"""Refusals: why a link was not made, and what a peer did wrong on one."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

OffenceWord = Literal["malformed", "forged", "unexpected", "flood"]
"""What an authenticated peer can be blamed for."""


class Refusal(StrEnum):
    """Why there is no link."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    """The other end hung up: it may be full, may have banned us, or serve another chain."""
    BAD_HANDSHAKE = "bad-handshake"
    """Not our protocol, another chain, or an identity that does not hold."""
    OTHER_VERSION = "other-version"
    """The other end says that it speaks another version of the protocol. Nothing of it is proven."""
    OURSELVES = "ourselves"
    WRONG_PEER = "wrong-peer"
    BANNED = "banned"
    FULL = "full"
    DUPLICATE = "duplicate"
    """Another link to this peer stands or is being made."""
    MISBEHAVED = "misbehaved"
    """The authenticated peer's first words were wrong."""


class LinkRefused(Exception):
    """No link: *reason*, and *peer* where the other end had already proven its key."""

    def __init__(self, reason: Refusal, detail: str = "", peer: bytes | None = None) -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
        self.peer = peer


class Misbehaviour(Exception):
    """What the peer of a link did wrong. Never leaves this room: it ends the link and is reported."""

    def __init__(self, offence: OffenceWord, detail: str) -> None:
        super().__init__(detail)
        self.offence: OffenceWord = offence
        self.detail = detail
