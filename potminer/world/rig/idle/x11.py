"""Idle time of X displays: the one source that counts every key and every move of the pointer.

Only of a real X server: Xwayland sees the input that X programs get and sleeps through the rest.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.idle.xauthority import COOKIE, find_cookies
from potminer.world.rig.idle.xwire import Mistaken, NoDisplay, Refused, XConnection
from potminer.world.rig.tree import entries

SOURCE = "X11"
DEADLINE_MS = 300
DISPLAYS = 8
COOKIES = 4


def display_number(text: str) -> int | None:
    """Of ``:0`` or ``unix:0.1``. A display with a host is somewhere else: a terminal brought it along."""
    found = re.fullmatch(r"(?:unix)?:(\d{1,5})(?:\.\d{1,3})?", text)
    return None if found is None else int(found[1])


def sockets(root: Path) -> dict[int, Path]:
    """The displays that left a socket under *root*."""
    found = {}
    for path in entries(root / "tmp/.X11-unix", "X*"):
        if path.name[1:].isascii() and path.name[1:].isdecimal() and len(path.name) <= 6:
            found[int(path.name[1:])] = path
    return dict(sorted(found.items())[:DISPLAYS])


@dataclass(frozen=True, slots=True)
class _Open:
    """A conversation that goes on, and the number of the screen saver extension in it."""

    server: XConnection
    saver: int


class X11:
    """*root* is ``/``, another folder in tests.

    A display is opened once and kept: a bare X server starts anew when its last client leaves, and
    would take every look for somebody's first key press.
    """

    def __init__(self, *, root: Path = Path("/")) -> None:
        self._root = root
        self._kept: dict[int, _Open] = {}

    def read(self, display: int, *, place: str, authorities: Iterable[Path]) -> Reading:
        """What the display knows; unknown says why not. *authorities*: files that may hold its cookie."""
        try:
            kept = self._kept.get(display) or self._open(display, authorities)
            kept.server.allow(DEADLINE_MS)
            idle = kept.server.idle_ms(kept.saver)
            return Reading(place, SOURCE, idle, f"X11 display :{display}", _full_screen(kept.server))
        except (NoDisplay, Mistaken) as error:
            self._drop(display)
            return Reading(place, SOURCE, None, str(error))

    def close(self) -> None:
        for display in list(self._kept):
            self._drop(display)

    def _drop(self, display: int) -> None:
        kept = self._kept.pop(display, None)
        if kept is not None:
            kept.server.close()

    def _open(self, display: int, authorities: Iterable[Path]) -> _Open:
        """With the first cookie that opens it, at last with none. Kept, unless it cannot tell."""
        words = "no cookie"
        offers = [(COOKIE, cookie) for cookie in find_cookies(authorities, display)[:COOKIES]]
        for name, value in [*offers, (b"", b"")]:
            server = XConnection(self._connect(display))
            try:
                opened = self._greet(server, display, name, value)
            except Refused as refused:
                server.close()
                words = str(refused)
                continue
            except (NoDisplay, Mistaken):
                server.close()
                raise
            if len(self._kept) >= DISPLAYS:
                self.close()
            self._kept[display] = opened
            return opened
        raise NoDisplay(f"display :{display} does not let us in ({words})")

    def _greet(self, server: XConnection, display: int, name: bytes, value: bytes) -> _Open:
        server.allow(DEADLINE_MS)
        server.greet(name, value)
        if server.extension(b"XWAYLAND") is not None:
            raise NoDisplay(f"display :{display} is Xwayland, which misses input")
        saver = server.extension(b"MIT-SCREEN-SAVER")
        if saver is None:
            raise NoDisplay(f"display :{display} has no screen saver extension")
        return _Open(server, saver)

    def _connect(self, display: int) -> socket.socket:
        """By the socket file, or by the name that a private /tmp does not hide."""
        path = self._root / f"tmp/.X11-unix/X{display}"
        names: list[str | bytes] = [os.fspath(path)]
        if self._root == Path("/"):
            names.append(b"\0" + os.fsencode(path))
        for name in names:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            link.settimeout(DEADLINE_MS / 1_000)
            try:
                link.connect(name)
            except OSError:
                link.close()
                continue
            return link
        raise NoDisplay(f"display :{display} cannot be reached")


def _full_screen(server: XConnection) -> bool | None:
    """Whether the window in use fills the screen, as window managers say it; None without one."""
    try:
        active, state, full = (
            server.atom(name) for name in (b"_NET_ACTIVE_WINDOW", b"_NET_WM_STATE", b"_NET_WM_STATE_FULLSCREEN")
        )
        if not active or not state:
            return None
        windows = server.numbers(server.root, active)
        return bool(full) and any(full in server.numbers(window, state) for window in windows[:1] if window)
    except Mistaken:
        return None  # a window that closed while we asked
