"""A node's life: it runs until somebody says stop, and leaves within ten seconds."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import signal
import sys
from pathlib import Path

from potminer.base.errors import Exit
from potminer.node.build import LOG, Node, open_node
from potminer.node.config import Config
from potminer.node.genesisfile import read_genesis
from potminer.node.logbook import one_line
from potminer.world.paths import Paths, private_folder

LEAVE_S = 10.0
SAVE_ADDRESSES_S = 300.0
LOOK_S = 10.0
"""A minute of the day's picture is looked at a few times."""
LOG_BYTES = 10 * 1024 * 1024
LOG_FILES = 5


async def live(
    config: Config, paths: Paths, *, byzantine: str | None = None, spoken: bool = True, record: Path | None = None
) -> Exit:
    """Run a node until SIGINT or SIGTERM; a second one ends the process at once."""
    read_genesis(paths.genesis)  # before anything is written: without one nothing else matters
    _log_to(paths, config, spoken=spoken)
    stop = asyncio.Event()
    _heed_signals(stop)
    async with open_node(config, paths, byzantine=byzantine, record=record) as node:
        host, port = node.network.listening or ("-", 0)
        LOG.info("node %s, chain %s, listening on %s:%s", node.key.hex()[:12], node.chain.hex()[:12], host, port)
        await _run(node, stop)
        LOG.info("leaving")
        await node.save_addresses()
        await node.save_day()
    return Exit.OK


async def _run(node: Node, stop: asyncio.Event) -> None:
    """Engine, rig and housekeeping until *stop*; a fault of our own in either ends the node."""
    work = [
        asyncio.create_task(node.engine.run(), name="engine"),
        asyncio.create_task(node.rig.run(node.journal), name="rig"),
        asyncio.create_task(_keep_addresses(node), name="addresses"),
        asyncio.create_task(_keep_day(node), name="day"),
    ]
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait([*work, stopping], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in [*work, stopping]:
            task.cancel()
        async with asyncio.timeout(LEAVE_S):
            ended = await asyncio.gather(*work, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result


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

    if sys.platform == "win32":
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(heed))
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, heed)


def _log_to(paths: Paths, config: Config, *, spoken: bool) -> None:
    """Rotating files in the data folder, and standard error where *spoken*."""
    private_folder(paths.datadir)
    private_folder(paths.logs)
    file = logging.handlers.RotatingFileHandler(
        paths.logs / "potminer.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
    )
    handlers: list[logging.Handler] = [file]
    if spoken:
        handlers.append(logging.StreamHandler())
    if config.logs.format == "json":
        form = '{"time":"%(asctime)s","level":"%(levelname)s","line":"%(line)s"}'
    else:
        form = "%(asctime)s %(levelname)-7s %(line)s"
    for handler in handlers:
        handler.setFormatter(logging.Formatter(form))
        handler.addFilter(one_line)
    LOG.handlers[:] = handlers
    LOG.setLevel(config.logs.level.upper())
    LOG.propagate = False
