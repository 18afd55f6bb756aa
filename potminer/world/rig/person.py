"""Is a person here, and since when have their hands been still? Three-valued: unknown is None.

Every system that we know names its places (``idle/``), ``idle.reading.join`` makes one judgement of
them. A system that we do not know has no places: unknown. There is no default that means absence.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from potminer.world.rig.idle.linux import LinuxPlaces
from potminer.world.rig.idle.macos import MacPlaces
from potminer.world.rig.idle.programs import Names, read_programs
from potminer.world.rig.idle.reading import Judgement, Presence, Reading, join
from potminer.world.rig.idle.windows import open_windows
from potminer.world.rig.program import OUTPUT_BYTES, run

ASK_MS = 700
"""For one program that is asked. With three sessions and a hung bus a look still ends within its deadline."""
REST_MS = 5_000
"""How long an answer other than idle is kept: while somebody is here nothing hangs on the second, and
while nobody knows nothing trains. Idle is asked anew every time: its end must be noticed at once."""


class Places(Protocol):
    """One system's way to ask."""

    def has_seat(self) -> bool | None: ...

    def readings(self) -> Sequence[Reading]: ...


@dataclass(frozen=True, slots=True)
class Habits:
    """What the owner wants to count as presence.

    *remote*: shells and desktops used over the network. *full_screen*: a program that fills the screen.
    *exclusive*: names of programs that want the machine for themselves.
    """

    remote: bool = True
    full_screen: bool = True
    exclusive: tuple[str, ...] = ()


class Person:
    """*root* is ``/`` (another folder in tests). *wall_ms* is Unix time, as file times are.

    *places* replaces what the platform would give.
    """

    def __init__(
        self,
        *,
        wall_ms: Callable[[], int],
        root: Path = Path("/"),
        environment: Mapping[str, str],
        platform: str = "",
        habits: Habits = Habits(),
        places: Places | None = None,
    ) -> None:
        self._wall_ms = wall_ms
        self._habits = habits
        self._places = places or _places(platform or sys.platform, wall_ms, root, environment, habits)
        self._names = Names()
        self._judged: tuple[int, Judgement] | None = None

    def has_seat(self) -> bool | None:
        """True where a display or a graphical seat exists, False on a headless machine, None if unknown."""
        return None if self._places is None else self._places.has_seat()

    def idle_ms(self) -> int | None:
        """Since the last input anywhere on this machine, None where some place cannot be read."""
        return self.judge().idle_ms

    def judge(self) -> Judgement:
        """Blocks for as long as displays and buses take to answer, each with its deadline."""
        now = self._wall_ms()
        if self._judged is not None:
            at, kept = self._judged
            if kept.presence is not Presence.IDLE and 0 <= now - at < REST_MS:
                return kept
        judgement = self._ask()
        self._judged = (now, judgement)
        return judgement

    def _ask(self) -> Judgement:
        if self._places is None:
            return join(())
        busy = read_programs(self._habits.exclusive, self._names)
        found = [*self._places.readings(), *(() if busy is None else (busy,))]
        return join(found, full_screen_counts=self._habits.full_screen)


def _places(
    platform: str, wall_ms: Callable[[], int], root: Path, environment: Mapping[str, str], habits: Habits
) -> Places | None:
    """None for a system that we do not know."""

    def ask(argv: Sequence[str]) -> bytes | None:
        return run(argv, deadline_ms=ASK_MS, max_bytes=OUTPUT_BYTES)

    if platform.startswith("linux"):
        return LinuxPlaces(wall_ms=wall_ms, root=root, environment=environment, run=ask, remote=habits.remote)
    if platform == "darwin":
        return MacPlaces(wall_ms=wall_ms, root=root, run=ask, remote=habits.remote)
    return open_windows(os.getpid()) if platform == "win32" else None
