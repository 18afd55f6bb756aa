"""Blobs: one id per byte string, and pieces that prove themselves."""

from __future__ import annotations

from hashlib import sha256

import pytest

from potminer.base import blobs
from potminer.base.blobs import LEAF_BYTES, PIECE_BYTES

SIZES = (0, 1, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES - 7)


def content(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_every_piece_proves_itself(size: int) -> None:
    data = content(size)
    blob, digests = blobs.blob_id(data), blobs.piece_digests(data)
    assert len(digests) == blobs.piece_count(size)
    assert blobs.blob_id_from_pieces(digests, size=size) == blob
    for index in range(len(digests)):
        piece = data[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]
        proof = blobs.piece_proof(digests, index)
        assert blobs.verify_piece(blob=blob, size=size, index=index, data=piece, siblings=proof)


def test_a_wrong_piece_size_index_or_proof_is_refused() -> None:
    data = content(2 * PIECE_BYTES + 5)
    blob, digests, size = blobs.blob_id(data), blobs.piece_digests(data), len(data)
    first, proof = data[:PIECE_BYTES], blobs.piece_proof(digests, 0)
    flipped = bytes([first[0] ^ 1]) + first[1:]
    check = blobs.verify_piece
    assert check(blob=blob, size=size, index=0, data=first, siblings=proof)
    assert not check(blob=blob, size=size, index=0, data=flipped, siblings=proof)
    assert not check(blob=blob, size=size, index=1, data=first, siblings=proof)
    assert not check(blob=blob, size=size + 1, index=0, data=first, siblings=proof)
    assert not check(blob=blob, size=size, index=0, data=first[:-1], siblings=proof)
    assert not check(blob=blob, size=size, index=0, data=first, siblings=proof[:-1])
    assert not check(blob=blob, size=size, index=0, data=first, siblings=[*proof, bytes(32)])
    assert not check(blob=blob, size=size, index=3, data=b"", siblings=proof)
    assert not check(blob=blob, size=size, index=-1, data=first, siblings=proof)
    assert not check(blob=bytes(32), size=size, index=0, data=first, siblings=proof)


def test_the_length_is_part_of_the_id() -> None:
    assert len({blobs.blob_id(content(size)) for size in SIZES}) == len(SIZES)
    assert blobs.blob_id(b"\x00") != blobs.blob_id(b"\x00\x00")


def test_one_leaf_by_hand() -> None:
    data = b"potminer"
    tree = sha256(b"\x00" + data).digest()
    assert blobs.blob_id(data) == sha256(b"\x02" + len(data).to_bytes(8, "big") + tree).digest()


def test_an_id_names_a_file_two_levels_deep() -> None:
    assert blobs.file_name(bytes(31) + b"\x01") == "00/" + "00" * 30 + "01"
