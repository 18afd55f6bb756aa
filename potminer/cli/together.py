"""A daemon and its dashboard in one process: what ``potminer`` alone on a terminal is where no daemon runs.

The dashboard is a face like any other: it attaches to the daemon's own socket. Closing it leaves the daemon running.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from potminer.base.errors import Exit
from potminer.cli.output import say

if TYPE_CHECKING:
    from potminer.dashboard.app import DashboardApp
    from potminer.node.config import Config
    from potminer.world.paths import Paths


def run_together(config: Config, paths: Paths, app: DashboardApp) -> Exit:
    """Until the daemon ends: by a signal, or Ctrl-C once the dashboard is closed."""
    return asyncio.run(_together(config, paths, app))


async def _together(config: Config, paths: Paths, app: DashboardApp) -> Exit:
    from potminer.node.life import live
    from potminer.node.logfile import speak

    ready = asyncio.Event()
    daemon = asyncio.create_task(live(config, paths, spoken=False, ready=ready.set), name="daemon")
    starting = asyncio.create_task(ready.wait(), name="ready")
    await asyncio.wait((daemon, starting), return_when=asyncio.FIRST_COMPLETED)
    starting.cancel()
    if daemon.done():
        return daemon.result()
    face = asyncio.create_task(app.run_async(), name="dashboard")
    await asyncio.wait((daemon, face), return_when=asyncio.FIRST_COMPLETED)
    if not face.done():
        app.exit()
    await asyncio.gather(face, return_exceptions=True)
    if not daemon.done():
        say("The dashboard is closed; the daemon goes on here. Ctrl-C ends it.")
        say("`potminer dashboard` shows it again.")
        speak(config.logs)
    return await daemon
