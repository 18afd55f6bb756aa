"""The blob folder: large content by its digest, safe against a kill at any instant.

A blob appears under its name complete or not at all (write aside, sync, rename). The GPU child
shares the folder and puts blobs there the same way, but for the sync: what goes with the power is
made again. What nobody pinned goes, least recently used first, when the folder's bound is reached.
Methods block on the disk and may be called from several threads.

Layout: ``ab/cdef...`` complete blobs (``base.blobs.file_name``), ``partial/`` what is being
fetched, ``aside/`` what is being written.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path

from potminer.base.blobs import (
    PIECE_BYTES,
    blob_id_from_pieces,
    file_name,
    piece_count,
    piece_digests,
    piece_proof,
    verify_piece,
)
from potminer.base.errors import PotminerError
from potminer.base.limits import BLOB_BYTES

DIGESTS_CACHED = 65_536
"""Digests of pieces kept in memory, 64 GiB worth of content: about 5 MB."""

_HEAD_BYTES = 8
_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\Z")


class StoreFull(PotminerError):
    """No room, even after everything that is not pinned was removed."""


class NoBlob(PotminerError):
    """The blob is not here, not whole, or larger than the caller allows."""


class BlobStore:
    def __init__(self, folder: Path, max_bytes: int = 64 * 1024**3) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        self._sizes: OrderedDict[bytes, int] = OrderedDict()
        self._partials: OrderedDict[bytes, int] = OrderedDict()
        self._open: set[bytes] = set()
        self._pins: Counter[bytes] = Counter()
        self._kept: frozenset[bytes] = frozenset()
        self._digests: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._asides = 0
        shutil.rmtree(folder / "aside", ignore_errors=True)
        for name in ("aside", "partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._find_blobs()
        self._find_partials()

    # ---- what is here --------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where uploads may be drafted: on the same disk, so that adopting one copies nothing."""
        return self._folder

    @property
    def total_bytes(self) -> int:
        with self._lock:
            return sum(self._sizes.values()) + sum(self._partials.values())

    def path(self, blob: bytes) -> Path:
        """Where *blob* lies or would lie."""
        return self._folder / file_name(blob)

    def has(self, blob: bytes) -> bool:
        return self._look(blob) is not None

    def size(self, blob: bytes) -> int:
        """Bytes of *blob*; NoBlob where it is not here."""
        size = self._look(blob)
        if size is None:
            raise NoBlob(f"blob {blob.hex()[:12]} is not here")
        return size

    def read(self, blob: bytes, max_bytes: int) -> bytes:
        """All of *blob*, checked against its id; NoBlob where it is larger than *max_bytes*."""
        if self.size(blob) > max_bytes:
            raise NoBlob(f"blob {blob.hex()[:12]} is larger than {max_bytes} bytes")
        try:
            data = self.path(blob).read_bytes()
        except FileNotFoundError as error:
            raise NoBlob(f"blob {blob.hex()[:12]} has gone") from error
        if blob_id_from_pieces(piece_digests(data), size=len(data)) != blob:
            raise self._damaged(blob)
        self._touch(blob)
        return data

    def piece(self, blob: bytes, index: int) -> tuple[bytes, list[bytes]]:
        """Piece *index* and its proof, checked as a receiver would; NoBlob where that fails."""
        size = self.size(blob)
        digests = self._digests_of(blob)
        if not 0 <= index < len(digests):
            raise NoBlob(f"blob {blob.hex()[:12]} has no piece {index}")
        try:
            with self.path(blob).open("rb") as file:
                file.seek(index * PIECE_BYTES)
                data = file.read(PIECE_BYTES)
        except FileNotFoundError as error:
            raise NoBlob(f"blob {blob.hex()[:12]} has gone") from error
        siblings = piece_proof(digests, index)
        if not verify_piece(blob=blob, size=size, index=index, data=data, siblings=siblings):
            raise self._damaged(blob)
        self._touch(blob)
        return data, siblings

    # ---- what comes in -------------------------------------------------------------------

    def put(self, data: bytes) -> bytes:
        """Keep *data*; its id."""
        digests = piece_digests(data)
        blob = blob_id_from_pieces(digests, size=len(data))
        if not self.has(blob):
            with self._aside() as aside:
                self._make_room(len(data))
                _write_synced(aside.path, (data,))
                self._adopt(blob, aside.path, len(data))
        self._remember(blob, digests)
        return blob

    def put_file(self, source: Path) -> bytes:
        """Keep a copy of *source*, read as a stream; its id. One piece is in memory at a time."""
        digests: list[bytes] = []
        with self._aside() as aside:
            self._make_room(source.stat().st_size)
            _write_synced(aside.path, _observed(source, digests))
            size = aside.path.stat().st_size
            blob = blob_id_from_pieces(digests, size=size)
            if not self.has(blob):
                self._adopt(blob, aside.path, size)
        self._remember(blob, digests)
        return blob

    def resume(self, blob: bytes) -> Partial | None:
        """What an earlier fetch of *blob* left, opened; None where there is nothing."""
        with self._lock:
            size = self._partials.get(blob)
        return None if size is None else self.partial(blob, size)

    def partial(self, blob: bytes, size: int) -> Partial:
        """A place to collect the pieces of *blob*, with those that an earlier fetch left.

        Call it only with a size proven by a piece: it reserves the room. Open once at a time.
        """
        if not 0 <= size <= BLOB_BYTES:
            raise StoreFull(f"a blob of {size} bytes is beyond the limit")
        with self._lock:
            if blob in self._open:
                raise AssertionError("a partial blob is open once at a time")
            if self._partials.get(blob) != size:
                self._drop_partial(blob)
                self._make_room(size)
            self._partials[blob] = size
            self._partials.move_to_end(blob)
            self._open.add(blob)
        return Partial(self, blob, size, self._folder / "partial" / blob.hex())

    # ---- what must stay ------------------------------------------------------------------

    def pin(self, blob: bytes) -> None:
        """Keep *blob* (also one yet to come) until it was unpinned as often. Not durable."""
        with self._lock:
            self._pins[blob] += 1

    def unpin(self, blob: bytes) -> None:
        with self._lock:
            if self._pins[blob] <= 1:
                del self._pins[blob]
            else:
                self._pins[blob] -= 1

    def keep(self, blobs: frozenset[bytes]) -> None:
        """Pin *blobs*, and of earlier calls no others. Not durable."""
        with self._lock:
            self._kept = blobs

    def remove(self, blob: bytes) -> None:
        with self._lock:
            self._sizes.pop(blob, None)
            self._digests.pop(blob, None)
            self.path(blob).unlink(missing_ok=True)

    # ---- inside --------------------------------------------------------------------------

    def _look(self, blob: bytes) -> int | None:
        """Size of *blob* on disk: the child may have put it there meanwhile."""
        with self._lock:
            try:
                size = self.path(blob).stat().st_size
            except FileNotFoundError:
                self._sizes.pop(blob, None)
                return None
            self._sizes.setdefault(blob, size)
            return size

    def _touch(self, blob: bytes) -> None:
        with self._lock:
            if blob in self._sizes:
                self._sizes.move_to_end(blob)

    def _damaged(self, blob: bytes) -> NoBlob:
        self.remove(blob)
        return NoBlob(f"blob {blob.hex()[:12]} was damaged on disk and is removed", "check the disk")

    def _digests_of(self, blob: bytes) -> list[bytes]:
        with self._lock:
            known = self._digests.get(blob)
            if known is not None:
                self._digests.move_to_end(blob)
                return known
        digests: list[bytes] = []
        try:
            for _ in _observed(self.path(blob), digests):
                pass
        except FileNotFoundError as error:
            raise NoBlob(f"blob {blob.hex()[:12]} has gone") from error
        self._remember(blob, digests)
        return digests

    def _remember(self, blob: bytes, digests: list[bytes]) -> None:
        with self._lock:
            self._digests[blob] = digests
            while sum(map(len, self._digests.values())) > DIGESTS_CACHED and len(self._digests) > 1:
                self._digests.popitem(last=False)

    def _aside(self) -> _Aside:
        with self._lock:
            self._asides += 1
            return _Aside(self._folder / "aside" / f"{os.getpid()}-{self._asides}")

    def _adopt(self, blob: bytes, path: Path, size: int) -> None:
        """The instant at which a blob is here."""
        with self._lock:
            target = self.path(blob)
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
            self._sizes[blob] = size

    def _make_room(self, size: int) -> None:
        """Removes partials nobody collects, then the least recently used blobs nobody pinned."""
        with self._lock:
            excess = self.total_bytes + size - self._max_bytes
            idle = [blob for blob in self._partials if blob not in self._open]
            unpinned = [blob for blob in self._sizes if not self._pins[blob] and blob not in self._kept]
            if excess > sum(self._partials[b] for b in idle) + sum(self._sizes[b] for b in unpinned):
                raise StoreFull("the blob folder is full of pinned blobs", "raise its limit or free disk space")
            for blob in idle:
                if excess > 0:
                    excess -= self._partials[blob]
                    self._drop_partial(blob)
            for blob in unpinned:
                if excess > 0:
                    excess -= self._sizes[blob]
                    self.remove(blob)

    def _drop_partial(self, blob: bytes) -> None:
        self._partials.pop(blob, None)
        place = self._folder / "partial" / blob.hex()
        place.with_suffix(".map").unlink(missing_ok=True)
        place.with_suffix(".data").unlink(missing_ok=True)

    def _close_partial(self, blob: bytes, finished: Path | None) -> None:
        with self._lock:
            self._open.discard(blob)
            if finished is not None:
                size = self._partials[blob]
                self._adopt(blob, finished, size)
                self._drop_partial(blob)

    def _find_blobs(self) -> None:
        """Everything complete in the folder, oldest first."""
        found = []
        for path in self._folder.glob("[0-9a-f][0-9a-f]/*"):
            name = path.relative_to(self._folder).as_posix()
            if _NAME.match(name) and path.is_file():
                stat = path.stat()
                found.append((stat.st_mtime_ns, bytes.fromhex(name.replace("/", "")), stat.st_size))
        for _, blob, size in sorted(found):
            self._sizes[blob] = size

    def _find_partials(self) -> None:
        place = self._folder / "partial"
        for path in sorted(place.glob("*.data"), key=lambda path: path.stat().st_mtime_ns):
            size = _mapped_size(path.with_suffix(".map"))
            if re.fullmatch("[0-9a-f]{64}", path.stem) and size is not None and path.stat().st_size == size:
                self._partials[bytes.fromhex(path.stem)] = size
            else:
                path.unlink()
        for path in place.glob("*.map"):
            if not path.with_suffix(".data").exists():
                path.unlink()


