"""The blob folder shared with the node: files named by what they hold."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from potminer.base.blobs import blob_id, file_name
from potminer.base.errors import Malformed
from potminer.train.refusal import Reason, Refused


class Folder:
    """Blobs under *root*. What is read is compared with its name, what is written appears whole or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, blob: bytes) -> Path:
        return self.root / file_name(blob)

    def read(self, blob: bytes, *, size: int, or_size: int | None = None) -> bytes:
        """The blob, which must have *size* bytes, or *or_size* where that is given.

        Refused where it is not here (a damaged file is not here either); Malformed where the
        blob of that name has another size, which is then nobody's fault but its author's.
        """
        actual = self._size(blob)
        if actual not in (size, or_size):
            self.verify(blob)
            raise Malformed(f"a blob of {actual} bytes where {size} are needed")
        try:
            data = self.path(blob).read_bytes()
        except OSError as error:
            raise Refused(Reason.MISSING_BLOB, f"{blob.hex()}: {error.strerror}") from error
        if blob_id(data) != blob:
            raise Refused(Reason.MISSING_BLOB, f"{blob.hex()}: the file does not match its name")
        return data

    def verify(self, blob: bytes) -> int:
        """Size of a blob whose bytes match its name; they are hashed without being loaded."""
        path, size = self.path(blob), self._size(blob)
        try:
            held = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
        except OSError as error:
            raise Refused(Reason.MISSING_BLOB, f"{blob.hex()}: {error.strerror}") from error
        if blob_id(held.data) != blob:
            raise Refused(Reason.MISSING_BLOB, f"{blob.hex()}: the file does not match its name")
        return size

    def _size(self, blob: bytes) -> int:
        try:
            return self.path(blob).stat().st_size
        except OSError as error:
            raise Refused(Reason.MISSING_BLOB, f"{blob.hex()}: {error.strerror}") from error

    def write(self, data: bytes) -> bytes:
        """Name of *data*, which lies in the folder afterwards."""
        blob = blob_id(data)
        path = self.path(blob)
        if self._holds(blob):
            return blob
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
        return blob

    def _holds(self, blob: bytes) -> bool:
        try:
            self.verify(blob)
        except Refused:
            return False
        return True
