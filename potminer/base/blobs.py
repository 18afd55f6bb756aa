"""Blobs: how large content is named, cut and checked.

A blob is a SHA-256 Merkle tree over 16 KiB leaves (BitTorrent v2's sizes; SHA-256 because
CPUs accelerate it). It travels in pieces of 64 leaves = 1 MiB; a piece carries the digests
from its own subtree root up to the blob's root, so each piece is checked on arrival.
The blob's length is bound into its id: an id names exactly one byte string.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from potminer.base import merkle

LEAF_BYTES = 16 * 1024
PIECE_LEAVES = 64
PIECE_BYTES = LEAF_BYTES * PIECE_LEAVES


def _join(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _piece_digest(data: bytes | memoryview) -> bytes:
    view = memoryview(data)
    leaves = [sha256(b"\x00" + view[at : at + LEAF_BYTES]).digest() for at in range(0, len(view), LEAF_BYTES)]
    return merkle.fold(leaves, _join)


def _bind(tree_root: bytes, size: int) -> bytes:
    return sha256(b"\x02" + size.to_bytes(8, "big") + tree_root).digest()


def piece_count(size: int) -> int:
    return max(1, -(-size // PIECE_BYTES))


def piece_digests(data: bytes | memoryview) -> list[bytes]:
    """Subtree root of every piece; the empty blob has one empty piece."""
    if not len(data):
        return [sha256(b"\x00").digest()]
    view = memoryview(data)
    return [_piece_digest(view[at : at + PIECE_BYTES]) for at in range(0, len(view), PIECE_BYTES)]


def blob_id(data: bytes | memoryview) -> bytes:
    """Content id of *data*."""
    return _bind(merkle.fold(piece_digests(data), _join), len(data))


def blob_id_from_pieces(digests: Sequence[bytes], *, size: int) -> bytes:
    """Content id from the digests of its pieces: lets a large file be hashed as a stream."""
    return _bind(merkle.fold(digests, _join), size)


def piece_proof(digests: Sequence[bytes], index: int) -> list[bytes]:
    """Siblings from piece *index* to the tree root."""
    return merkle.path(digests, index, _join)


def verify_piece(*, blob: bytes, size: int, index: int, data: bytes | memoryview, siblings: Sequence[bytes]) -> bool:
    """Whether *data* is piece *index* of the blob of *size* bytes named *blob*."""
    count = piece_count(size)
    if not 0 <= index < count:
        return False
    expected = PIECE_BYTES if index < count - 1 else size - PIECE_BYTES * (count - 1)
    if len(data) != expected:
        return False
    piece = _piece_digest(data) if expected else sha256(b"\x00").digest()
    implied = merkle.climb(piece, index=index, count=count, siblings=siblings, join=_join)
    return implied is not None and _bind(implied, size) == blob


def file_name(blob: bytes) -> str:
    """Where a blob lies inside a blob folder: two levels, so no folder grows huge."""
    name = blob.hex()
    return f"{name[:2]}/{name[2:]}"
