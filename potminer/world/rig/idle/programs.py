"""Programs whose owner wants the machine to themselves while they run: games, renderers, meetings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import psutil

from potminer.world.rig.idle.reading import Reading

PROCESSES = 10_000


def running_names() -> Iterable[str]:
    """Names of the processes that run now."""
    for count, process in enumerate(psutil.process_iter(["name"])):
        if count >= PROCESSES:
            return
        yield process.info.get("name") or ""


def read_programs(wanted: Collection[str], running: Callable[[], Iterable[str]] = running_names) -> Reading | None:
    """Active while one of *wanted* runs, by name and whatever the case; None otherwise."""
    if not wanted:
        return None
    names = {plain_name(name) for name in wanted}
    found = next((name for name in running() if plain_name(name) in names), None)
    return None if found is None else Reading("programs", "processes", 0, f"{found[:40]} runs")


def plain_name(name: str) -> str:
    return name.strip().lower().removesuffix(".exe")
