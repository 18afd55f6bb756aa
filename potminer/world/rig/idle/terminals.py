"""Text terminals: the kernel moves a terminal's access time when a program reads what was typed.

It moves in steps of eight seconds, so that keys cannot be timed; a reading may be that much too long.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.tree import entries

SOURCE = "terminals"
CONSOLES = ("tty[0-9]*",)
REMOTE = ("pts/[0-9]*",)
MAC = ("ttys[0-9]*",)


def read_terminals(root: Path, patterns: Sequence[str], wall_ms: Callable[[], int]) -> Reading | None:
    """The newest input on any of them; None where there is no terminal at all."""
    times: list[tuple[int, str]] = []
    for pattern in patterns:
        for path in entries(root / "dev", pattern):
            try:
                times.append((os.stat(path).st_atime_ns // 1_000_000, path.relative_to(root / "dev").as_posix()))
            except OSError:
                continue
    if not times:
        return None
    newest, name = max(times)
    return Reading("terminals", SOURCE, max(0, wall_ms() - newest), name)
