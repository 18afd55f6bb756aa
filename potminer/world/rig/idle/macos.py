"""macOS: HIDIdleTime of the registry's IOHIDSystem, in nanoseconds, and the terminals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.idle.terminals import MAC, read_terminals
from potminer.world.rig.program import Run

SOURCE = "HIDIdleTime"
_TIME = re.compile(rb'"HIDIdleTime"\s*=\s*(\d{1,19})\b')


class MacPlaces:
    def __init__(self, *, wall_ms: Callable[[], int], root: Path, run: Run, remote: bool = True) -> None:
        self._wall_ms = wall_ms
        self._root = root
        self._run = run
        self._remote = remote

    def has_seat(self) -> bool | None:
        return None

    def readings(self) -> tuple[Reading, ...]:
        answer = self._run(["/usr/sbin/ioreg", "-r", "-d", "1", "-c", "IOHIDSystem"])
        times = [int(found) for found in _TIME.findall(answer or b"")]
        if times:
            screen = Reading("the screen", SOURCE, min(times) // 1_000_000, "macOS")
        else:
            screen = Reading("the screen", SOURCE, None, "ioreg does not say when the last input was")
        shells = read_terminals(self._root, MAC, self._wall_ms) if self._remote else None
        return (screen,) if shells is None else (screen, shells)
