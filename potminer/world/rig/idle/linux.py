"""The places of a Linux machine: its graphical sessions, its displays, its terminals.

For a graphical session the first source that knows is believed, the most direct asked first: the X
server, then GNOME, then logind's hint. Without logind, a display that the environment names or that
left a socket stands for a session.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from potminer.world.rig.idle.gnome import bus_address, read_gnome
from potminer.world.rig.idle.logind import read_logind
from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.idle.sessions import Session, Sessions, read_sessions
from potminer.world.rig.idle.terminals import CONSOLES, REMOTE, read_terminals
from potminer.world.rig.idle.x11 import X11, display_number, sockets
from potminer.world.rig.program import Run
from potminer.world.rig.tree import entries

ASKED = 4
"""Graphical sessions that are asked; with more people than that the rest count as unknown."""
FILES = 16


class LinuxPlaces:
    """*remote*: whether people who are here by network count."""

    def __init__(
        self,
        *,
        wall_ms: Callable[[], int],
        root: Path,
        environment: Mapping[str, str],
        run: Run,
        remote: bool = True,
        user: int | None = None,
    ) -> None:
        self._wall_ms = wall_ms
        self._root = root
        self._environment = environment
        self._run = run
        self._remote = remote
        self._user = _own_user() if user is None else user
        self._x11 = X11(root=root)

    def has_seat(self) -> bool:
        """Whether somebody can sit at a screen of this machine."""
        if self._env_display() is not None or self._environment.get("WAYLAND_DISPLAY"):
            return True
        sessions = read_sessions(self._root)
        if any(not session.remote or self._remote for session in sessions.graphical):
            return True
        # Without logind, and where NVIDIA's driver hides from it, the socket of a display server tells.
        return bool(sessions.seat) or bool(sockets(self._root))

    def readings(self) -> tuple[Reading, ...]:
        """One per place; none where this machine has none."""
        sessions = read_sessions(self._root)
        found = [*self._of_sessions(sessions), *self._of_displays(sessions)]
        terminals = read_terminals(self._root, (*CONSOLES, *(REMOTE if self._remote else ())), self._wall_ms)
        return (*found, *(() if terminals is None else (terminals,)))

    # ---- graphical sessions ----------------------------------------------------------------

    def _of_sessions(self, sessions: Sessions) -> Iterator[Reading]:
        people = [s for s in sessions.graphical if self._remote or not s.remote]
        for session in people[:ASKED]:
            yield self._of_session(session)
        for session in people[ASKED:]:
            yield Reading(session.place, "none", None, f"more than {ASKED} people work here")

    def _of_session(self, session: Session) -> Reading:
        """The first source that knows; else the last one's reason."""
        told = Reading(session.place, "none", None, "nothing can be asked")
        for reading in self._sources(session):
            told = reading
            if reading.idle_ms is not None:
                break
        return told

    def _sources(self, session: Session) -> Iterator[Reading]:
        display = display_number(session.display)
        if display is None and session.user == self._user:
            display = self._env_display()
        if session.type == "x11" and display is not None:
            yield self._x11.read(display, place=session.place, authorities=self._authorities(display, session.user))
        if session.user is not None and session.user == self._user:
            address = bus_address(self._root, session.user, self._environment.get("DBUS_SESSION_BUS_ADDRESS", ""))
            if address is not None:
                yield read_gnome(self._run, place=session.place, address=address)
        yield read_logind(self._run, place=session.place, session=session.id, wall_ms=self._wall_ms)

    # ---- displays without a session --------------------------------------------------------

    def _of_displays(self, sessions: Sessions) -> Iterator[Reading]:
        """Displays that no session of a person names: started by hand or by a rig's own scripts.

        A login screen's display is asked and its silence forgiven: who sits there logs in, and then
        has a session.
        """
        if any(session.type == "wayland" for session in sessions.graphical):
            return  # their X sockets are Xwayland's
        named = {display_number(session.display) for session in sessions.graphical}
        mine = self._env_display()
        if mine is not None and any(session.user == self._user for session in sessions.graphical):
            named.add(mine)
        if self._environment.get("WAYLAND_DISPLAY") and not sessions.graphical:
            yield self._of_own_wayland()
            return
        for display, path in self._open_displays(mine).items():
            if display in named:
                continue
            place = f"display :{display}"
            reading = self._x11.read(display, place=place, authorities=self._authorities(display, _owner(path)))
            if reading.idle_ms is not None or not self._is_greeter(display, path, sessions):
                yield reading

    def _open_displays(self, mine: int | None) -> dict[int, Path]:
        found = sockets(self._root)
        if mine is not None:
            found.setdefault(mine, self._root / f"tmp/.X11-unix/X{mine}")
        return found

    def _of_own_wayland(self) -> Reading:
        place = "this Wayland session"
        address = bus_address(self._root, self._user, self._environment.get("DBUS_SESSION_BUS_ADDRESS", ""))
        if address is None:
            return Reading(place, "none", None, "its desktop cannot be asked")
        return read_gnome(self._run, place=place, address=address)

    def _is_greeter(self, display: int, path: Path, sessions: Sessions) -> bool:
        owner = _owner(path)
        return any(
            display_number(greeter.display) == display or (owner is not None and owner != 0 and greeter.user == owner)
            for greeter in sessions.greeters
        )

    # ---- where things are ------------------------------------------------------------------

    def _env_display(self) -> int | None:
        return display_number(self._environment.get("DISPLAY", ""))

    def _authorities(self, display: int, user: int | None) -> list[Path]:
        """Files that may hold a cookie: the one we were told, then those of *user* and of login screens."""
        told = [self._environment.get("XAUTHORITY"), self._environment.get("HOME", "") + "/.Xauthority"]
        found = [Path(path) for path in told if path and path.startswith("/")]
        if user is not None:
            found += [self._root / f"run/user/{user}/gdm/Xauthority", *_home_authority(user)]
        found.append(self._root / f"run/lightdm/root/:{display}")
        return [*found, *entries(self._root / "run/sddm", "xauth_*"), *entries(self._root / "tmp", "xauth_*")][:FILES]


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None


def _own_user() -> int:
    return -1 if sys.platform == "win32" else os.getuid()


def _home_authority(user: int) -> list[Path]:
    if sys.platform == "win32":
        return []
    import pwd

    try:
        return [Path(pwd.getpwuid(user).pw_dir) / ".Xauthority"]
    except (KeyError, OverflowError):
        return []
