"""Idle time of a GNOME session, X11 or Wayland, from its window manager on the session's bus."""

from __future__ import annotations

import re
from pathlib import Path

from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.program import Run

SOURCE = "GNOME"
_ANSWER = re.compile(rb"\(uint64 (\d{1,15}),\)\s*")


def bus_address(root: Path, user: int, said: str) -> str | None:
    """*said* by the environment, else the bus of *user* where its socket is."""
    if said:
        return said
    path = root / f"run/user/{user}/bus"
    return f"unix:path={path}" if path.is_socket() else None


def read_gnome(run: Run, *, place: str, address: str) -> Reading:
    answer = run(
        [
            "gdbus", "call", "--address", address, "--timeout", "1",
            "--dest", "org.gnome.Mutter.IdleMonitor",
            "--object-path", "/org/gnome/Mutter/IdleMonitor/Core",
            "--method", "org.gnome.Mutter.IdleMonitor.GetIdletime",
        ]
    )  # fmt: skip
    found = None if answer is None else _ANSWER.fullmatch(answer)
    if found is None:
        return Reading(place, SOURCE, None, "this desktop is not GNOME, or does not answer")
    return Reading(place, SOURCE, int(found[1]), "GNOME")
