"""A fake X server on a socket file: the greeting, the screen saver extension, two window properties.

Written from the X11 protocol's encoding appendix. Turn its fields to change what it says.
"""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

ROOT, WINDOW = 0x123, 0x456
SAVER, XWAYLAND = 144, 150
COOKIE = bytes(range(16))
ATOMS = {b"_NET_ACTIVE_WINDOW": 11, b"_NET_WM_STATE": 12, b"_NET_WM_STATE_FULLSCREEN": 13}


class FakeX:
    def __init__(self, root: Path, display: int = 5) -> None:
        self.idle_ms = 240_000
        self.extensions = {b"MIT-SCREEN-SAVER": SAVER}
        self.open_to_all = False
        self.full_screen: bool | None = None
        """None: no window manager."""
        self.instead: bytes | None = None
        """Said in place of the answer about idle time."""
        self.silent = False
        self.events = 0
        """Unasked events before each answer."""
        self.greetings = 0
        self.path = root / f"tmp/.X11-unix/X{display}"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind(str(self.path))
        self._links: list[socket.socket] = []

    def __enter__(self) -> FakeX:
        self._server.listen(4)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.path.unlink(missing_ok=True)

    def hang_up(self) -> None:
        for link in self._links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def authority(self, path: Path, *, display: bytes = b"5", cookie: bytes = COOKIE) -> Path:
        fields = (b"here", display, b"MIT-MAGIC-COOKIE-1", cookie)
        path.write_bytes(b"\x01\x00" + b"".join(struct.pack(">H", len(f)) + f for f in fields))
        return path

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
            except OSError:
                return
            self._links.append(link)
            threading.Thread(target=self._talk, args=(link,), daemon=True).start()

    def _talk(self, link: socket.socket) -> None:
        try:
            with link:
                if self._greet(link):
                    while True:
                        self._answer(link)
        except (OSError, EOFError):
            return

    def _greet(self, link: socket.socket) -> bool:
        self.greetings += 1
        _, _, _, name, value = struct.unpack("<BxHHHHxx", _take(link, 12))
        _take(link, name + -name % 4)
        cookie = _take(link, value + -value % 4)[:value]
        if cookie != COOKIE and not self.open_to_all:
            words = b"Invalid MIT-MAGIC-COOKIE-1 key"
            padded = words + bytes(-len(words) % 4)
            link.sendall(struct.pack("<BBHHH", 0, len(words), 11, 0, len(padded) // 4) + padded)
            return False
        vendor = b"The Fake Project"
        fixed = struct.pack("<IIIIHHBBBBBBBBxxxx", 1, 0, 0x1FFFFF, 256, len(vendor), 65_535, 1, 1, 0, 0, 32, 32, 8, 255)
        body = fixed + vendor + bytes(8) + struct.pack("<I", ROOT) + bytes(36)
        link.sendall(struct.pack("<BBHHH", 1, 0, 11, 0, len(body) // 4) + body)
        return True

    def _answer(self, link: socket.socket) -> None:
        opcode, _, size = struct.unpack("<BBH", _take(link, 4))
        body = _take(link, size * 4 - 4)
        if self.silent:
            return
        link.sendall((b"\x22" + bytes(31)) * self.events)
        if opcode == 98:
            found = self.extensions.get(_name(body), 0)
            link.sendall(_reply(struct.pack("<BBBB", 1 if found else 0, found, 0, 0)))
        elif opcode == SAVER:
            link.sendall(self.instead or _reply(struct.pack("<III", 0, 0, self.idle_ms)))
        elif opcode == 16:
            link.sendall(_reply(struct.pack("<I", 0 if self.full_screen is None else ATOMS.get(_name(body), 0))))
        elif opcode == 20:
            window, name = struct.unpack_from("<II", body)
            states = [99, 13] if self.full_screen else [99]
            values = {(ROOT, 11): [WINDOW], (WINDOW, 12): states}.get((window, name), [])
            data = struct.pack(f"<{len(values)}I", *values)
            link.sendall(_reply(struct.pack("<III", 4, 0, len(values)), data, detail=32 if values else 0))
        else:
            link.sendall(b"\x00\x01" + bytes(30))


def _reply(head: bytes, data: bytes = b"", *, detail: int = 0) -> bytes:
    return struct.pack("<BBHI", 1, detail, 0, len(data) // 4) + head.ljust(24, b"\0") + data


def _name(body: bytes) -> bytes:
    (size,) = struct.unpack_from("<H", body)
    return body[4 : 4 + size]


def _take(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = link.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
