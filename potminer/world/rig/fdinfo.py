"""Engine time that our own processes used on an AMD card, from ``/proc/PID/fdinfo``.

The kernel's drm-usage-stats: every open file of a DRM device says its client and the nanoseconds that
each engine worked for it; a client that is open twice is counted once. Work that ROCm puts on the
card goes through /dev/kfd and is not counted there, so such a process's share is unknown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from potminer.world.rig.tree import entries, read_pairs

PROCESSES = 64
ENGINES = ("drm-engine-gfx", "drm-engine-compute")


def own_engine_ns(proc: Path, pids: Iterable[int], bus: str) -> int | None:
    """Over all *pids*; 0 where none of them has the card open, None where one's share cannot be known."""
    clients: dict[str, int] = {}
    for pid in list(pids)[:PROCESSES]:
        folder = proc / str(pid)
        if _computes(folder):
            return None
        for path in entries(folder / "fdinfo"):
            said = read_pairs(path, ":")
            if said.get("drm-pdev") != bus:
                continue
            spent = [_nanoseconds(said[engine]) for engine in ENGINES if engine in said]
            known = [ns for ns in spent if ns is not None]
            if not known:
                return None
            clients[said.get("drm-client-id", path.name)] = sum(known)
    return sum(clients.values())


def _computes(folder: Path) -> bool:
    for path in entries(folder / "fd"):
        try:
            if os.readlink(path) == "/dev/kfd":
                return True
        except OSError:
            continue
    return False


def _nanoseconds(text: str) -> int | None:
    number, _, unit = text.partition(" ")
    return int(number) if unit == "ns" and number.isascii() and number.isdecimal() and len(number) <= 19 else None
