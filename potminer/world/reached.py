"""How far the chain had come on this disk, said outside of its database.

A database that goes back to an earlier whole state (a copy from yesterday, a log that a lying disk cut at a commit)
looks as sound as ever from inside. The note lies beside the key and is written after the database has the block, so it
is never ahead of a disk that keeps what it promised. It is not forced out to the disk: a note that is behind says less,
and nothing false.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

_CHAIN_BYTES, _HEIGHT_BYTES = 32, 8


class Reached:
    """Use as ``with``. *chain* is the network's: a height of another says nothing."""

    def __init__(self, path: Path, chain: bytes) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._file = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
        self._chain = chain
        said = self._file.read(_CHAIN_BYTES + _HEIGHT_BYTES)
        known = len(said) == _CHAIN_BYTES + _HEIGHT_BYTES and said.startswith(chain)
        self.height = int.from_bytes(said[_CHAIN_BYTES:], "big") if known else 0
        """Of the newest block that was on the disk when this file was opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def rise(self, height: int) -> None:
        """Block *height* is on the disk now. A disk without room for 40 bytes is told elsewhere."""
        with suppress(OSError):
            self._file.seek(0)
            self._file.write(self._chain + height.to_bytes(_HEIGHT_BYTES, "big"))
