"""Which miners run here: command lines first, then known ports; believed only by the shape of a reply.

Nothing is written to anything that is found, and no token is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import psutil

from potminer.world.rig.aside import Aside, Stuck
from potminer.world.rig.miners.interface import Control, MinerError
from potminer.world.rig.miners.registry import KINDS, Kind, open_miner

PROCESSES = 32_768
FOUND = 64
LOOK_S = 1.0
"""Loopback: a miner that needs longer is found by its command line and named as silent."""
_LIST_MS = 5_000


@dataclass(frozen=True, slots=True)
class Process:
    pid: int
    program: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """*version* is None where nothing was identified; then *problem* says why, for the owner.

    *url* is empty where its API is off. *how* is ``command line`` or ``port``.
    """

    kind: str
    url: str
    control: Control
    how: str
    version: str | None = None
    writable: bool | None = None
    pid: int | None = None
    problem: str = ""


async def detect(
    *,
    processes: Callable[[], Iterable[Process]] | None = None,
    ports: Sequence[int] | None = None,
    also: Iterable[int] = (),
    look_s: float = LOOK_S,
) -> tuple[Found, ...]:
    """All miners of this computer that answer, or run. *ports* None: those of the table; *also*: more of them."""
    suspects = _by_command_line(await _listed(processes or running))
    identified = await asyncio.gather(*(_identify(suspect, look_s) for suspect in suspects))
    taken = {_port(found.url) for found in identified if found.version is not None}
    known = sorted({port for kind in KINDS.values() for port in kind.ports}) if ports is None else ports
    asked = [port for port in dict.fromkeys((*also, *known)) if port not in taken]
    others = await asyncio.gather(*(_at_port(port, look_s) for port in asked))
    return (*identified, *(found for found in others if found is not None))[:FOUND]


# ---- by command line -----------------------------------------------------------------------


def running() -> list[Process]:
    """Every process with its arguments, as far as we may see them."""
    found = []
    for process in psutil.process_iter(["pid", "name", "cmdline"]):
        info = process.info
        arguments = tuple(info["cmdline"] or ())
        found.append(Process(info["pid"], (arguments[0] if arguments else "") or info["name"] or "", arguments[1:]))
        if len(found) == PROCESSES:
            break
    return found


async def _listed(processes: Callable[[], Iterable[Process]]) -> list[Process]:
    try:
        return list(await Aside("process list", processes).ask(deadline_ms=_LIST_MS))
    except (Stuck, OSError, ValueError, RuntimeError):
        return []  # ports are still to be looked at


def _by_command_line(processes: Iterable[Process]) -> list[Found]:
    suspects = [
        Found(kind.name, _url(kind, line.port(process.arguments)), kind.control, "command line", pid=process.pid)
        for process in processes
        for kind in KINDS.values()
        for line in kind.command_lines
        if line.is_of(process.program, process.arguments)
    ]
    # TeamRedMiner has two APIs: the one that is off is of no interest beside the other.
    served = {suspect.pid for suspect in suspects if suspect.url}
    kept = [suspect for suspect in suspects if suspect.url or suspect.pid not in served]
    return list({(suspect.pid, suspect.url): suspect for suspect in kept}.values())[:FOUND]


def _url(kind: Kind, port: int | None) -> str:
    return f"{kind.scheme}://127.0.0.1:{port}" if port is not None else ""


def _port(url: str) -> int:
    return int(url.rpartition(":")[2] or 0)


# ---- by reply ------------------------------------------------------------------------------


async def _identify(suspect: Found, look_s: float) -> Found:
    if not suspect.url:
        return replace(suspect, problem="its API is off")
    try:
        identity = await open_miner(suspect.kind, suspect.url, clock=_no_clock, timeout_s=look_s).identify()
    except MinerError as error:
        return replace(suspect, problem=str(error))
    return replace(suspect, version=identity.version, writable=identity.writable)


async def _at_port(port: int, look_s: float) -> Found | None:
    """Who answers there, if it is a miner. Those at home on the port are tried first, then all others."""
    if not await _is_open(port, look_s):
        return None
    for kind in sorted(KINDS.values(), key=lambda kind: port not in kind.ports):
        found = await _identify(Found(kind.name, _url(kind, port), kind.control, "port"), look_s)
        if found.version is not None:
            return found
    return None


async def _is_open(port: int, look_s: float) -> bool:
    try:
        async with asyncio.timeout(look_s):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _no_clock() -> int:
    return 0
