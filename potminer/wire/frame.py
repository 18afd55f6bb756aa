"""Frames: how messages share one link.

A message is cut into fragments that each fill one Noise message, so a vote waits for one
fragment of a blob at most, never for the blob. Besides fragments a link carries grants of
credit and keepalives. Everything here is pure; everything wrong is Malformed.

Layout of a frame, integers big-endian::

    fragment   0  channel  flags  [number u16, total u32 where FIRST]  data
    grant      1  channel  bytes u32
    ping       2
    pong       3
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from potminer.base.errors import Malformed
from potminer.wire.registry import BY_NUMBER, Channel, Row

FRAGMENT_BYTES = 16 * 1024
"""1.3 ms of a 100 Mbit/s line: the longest a vote waits for a frame already being written."""

WINDOW_BYTES: dict[Channel, int] = {
    Channel.CONSENSUS: 4 * 1024 * 1024,
    Channel.SYNC: 1024 * 1024,
    Channel.GOSSIP: 512 * 1024,
    Channel.RPC: 256 * 1024,
    Channel.BLOB: 256 * 1024,
}
"""Data that may be under way unacknowledged. yamux's 256 KiB for bulk; votes are never short of credit."""

_TAG = struct.Struct(">B")
_FRAGMENT = struct.Struct(">BBB")
_OPENING = struct.Struct(">HI")
_GRANT = struct.Struct(">BBI")
_FIRST, _LAST = 1, 2

FRAME_BYTES = _FRAGMENT.size + _OPENING.size + FRAGMENT_BYTES
"""Longest frame before encryption."""


class _Tag(IntEnum):
    FRAGMENT = 0
    GRANT = 1
    PING = 2
    PONG = 3


@dataclass(frozen=True, slots=True)
class Opening:
    """What the first fragment says of its message: its kind and its length in bytes."""

    number: int
    total: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """Part of a message; *opening* stands in the first one only."""

    channel: Channel
    opening: Opening | None
    last: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Grant:
    """The sender may receive *size* more bytes of fragments on *channel*."""

    channel: Channel
    size: int


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Pong:
    pass


Frame = Fragment | Grant | Ping | Pong


def encode_frame(frame: Frame) -> bytes:
    match frame:
        case Fragment(channel, opening, last, data):
            head = _FRAGMENT.pack(_Tag.FRAGMENT, channel, (opening is not None) * _FIRST | last * _LAST)
            return head + (_OPENING.pack(opening.number, opening.total) if opening else b"") + data
        case Grant(channel, size):
            return _GRANT.pack(_Tag.GRANT, channel, size)
        case Ping():
            return _TAG.pack(_Tag.PING)
        case Pong():
            return _TAG.pack(_Tag.PONG)


def decode_frame(data: bytes) -> Frame:
    """The frame in *data*; Malformed where it is none."""
    if not data:
        raise Malformed("an empty frame")
    match data[0]:
        case _Tag.FRAGMENT:
            return _decode_fragment(data)
        case _Tag.GRANT if len(data) == _GRANT.size:
            _, channel, size = _GRANT.unpack(data)
            return Grant(_channel(channel), size)
        case _Tag.PING if len(data) == 1:
            return Ping()
        case _Tag.PONG if len(data) == 1:
            return Pong()
        case _:
            raise Malformed("no frame looks like this")


def _decode_fragment(data: bytes) -> Fragment:
    at = _FRAGMENT.size
    if len(data) < at:
        raise Malformed("a fragment without its head")
    _, channel, flags = _FRAGMENT.unpack_from(data)
    if flags & ~(_FIRST | _LAST):
        raise Malformed("a fragment with unknown flags")
    opening = None
    if flags & _FIRST:
        if len(data) < at + _OPENING.size:
            raise Malformed("a first fragment without kind and length")
        opening = Opening(*_OPENING.unpack_from(data, at))
        at += _OPENING.size
    if len(data) - at > FRAGMENT_BYTES:
        raise Malformed("a fragment above its size")
    return Fragment(_channel(channel), opening, bool(flags & _LAST), data[at:])


def _channel(number: int) -> Channel:
    try:
        return Channel(number)
    except ValueError as error:
        raise Malformed(f"no channel {number}") from error


def fragments(row: Row, body: bytes) -> Iterator[Fragment]:
    """The fragments of a message, in order: all but the last hold FRAGMENT_BYTES."""
    total = len(body)
    for at in range(0, total, FRAGMENT_BYTES):
        opening = Opening(row.number, total) if at == 0 else None
        yield Fragment(row.channel, opening, at + FRAGMENT_BYTES >= total, body[at : at + FRAGMENT_BYTES])


@dataclass(slots=True)
class _Growing:
    row: Row
    total: int
    held: int
    parts: list[bytes]


class Reassembler:
    """Messages out of fragments: one under way per channel, bounded before anything is kept.

    *admit* sees the row of each message when its first fragment arrives and raises to refuse it.
    """

    def __init__(self, admit: Callable[[Row], None]) -> None:
        self._admit = admit
        self._growing: dict[Channel, _Growing] = {}

    @property
    def held_bytes(self) -> int:
        return sum(growing.held for growing in self._growing.values())

    def feed(self, fragment: Fragment) -> tuple[Row, bytes] | None:
        """Row and body of the message that *fragment* completes, or None while it grows."""
        growing = self._begin(fragment) if fragment.opening else self._continue(fragment.channel)
        missing = growing.total - growing.held
        if len(fragment.data) != min(FRAGMENT_BYTES, missing) or fragment.last != (len(fragment.data) == missing):
            raise Malformed("a fragment that does not fit its message")
        growing.parts.append(fragment.data)
        growing.held += len(fragment.data)
        if not fragment.last:
            return None
        del self._growing[fragment.channel]
        return growing.row, b"".join(growing.parts)

    def _begin(self, fragment: Fragment) -> _Growing:
        if fragment.opening is None or fragment.channel in self._growing:
            raise Malformed("a message inside another one")
        row = BY_NUMBER.get(fragment.opening.number)
        if row is None or row.channel is not fragment.channel:
            raise Malformed(f"no message has kind {fragment.opening.number} on channel {fragment.channel}")
        if not 0 < fragment.opening.total <= row.max_bytes:
            raise Malformed(f"{row.type.__name__} announced with {fragment.opening.total} bytes")
        self._admit(row)
        growing = _Growing(row, fragment.opening.total, 0, [])
        self._growing[fragment.channel] = growing
        return growing

    def _continue(self, channel: Channel) -> _Growing:
        growing = self._growing.get(channel)
        if growing is None:
            raise Malformed("a fragment of no message")
        return growing
