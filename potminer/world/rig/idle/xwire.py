"""The few requests of the X11 protocol that tell whether somebody is here, spoken by hand.

Xlib would do, but its answer to a display server that dies is to end our process. Numbers and layouts:
X Window System Protocol (X11R7), MIT-SCREEN-SAVER extension 1.1. Little endian, as asked for in the
greeting. Everything is read within one deadline and no reply may be larger than ``REPLY_BYTES``.
"""

from __future__ import annotations

import socket
import struct
import time

REPLY_BYTES = 262_144
_EVENTS = 1_024
"""Events skipped while waiting for a reply; we ask for none, and only few come unasked (a new keyboard map)."""


class NoDisplay(Exception):
    """The display server is not there, or does not speak as it should. The words are for the owner."""


class Refused(NoDisplay):
    """It is there and does not let us in."""


class Mistaken(Exception):
    """It answered one request with an error; the conversation goes on."""


class XConnection:
    """A conversation over *link*, a connected stream. After NoDisplay it is out of step: ``close`` it."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._until = 0.0
        self.root = 0

    def allow(self, deadline_ms: int) -> None:
        """Everything said from now on has to be done in this time."""
        self._until = time.monotonic() + deadline_ms / 1_000

    def close(self) -> None:
        self._link.close()

    def greet(self, name: bytes, value: bytes) -> None:
        """Open the conversation with the cookie *value* of protocol *name* (both empty: none)."""
        self._send(struct.pack("<BxHHHHxx", 0x6C, 11, 0, len(name), len(value)) + _padded(name) + _padded(value))
        status, reason_size, size = struct.unpack("<BBxxxxH", self._read(8))
        body = self._read(size * 4)
        if status != 1:
            words = body[:reason_size].decode("ascii", "replace")
            raise Refused("".join(c for c in words if c.isprintable())[:60] or "not allowed")
        (vendor,) = struct.unpack_from("<H", self._held(body, 32), 16)
        at = 32 + vendor + -vendor % 4 + 8 * body[21]
        (self.root,) = struct.unpack_from("<I", self._held(body, at + 4), at)

    def extension(self, name: bytes) -> int | None:
        """Its major opcode, None where the server does not have it."""
        request = struct.pack("<BxHHxx", 98, 2 + (len(name) + 3) // 4, len(name)) + _padded(name)
        reply = self._ask(request)
        return reply[9] if reply[8] else None

    def idle_ms(self, opcode: int) -> int:
        """Since the last input on this display, by the screen saver extension."""
        reply = self._ask(struct.pack("<BBHI", opcode, 1, 2, self.root))
        return int(struct.unpack_from("<I", reply, 16)[0])

    def atom(self, name: bytes) -> int:
        """0 where nobody has ever used that name."""
        reply = self._ask(struct.pack("<BBHHxx", 16, 1, 2 + (len(name) + 3) // 4, len(name)) + _padded(name))
        return int(struct.unpack_from("<I", reply, 8)[0])

    def numbers(self, window: int, name: int) -> list[int]:
        """The first values of a property of 32-bit numbers; nothing where it is not set."""
        reply = self._ask(struct.pack("<BBHIIIII", 20, 0, 6, window, name, 0, 0, 64))
        (count,) = struct.unpack_from("<I", reply, 16)
        if reply[1] != 32:
            return []
        values = self._held(reply, 32 + 4 * count)[32 : 32 + 4 * count]
        return [number for (number,) in struct.iter_unpack("<I", values)]

    def _ask(self, request: bytes) -> bytes:
        """The whole reply; events are passed over."""
        self._send(request)
        for _ in range(_EVENTS):
            head = self._read(32)
            kind, length = head[0], struct.unpack_from("<I", head, 4)[0]
            if kind == 0:
                raise Mistaken(f"the display server answers with error {head[1]}")
            if kind == 1:
                return head + self._read(length * 4)
            if kind & 0x7F == 35:
                self._read(length * 4)
        raise NoDisplay("the display server does not come to the point")

    def _send(self, data: bytes) -> None:
        try:
            self._link.settimeout(self._left())
            self._link.sendall(data)
        except OSError as error:
            raise NoDisplay("the display server hung up") from error

    def _read(self, size: int) -> bytes:
        if size > REPLY_BYTES:
            raise NoDisplay("the display server says more than it should")
        data = bytearray()
        while len(data) < size:
            try:
                self._link.settimeout(self._left())
                part = self._link.recv(size - len(data))
            except OSError as error:
                raise NoDisplay("the display server does not answer") from error
            if not part:
                raise NoDisplay("the display server hung up")
            data += part
        return bytes(data)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise NoDisplay("the display server does not answer")
        return left

    @staticmethod
    def _held(data: bytes, size: int) -> bytes:
        if len(data) < size:
            raise NoDisplay("the display server speaks in fragments")
        return data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
