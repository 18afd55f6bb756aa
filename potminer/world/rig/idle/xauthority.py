"""The cookie that opens an X display, from the files that xauth and login screens write."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

FILE_BYTES = 65_536
COOKIE = b"MIT-MAGIC-COOKIE-1"


def find_cookies(files: Iterable[Path], display: int) -> list[bytes]:
    """Every cookie for local display *display* in *files*, most fitting file first."""
    found: list[bytes] = []
    for path in files:
        try:
            with path.open("rb") as file:
                data = file.read(FILE_BYTES)
        except OSError:
            continue
        for number, name, value in _records(data):
            if name == COOKIE and number in (b"", str(display).encode()) and value not in found:
                found.append(value)
    return found


def _records(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Display number, protocol and value of each entry; a torn end is the end."""
    at = 2
    while at < len(data):
        fields = []
        for _ in range(4):
            if at + 2 > len(data):
                return
            (size,) = struct.unpack_from(">H", data, at)
            fields.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        if at > len(data):
            return
        yield fields[1], fields[2], fields[3]
        at += 2
