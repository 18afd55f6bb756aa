"""Windows: input of the session that we run in.

A service lives in session 0 and sees nobody's hands; with two people logged in, the one at the
screen may be in another session. Both are unknown, never idle.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

from potminer.world.rig.idle.reading import Reading

SOURCE = "Windows"
_TICKS = 1 << 32
_FULL_SCREEN = {2: True, 3: True, 4: True, 1: False, 5: False, 6: False, 7: False}
"""SHQueryUserNotificationState: busy, Direct3D in full screen, a presentation; not present and quiet are none."""


class _LastInput(ctypes.Structure):
    _fields_ = (("cbSize", ctypes.c_uint), ("dwTime", ctypes.c_uint))


class WindowsPlaces:
    """*user32*, *kernel32* and *shell32* are the libraries of these names."""

    def __init__(self, *, user32: Any, kernel32: Any, shell32: Any, pid: int) -> None:
        self._user32 = user32
        self._kernel32 = kernel32
        self._shell32 = shell32
        self._pid = pid

    def has_seat(self) -> bool | None:
        return None

    def readings(self) -> tuple[Reading, ...]:
        session = ctypes.c_uint(0)
        if not self._kernel32.ProcessIdToSessionId(self._pid, ctypes.byref(session)):
            return (Reading("this session", SOURCE, None, "Windows does not say which session this is"),)
        place = f"session {session.value}"
        if session.value == 0:
            return (Reading(place, SOURCE, None, "a service sees no keyboard: run potminer as the user"),)
        if self._kernel32.WTSGetActiveConsoleSessionId() & 0xFFFFFFFF != session.value:
            return (Reading(place, SOURCE, None, "somebody else may sit at the screen"),)
        said = _LastInput(ctypes.sizeof(_LastInput), 0)
        if not self._user32.GetLastInputInfo(ctypes.byref(said)):
            return (Reading(place, SOURCE, None, "Windows does not say when the last input was"),)
        idle = (int(self._kernel32.GetTickCount()) - int(said.dwTime)) % _TICKS
        if idle >= _TICKS // 2:
            idle = 0  # the input came between the two questions
        return (Reading(place, SOURCE, idle, "Windows", self._full_screen()),)

    def _full_screen(self) -> bool | None:
        state = ctypes.c_int(0)
        if self._shell32.SHQueryUserNotificationState(ctypes.byref(state)) != 0:
            return None
        return _FULL_SCREEN.get(state.value)


def open_windows(pid: int) -> WindowsPlaces | None:
    """With the system's own libraries; None on every other system."""
    load: Callable[[str], Any] | None = getattr(ctypes, "WinDLL", None) if sys.platform == "win32" else None
    if load is None:
        return None
    return WindowsPlaces(user32=load("user32"), kernel32=load("kernel32"), shell32=load("shell32"), pid=pid)
