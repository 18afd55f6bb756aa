"""A node's life: it runs until somebody says stop, and leaves within ten seconds."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from potminer.base.errors import Exit, PotminerError
from potminer.node.build import Node, open_node
from potminer.node.config import Config
from potminer.node.genesisfile import read_genesis
from potminer.node.logfile import LOG, open_log
from potminer.wire.genesis import Genesis
from potminer.world.paths import Paths

LEAVE_S = 10.0
SAVE_ADDRESSES_S = 300.0
COLLECT_AFTER = 10_000
"""Objects between two looks of the collector at the newest: some MiB."""
LOOK_S = 10.0
"""A minute of the day's picture is looked at a few times."""


async def live(
    config: Config,
    paths: Paths,
    *,
    byzantine: str | None = None,
    spoken: bool = True,
    record: Path | None = None,
    ready: Callable[[], None] = lambda: None,
) -> Exit:
    """Run a node until SIGINT or SIGTERM; a second one ends the process at once, as ten seconds of leaving do.
    *ready* is called when faces can attach."""
    genesis = read_genesis(paths.genesis)  # before anything is written: without one nothing else matters
    open_log(paths, config.logs, spoken=spoken)
    stop = asyncio.Event()
    _heed_signals(stop)
    def begun() -> None:
        ready()
        _spare_collector()

    await lives(config, paths, genesis, stop, byzantine=byzantine, record=record, ready=begun)
    return Exit.OK


async def lives(
    config: Config, paths: Paths, genesis: Genesis, stop: asyncio.Event, *, byzantine: str | None = None,
    record: Path | None = None, ready: Callable[[], None] = lambda: None,
) -> None:
    """A node until *stop*. Where its key becomes a candidate and it has no replica, it is left and opened again, from
    its store, with one: epochs before it may have a seat. What *record* was for ends there."""
    again = True
    while again:
        async with open_node(config, paths, genesis, byzantine=byzantine, record=record) as node:
            host, port = node.network.listening or ("-", 0)
            LOG.info("node %s, chain %s, listening on %s:%s", node.key.hex()[:12], node.chain.hex()[:12], host, port)
            ready()
            again = await _run(node, stop)
            LOG.info("this key may be elected: the node begins again, with a replica" if again else "leaving")
            await node.save_addresses()
            await node.save_day()
        record = None


def _spare_collector() -> None:
    """What stands when a node begins stays as long as it, and what it does afterwards makes hardly a cycle: the
    collector need not walk through all of it ten times a second. ``potminer run`` stopped it at the start, when
    everything that is made stays: so it is not walked through now either, a tenth of a start for 2,000 dead objects."""
    gc.enable()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 20)


async def _run(node: Node, stop: asyncio.Event) -> bool:
    """Engine, rig and housekeeping until *stop*, or until the node has to begin again (True); a fault of our own in
    either ends the node, and so does a damaged disk, also where only somebody's question met it: what was signed lies
    on it too."""
    work = [
        asyncio.create_task(node.engine.run(), name="engine"),
        asyncio.create_task(node.rig.run(node.journal), name="rig"),
        asyncio.create_task(_keep_addresses(node), name="addresses"),
        asyncio.create_task(_keep_day(node), name="day"),
        asyncio.create_task(node.until_damaged(), name="disk"),
    ]
    stopping = asyncio.create_task(stop.wait(), name="stop")
    outgrown = asyncio.create_task(node.engine.outgrown.wait(), name="outgrown")
    try:
        await asyncio.wait([*work, stopping, outgrown], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in [*work, stopping, outgrown]:
            task.cancel()
        ended = await asyncio.gather(*work, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise _cause(result)
    return node.engine.outgrown.is_set() and not stop.is_set()


def _cause(error: Exception) -> Exception:
    """What the operator can do something about, out of the groups that tasks wrap it in."""
    while isinstance(error, ExceptionGroup):
        known = [each for each in error.exceptions if isinstance(each, PotminerError | ExceptionGroup)]
        error = (known or list(error.exceptions))[0]
    return error


async def _keep_addresses(node: Node) -> None:
    while True:
        await asyncio.sleep(SAVE_ADDRESSES_S)
        await node.save_addresses()
        await node.save_day()


async def _keep_day(node: Node) -> None:
    while True:
        node.look()
        await asyncio.sleep(LOOK_S)


def _heed_signals(stop: asyncio.Event) -> None:
    def heed() -> None:
        if stop.is_set():
            os._exit(Exit.INTERRUPTED)
        stop.set()
        # Not on the loop: what hangs may be the loop itself, or a disk under it.
        deadline = threading.Timer(LEAVE_S, os._exit, (Exit.FAILURE,))
        deadline.daemon = True
        deadline.start()

    if sys.platform == "win32":
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(heed))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, heed)
