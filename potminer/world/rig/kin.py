"""Which processes are ours: the daemon and its workers, with all their children.

Linux tells a process's children, so that no other process of the machine is looked at: a desktop has
hundreds, and a look is taken every second or two. Elsewhere the whole list is walked through.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path

import psutil

from potminer.world.rig.tree import read_text

PROCESSES = 256
THREADS = 1_024
_BEGUN = 19
"""Place of the start time in ``/proc/PID/stat``, counted behind the name, which may hold blanks."""


def _walk(pid: int, strangers: Collection[int]) -> set[int]:
    """*pid* and its descendants out of the list of all processes."""
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter():
        try:
            children.setdefault(process.ppid(), []).append(process.pid)
        except psutil.Error:
            continue
    return _family(pid, lambda parent: children.get(parent, []), strangers)


def _family(pid: int, children: Callable[[int], Collection[int]], strangers: Collection[int]) -> set[int]:
    found, next_up = {pid}, [pid]
    while next_up and len(found) < PROCESSES:
        fresh = [child for child in children(next_up.pop()) if child not in strangers and child not in found]
        found.update(fresh)
        next_up += fresh
    return found


class Kin:
    """*strangers* are children of ours that do not count, nor do theirs: a miner that we started."""

    def __init__(
        self, strangers: Collection[int] = (), *, pid: int | None = None, proc: Path = Path("/proc"),
        walk: Callable[[int, Collection[int]], set[int]] = _walk,
    ) -> None:
        self._pid = os.getpid() if pid is None else pid
        self._strangers, self._proc, self._walk = strangers, proc, walk
        self._listed = self._list(self._pid) is not None
        self._known: dict[int, str] = {}

    def pids(self) -> set[int]:
        if not self._listed:
            return self._walk(self._pid, self._strangers)
        found = _family(self._pid, lambda parent: self._list(parent) or (), self._strangers)
        # The kernel's list may lack one while another one ends; and who lost its parent is still ours.
        found |= {pid for pid, begun in self._known.items() if begun and pid not in found and self._begun(pid) == begun}
        found.difference_update(self._strangers)
        self._known = {pid: self._known.get(pid) or self._begun(pid) for pid in found}
        return found

    def _list(self, pid: int) -> list[int] | None:
        """Its children; None where this kernel does not tell them, or it has ended."""
        tasks = f"{self._proc}/{pid}/task"
        try:
            told = [read_text(f"{tasks}/{task}/children") for task in os.listdir(tasks)[:THREADS]]
        except OSError:
            return None
        known = [text for text in told if text is not None]
        return [int(word) for text in known for word in text.split()] if known else None

    def _begun(self, pid: int) -> str:
        said = (read_text(f"{self._proc}/{pid}/stat") or "").rpartition(")")[2].split()
        return said[_BEGUN] if len(said) > _BEGUN else ""
