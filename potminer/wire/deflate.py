"""Frames made shorter for a link that takes less than there is to say.

A transaction repeats its chain, its sender and its shape: what is left of 190 bytes is a signature and some more. One
stream of deflate for each direction of a link, so that what was said before is a reference now; each frame is flushed
whole. A deflated frame is a shell around an ordinary one, integers big-endian::

    deflated   4  length u16  bytes of the stream

Only transactions and blocks go this way, which everybody is told anyway: how well they shrink betrays nothing.
"""

from __future__ import annotations

import struct
import zlib

from potminer.base.errors import Malformed
from potminer.wire.frame import FRAME_BYTES
from potminer.wire.registry import Channel

TAG = 4
DEFLATED_CHANNELS = frozenset({Channel.CONSENSUS, Channel.SYNC, Channel.GOSSIP})
"""Not of blobs: weights do not shrink."""
LEAST_BYTES = 512
"""A shorter frame, a vote, is a signature and little else."""
LEVEL = 1
"""1.3 µs a transaction; level 6 would make it one in a hundred shorter."""
_SHELL = struct.Struct(">BH")
_FLUSH_BYTES = 64
"""What the stream adds to bytes that do not shrink: five for a block of them, five for the flush."""

SHELL_BYTES = _SHELL.size + _FLUSH_BYTES
"""A deflated frame is at most so much longer than the frame inside."""


class Deflater:
    """The sending half of a direction: 256 KiB once it is used. Every frame that it made is to be sent, in order."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)

    def shell(self, frame: bytes) -> bytes:
        """*frame*, an encoded one, deflated."""
        packed = self._stream.compress(frame) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        if len(packed) > len(frame) + _FLUSH_BYTES:
            raise AssertionError(f"deflate made {len(packed)} bytes of {len(frame)}")
        return _SHELL.pack(TAG, len(frame)) + packed


class Inflater:
    """The receiving half: 40 KiB once it is used."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def frame(self, data: bytes) -> bytes:
        """The encoded frame that *data* stands for: itself, or what is in its shell. Never longer than a frame, and
        as long as the shell says; Malformed otherwise."""
        if not data or data[0] != TAG:
            return data
        if len(data) < _SHELL.size:
            raise Malformed("a deflated frame without its head")
        _, length = _SHELL.unpack_from(data)
        if not 0 < length <= FRAME_BYTES:
            raise Malformed(f"a deflated frame of {length} bytes")
        try:
            frame = self._stream.decompress(data[_SHELL.size :], length + 1)
        except zlib.error as error:
            raise Malformed("a deflated frame that cannot be inflated") from error
        if len(frame) != length or self._stream.unconsumed_tail or self._stream.eof:
            raise Malformed("a deflated frame of another length")
        if frame[0] == TAG:
            raise Malformed("a shell in a shell")
        return frame
