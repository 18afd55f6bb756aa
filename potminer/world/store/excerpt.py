"""An excerpt of a blob: some of its bytes, collected from pieces that are each checked against its id."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from potminer.base.blobs import PIECE_BYTES, verify_piece
from potminer.world.store.blobs import BlobStore

Span = tuple[int, int]


class Excerpt:
    """*ranges* of *blob*, which has *size* bytes, one after the other. Blocks on the disk; one thread at a time."""

    def __init__(self, store: BlobStore, blob: bytes, size: int, ranges: Sequence[Span]) -> None:
        if not all(0 <= first <= last <= size for first, last in ranges):
            raise AssertionError("an excerpt lies inside its blob")
        self._store = store
        self.blob = blob
        self.size = size
        self._ranges = ranges
        self.missing = {
            index
            for first, last in ranges
            if last > first
            for index in range(first // PIECE_BYTES, -(-last // PIECE_BYTES))
        }
        self._file = tempfile.NamedTemporaryFile(dir=store.folder / "aside")  # noqa: SIM115 - __exit__ is its end

    def write(self, index: int, data: bytes, siblings: Sequence[bytes]) -> bool:
        """Keep what piece *index* holds of it; False where it is not that piece."""
        if not verify_piece(blob=self.blob, size=self.size, index=index, data=data, siblings=siblings):
            return False
        start, at = index * PIECE_BYTES, 0
        for first, last in self._ranges:
            begin, end = max(first, start), min(last, start + len(data))
            if begin < end:
                self._file.seek(at + begin - first)
                self._file.write(data[begin - start : end - start])
            at += last - first
        self.missing.discard(index)
        return True

    def take(self) -> None:
        """Everything out of the store; NoBlob where the blob is not there, or has another size."""
        for index in sorted(self.missing):
            if not self.write(index, *self._store.piece(self.blob, index)):
                return

    def finish(self) -> bytes:
        """The excerpt as a blob of its own."""
        if self.missing:
            raise AssertionError("an excerpt is finished when no piece is missing")
        self._file.flush()
        return self._store.put_file(Path(self._file.name))

    def __enter__(self) -> Excerpt:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
