"""Is a person here, and since when have their hands been still? Three-valued: unknown is None.

Linux, from files that logind keeps (sd-login(3) reads the same ones) and from terminals:
- a text session: the newest access time of its terminal, which the kernel moves on input;
- a graphical session: nothing in a file tells, so it is unknown (an IdleHint that says "not
  idle" may come from a desktop that never sets it);
- no seat: nobody can sit here. Remote shells count as people too, by their terminals.
Other systems: unknown.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

SESSIONS = 64
TERMINALS = 256
FILE_BYTES = 16_384
_GRAPHICAL = frozenset({"x11", "wayland", "mir"})


class Person:
    """*root* is ``/`` (another folder in tests). *wall_ms* is Unix time, as file times are."""

    def __init__(
        self, *, wall_ms: Callable[[], int], root: Path = Path("/"), environment: Mapping[str, str], platform: str = ""
    ) -> None:
        self._wall_ms = wall_ms
        self._root = root
        self._environment = environment
        self._linux = (platform or sys.platform).startswith("linux")

    def has_seat(self) -> bool | None:
        """True where a display or a graphical seat exists, False on a headless machine, None if unknown."""
        if self._environment.get("DISPLAY") or self._environment.get("WAYLAND_DISPLAY"):
            return True
        if not self._linux:
            return None
        if any(session.get("TYPE") in _GRAPHICAL for session in self._sessions()):
            return True
        seats = self._root / "run/systemd/seats"
        if seats.is_dir():
            return any(_fields(seat).get("CAN_GRAPHICAL") == "1" for seat in sorted(seats.iterdir())[:SESSIONS])
        # without logind: a display server leaves its socket, a headless rig has none
        return (self._root / "tmp/.X11-unix").is_dir() and any((self._root / "tmp/.X11-unix").iterdir())

    def idle_ms(self) -> int | None:
        """Since the last input anywhere on this machine, None where some session cannot be read."""
        if not self._linux or self._environment.get("DISPLAY") or self._environment.get("WAYLAND_DISPLAY"):
            return None
        if any(session.get("TYPE") in _GRAPHICAL for session in self._sessions()):
            return None
        newest = self._newest_terminal_input_ms()
        return None if newest is None else max(0, self._wall_ms() - newest)

    def _sessions(self) -> list[dict[str, str]]:
        """Open sessions of people; greeters and background ones are left out."""
        folder = self._root / "run/systemd/sessions"
        try:
            files = sorted(path for path in folder.iterdir() if path.suffix != ".ref")[:SESSIONS]
        except OSError:
            return []
        found = [_fields(path) for path in files]
        return [session for session in found if session.get("CLASS") == "user" and session.get("STATE") != "closing"]

    def _newest_terminal_input_ms(self) -> int | None:
        times = []
        for pattern in ("tty[0-9]*", "pts/[0-9]*"):
            for path in sorted((self._root / "dev").glob(pattern))[:TERMINALS]:
                try:
                    times.append(os.stat(path).st_atime_ns // 1_000_000)
                except OSError:
                    continue
        return max(times, default=None)


def _fields(path: Path) -> dict[str, str]:
    """``KEY=value`` lines of a small file; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES).decode(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip().strip('"') for key, _, value in pairs}
