"""Catching up: certified blocks in ranges."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from potminer.base.bounded import Hash, Height
from potminer.wire.block import CertifiedBlock
from potminer.wire.codec import Wire

BLOCKS_PER_REPLY = 64
RETRY_MS = 10_000
"""As long as who is busy may put a question off."""


class Asked(IntEnum):
    """What a question was for."""

    BLOCKS = 0
    SNAPSHOT = 1


class Head(Wire, frozen=True):
    """Says which block the sender holds last. A claim: only certificates are believed."""

    height: Height
    digest: Hash


class BlocksWanted(Wire, frozen=True):
    first: Height
    count: Annotated[int, Meta(ge=1, le=BLOCKS_PER_REPLY)]


class NextWanted(Wire, frozen=True):
    """Asks for block *height* before it exists: answered with ``Blocks`` as soon as it does, or with ``Busy``."""

    height: Height


class Blocks(Wire, frozen=True):
    """Consecutive certified blocks, fewer than asked where the reply would grow too large."""

    blocks: Annotated[tuple[CertifiedBlock, ...], Meta(max_length=BLOCKS_PER_REPLY)]


class Busy(Wire, frozen=True):
    """An answer to a question that is one too many for now: the sender answers again after *retry_ms*."""

    asked: Asked
    retry_ms: Annotated[int, Meta(ge=1, le=RETRY_MS)]
