"""Frames between node and worker: four big-endian bytes of length, then one canonical encoding."""

from __future__ import annotations

import threading
from io import RawIOBase
from typing import BinaryIO

from potminer.base.errors import Malformed
from potminer.wire.codec import decode, encode
from potminer.wire.trainer import PIPE_BYTES, Job, Report


class Broken(Exception):
    """The stream cannot be followed any further."""


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame's bytes, None at the end of the stream; Broken where it is cut off or too long."""
    head = stream.read(4)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if len(head) < 4 or length > PIPE_BYTES:
        raise Broken(f"a frame of {length} bytes where at most {PIPE_BYTES} are allowed")
    body = stream.read(length)
    if len(body) < length:
        raise Broken("the stream ended inside a frame")
    return body


def decode_job(frame: bytes) -> Job:
    """Malformed where *frame* is no job."""
    return decode(Job, frame, max_bytes=PIPE_BYTES)  # type: ignore[arg-type]


class Outbox:
    """Reports on their way to the node; several threads speak, one frame at a time.

    The stream is unbuffered: a thread that dies with the process must not hold a buffer's lock.
    """

    def __init__(self, stream: RawIOBase) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, report: Report) -> None:
        """BrokenPipeError where nobody listens any more."""
        body = encode(report)
        if len(body) > PIPE_BYTES:
            raise Malformed("a report longer than the pipe allows")
        rest = memoryview(len(body).to_bytes(4, "big") + body)
        with self._lock:
            while rest:
                rest = rest[self._stream.write(rest) or 0 :]
