"""The blob folder: complete or absent, bounded, resumable."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from potminer.base.blobs import PIECE_BYTES, blob_id, file_name, piece_digests, piece_proof
from potminer.world.store.blobs import BlobStore, NoBlob, StoreFull

BIG = Random(3).randbytes(2 * PIECE_BYTES) + b"tail"
ID = blob_id(BIG)


def piece(index: int, data: bytes = BIG) -> tuple[bytes, list[bytes]]:
    return data[index * PIECE_BYTES : (index + 1) * PIECE_BYTES], piece_proof(piece_digests(data), index)


@pytest.mark.parametrize("data", [b"", b"x", BIG[:PIECE_BYTES], BIG], ids=["empty", "byte", "piece", "big"])
def test_what_is_put_is_found_under_its_name(tmp_path: Path, data: bytes) -> None:
    store = BlobStore(tmp_path)
    blob = store.put(data)
    assert blob == blob_id(data)
    assert store.path(blob) == tmp_path / file_name(blob)
    assert store.has(blob)
    assert store.size(blob) == len(data)
    assert store.read(blob, len(data)) == data
    again = BlobStore(tmp_path)
    assert again.read(blob, 2**30) == data
    assert again.piece(blob, 0) == piece(0, data)


def test_a_file_is_taken_as_a_stream(tmp_path: Path) -> None:
    source = tmp_path / "model.safetensors"
    source.write_bytes(BIG)
    store = BlobStore(tmp_path / "blobs")
    assert store.put_file(source) == ID
    assert store.read(ID, len(BIG)) == BIG
    assert store.put_file(source) == ID
    assert not list((tmp_path / "blobs" / "aside").iterdir())


def test_what_is_not_here_or_too_large_is_refused(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    assert not store.has(ID)
    for ask in (lambda: store.size(ID), lambda: store.read(ID, 10), lambda: store.piece(ID, 0)):
        with pytest.raises(NoBlob):
            ask()
    store.put(BIG)
    with pytest.raises(NoBlob, match="larger"):
        store.read(ID, len(BIG) - 1)
    with pytest.raises(NoBlob, match="no piece"):
        store.piece(ID, 3)


def test_a_blob_that_the_child_puts_aside_and_renames_is_here(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    target = store.path(ID)
    target.parent.mkdir()
    target.write_bytes(BIG)
    assert store.piece(ID, 2) == piece(2)


def test_a_blob_damaged_on_disk_is_removed_not_served(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    store.put(BIG)
    store.path(ID).write_bytes(b"y" + BIG[1:])
    with pytest.raises(NoBlob, match="damaged"):
        store.piece(ID, 0)
    assert not store.has(ID)
    store.put(BIG)
    store.path(ID).write_bytes(BIG[:-1])
    with pytest.raises(NoBlob, match="damaged"):
        store.read(ID, 2**30)


def test_a_blob_is_collected_piece_by_piece_across_restarts(tmp_path: Path) -> None:
    with BlobStore(tmp_path).partial(ID, len(BIG)) as partial:
        assert partial.missing == {0, 1, 2}
        assert partial.write(1, *piece(1))
        assert not partial.write(0, *piece(1))
        assert not partial.write(0, b"z" + piece(0)[0][1:], piece(0)[1])
        assert partial.missing == {0, 2}
    store = BlobStore(tmp_path)
    assert not store.has(ID)
    resumed = store.resume(ID)
    assert resumed is not None
    assert resumed.missing == {0, 2}
    assert resumed.write(0, *piece(0))
    assert resumed.write(2, *piece(2))
    assert resumed.finish()
    assert store.read(ID, len(BIG)) == BIG
    assert store.resume(ID) is None
    assert not list((tmp_path / "partial").iterdir())


def test_a_map_that_promises_what_the_disk_never_got_starts_over(tmp_path: Path) -> None:
    store = BlobStore(tmp_path)
    with store.partial(ID, len(BIG)) as partial:
        for index in range(3):
            partial.write(index, *piece(index))
    data = tmp_path / "partial" / f"{ID.hex()}.data"
    data.write_bytes(bytes(PIECE_BYTES) + data.read_bytes()[PIECE_BYTES:])
    resumed = BlobStore(tmp_path).resume(ID)
    assert resumed is not None
    assert not resumed.finish()
    assert resumed.missing == {0, 1, 2}
    resumed.close()
    assert not BlobStore(tmp_path).has(ID)


@pytest.mark.parametrize("left", ["data", "map"])
def test_half_of_a_partial_is_swept_away(tmp_path: Path, left: str) -> None:
    with BlobStore(tmp_path).partial(ID, len(BIG)):
        pass
    (tmp_path / "partial" / f"{ID.hex()}.{left}").unlink()
    (tmp_path / "aside" / "1-1").write_bytes(b"half written")
    store = BlobStore(tmp_path)
    assert store.resume(ID) is None
    assert not list((tmp_path / "partial").iterdir())
    assert not list((tmp_path / "aside").iterdir())


def test_the_least_recently_used_goes_first_and_the_pinned_stay(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, max_bytes=300)
    first, second, third = (store.put(bytes([n]) * 100) for n in range(3))
    store.pin(second)
    store.read(first, 100)
    fourth = store.put(b"4" * 100)
    assert [store.has(blob) for blob in (first, second, third, fourth)] == [True, True, False, True]
    fifth = store.put(b"5" * 200)
    assert [store.has(blob) for blob in (first, second, fourth, fifth)] == [False, True, False, True]
    assert store.total_bytes == 300
    with pytest.raises(StoreFull):
        store.put(b"6" * 201)
    assert store.has(fifth)
    store.unpin(second)
    store.keep(frozenset({second}))
    with pytest.raises(StoreFull):
        store.put(b"6" * 201)
    store.keep(frozenset())
    assert store.has(store.put(b"6" * 201))
    assert store.total_bytes <= 300


def test_partials_nobody_collects_go_before_blobs(tmp_path: Path) -> None:
    store = BlobStore(tmp_path, max_bytes=len(BIG) + 100)
    with store.partial(ID, len(BIG)):
        kept = store.put(b"k" * 100)
        with pytest.raises(StoreFull):
            store.put(b"l" * 101)
    store.put(b"l" * 101)
    assert store.has(kept)
    assert store.resume(ID) is None