class Partial:
    """A blob under way: a file of its final size and a map of which pieces it holds.

    Every piece is checked before it is written, and marked after. Blocks on the disk; one thread
    at a time. Use as a context manager, or call ``close``.
    """

    def __init__(self, store: BlobStore, blob: bytes, size: int, place: Path) -> None:
        self._store = store
        self.blob = blob
        self.size = size
        self._data_path = place.with_suffix(".data")
        self._map_path = place.with_suffix(".map")
        count = piece_count(size)
        if _mapped_size(self._map_path) != size or not self._data_path.exists():
            self._reset()
        with self._map_path.open("rb") as file:
            file.seek(_HEAD_BYTES)
            held = file.read(count).ljust(count, b"\0")
        self.missing = {index for index in range(count) if held[index] != 1}
        self._data = self._data_path.open("r+b", buffering=0)
        self._map = self._map_path.open("r+b", buffering=0)

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, index: int, data: bytes, siblings: Sequence[bytes]) -> bool:
        """Keep piece *index*; False where it is not that piece."""
        if not verify_piece(blob=self.blob, size=self.size, index=index, data=data, siblings=siblings):
            return False
        _write_at(self._data, index * PIECE_BYTES, data)
        _write_at(self._map, _HEAD_BYTES + index, b"\1")
        self.missing.discard(index)
        return True

    def finish(self) -> bool:
        """Turns a collected blob into one that is here; closes the partial.

        The whole file is hashed first: after a power cut the map may promise what the disk never
        got. False then; everything is missing again and the partial stays open.
        """
        if self.missing:
            raise AssertionError("a blob is finished when no piece is missing")
        digests: list[bytes] = []
        for _ in _observed(self._data_path, digests):
            pass
        if blob_id_from_pieces(digests, size=self.size) != self.blob:
            _write_at(self._map, _HEAD_BYTES, bytes(piece_count(self.size)))
            self.missing = set(range(piece_count(self.size)))
            return False
        os.fsync(self._data.fileno())
        self._close_files()
        self._store._close_partial(self.blob, self._data_path)
        self._store._remember(self.blob, digests)
        return True

    def close(self) -> None:
        """Leaves what is collected for a later fetch. Harmless after ``finish``."""
        if not self._data.closed:
            self._close_files()
            self._store._close_partial(self.blob, None)

    def _reset(self) -> None:
        self._map_path.unlink(missing_ok=True)
        with self._data_path.open("wb") as file:
            file.truncate(self.size)
        _write_synced(self._map_path, (self.size.to_bytes(_HEAD_BYTES, "big"), bytes(piece_count(self.size))))

    def _close_files(self) -> None:
        self._data.close()
        self._map.close()


class _Aside:
    """A file being written; gone on leaving unless it was renamed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)


def _write_at(file: FileIO, at: int, data: bytes) -> None:
    """Unbuffered: with the system when this returns, so the map never runs ahead of the data."""
    file.seek(at)
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _write_synced(path: Path, parts: Iterator[bytes] | Sequence[bytes]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def _observed(path: Path, digests: list[bytes]) -> Iterator[bytes]:
    """The pieces of a file one by one; their digests are appended to *digests*."""
    with path.open("rb") as file:
        while True:
            data = file.read(PIECE_BYTES)
            if data or not digests:
                digests.extend(piece_digests(data))
                yield data
            if len(data) < PIECE_BYTES:
                return


def _mapped_size(path: Path) -> int | None:
    """Size of the blob that a map belongs to; None where the map is no map."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError:
        return None
    size = int.from_bytes(head, "big")
    whole = _HEAD_BYTES + piece_count(size)
    return size if len(head) == _HEAD_BYTES and size <= BLOB_BYTES and path.stat().st_size == whole else None
