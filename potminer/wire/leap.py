"""Leaping over blocks: a snapshot of the ledger's state, offered, listed and sent in chunks.

The header of h + 1 names the state after block h, so it is what proves the snapshot of h.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U16, Epoch, Height
from potminer.wire.codec import Wire
from potminer.wire.proof import KEY_BYTES, VALUE_BYTES, CertifiedHeader, Shown

CHUNK_BYTES = 131_072
"""A state is cut into subtrees of at most so many bytes: some 3,000 accounts, ten milliseconds of judging. Part of
the protocol: who cuts otherwise makes chunks that nobody else can send."""
CHUNK_ITEMS = 4_096
CHUNK_MESSAGE_BYTES = VALUE_BYTES + 65_536
"""A record larger than a chunk is one by itself."""
DIGEST_BYTES = 32
STEPS_PER_OFFER = 16
"""Each step's certificate is verified at once: 16 of the largest committee take 40 ms."""
OFFER_BYTES = 524_288
MANIFEST_BYTES = limits.SNAPSHOT_CHUNKS * (DIGEST_BYTES + 1) + 64

Item = tuple[Annotated[bytes, Meta(min_length=1, max_length=KEY_BYTES)], Annotated[bytes, Meta(max_length=VALUE_BYTES)]]
Items = tuple[Item, ...]


class SnapshotWanted(Wire, frozen=True):
    """Asks for steps from committee to committee, from *epoch* on, and which snapshot there is."""

    epoch: Epoch


class SnapshotOffer(Wire, frozen=True):
    """*steps* of consecutive epochs; *certified* is the header after the newest snapshot's block, which proves it."""

    steps: Annotated[tuple[Shown, ...], Meta(max_length=STEPS_PER_OFFER)]
    certified: CertifiedHeader | None


class ManifestWanted(Wire, frozen=True):
    height: Height


class Manifest(Wire, frozen=True):
    """The snapshot after block *height*: depth and digest of each chunk, in the order of their paths. Nothing: the
    sender has it not."""

    height: Height
    depths: Annotated[bytes, Meta(max_length=limits.SNAPSHOT_CHUNKS)]
    digests: Annotated[bytes, Meta(max_length=limits.SNAPSHOT_CHUNKS * DIGEST_BYTES)]


class ChunkWanted(Wire, frozen=True):
    height: Height
    index: U16


class Chunk(Wire, frozen=True):
    """The records of one chunk, in the order of their paths. None of them: the sender has it not."""

    height: Height
    index: U16
    items: Annotated[Items, Meta(max_length=CHUNK_ITEMS)]


class Pruned(Wire, frozen=True):
    """An answer to a question for blocks that the sender let go: its oldest is *first*."""

    first: Height
