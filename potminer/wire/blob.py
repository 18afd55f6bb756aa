"""Blobs between peers: who has it, and its pieces with their proofs."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.blobs import PIECE_BYTES
from potminer.base.bounded import U32, BlobId, Hash
from potminer.wire.codec import Wire

Size = Annotated[int, Meta(ge=0, le=limits.BLOB_BYTES)]


class BlobWanted(Wire, frozen=True):
    """Does the receiver hold *blob*?"""

    blob: BlobId


class BlobHeld(Wire, frozen=True):
    """The sender holds all of *blob*, which has *size* bytes."""

    blob: BlobId
    size: Size


class BlobMissing(Wire, frozen=True):
    blob: BlobId


class PieceWanted(Wire, frozen=True):
    blob: BlobId
    index: U32


class Piece(Wire, frozen=True):
    """One piece and the siblings from its digest to the blob's root."""

    blob: BlobId
    index: U32
    data: Annotated[bytes, Meta(max_length=PIECE_BYTES)]
    siblings: Annotated[tuple[Hash, ...], Meta(max_length=32)]
