"""Programs whose owner wants the machine to themselves while they run: games, renderers, meetings."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import psutil

from potminer.world.rig.idle.reading import Reading
from potminer.world.rig.tree import read_text

PROCESSES = 10_000
COMM = 15
"""Letters that Linux keeps of a name."""
KTHREADD = "2"
PROC = Path("/proc") if sys.platform.startswith("linux") else None


class Names:
    """Names of the processes that run now.

    Asked at every look, so on Linux each costs one small file; the kernel's own threads, half of a desktop's list,
    are known by their parent and not read again. A process may take another name at any time: no name is kept.
    """

    def __init__(self, proc: Path | None = PROC) -> None:
        self._proc = proc
        self._kernel: frozenset[str] = frozenset()
        self._seen: frozenset[str] = frozenset()

    def __call__(self) -> Iterable[str]:
        if self._proc is None:
            return (process.info.get("name") or "" for process in psutil.process_iter(["name"]))
        try:
            pids = frozenset([name for name in os.listdir(self._proc) if name.isdecimal()][:PROCESSES])
        except OSError:
            return ()
        fresh = frozenset(pid for pid in pids - self._seen if self._is_kernel(pid))
        self._kernel, self._seen = (self._kernel & pids) | fresh, pids
        return (self._name(pid) for pid in pids - self._kernel)

    def _is_kernel(self, pid: str) -> bool:
        said = (read_text(f"{self._proc}/{pid}/stat") or "").rpartition(")")[2].split()
        return pid == KTHREADD or (len(said) > 1 and said[1] == KTHREADD)

    def _name(self, pid: str) -> str:
        name = read_text(f"{self._proc}/{pid}/comm") or ""
        if len(name) < COMM:
            return name
        begun = (read_text(f"{self._proc}/{pid}/cmdline") or "").partition("\0")[0].rpartition("/")[2]
        return begun if begun.startswith(name) else name


def read_programs(wanted: Collection[str], running: Callable[[], Iterable[str]]) -> Reading | None:
    """Active while one of *wanted* runs, by name and whatever the case; None otherwise."""
    if not wanted:
        return None
    names = {plain_name(name) for name in wanted}
    found = next((name for name in running() if plain_name(name) in names), None)
    return None if found is None else Reading("programs", "processes", 0, f"{found[:40]} runs")


def plain_name(name: str) -> str:
    return name.strip().lower().removesuffix(".exe")
