"""``potminer dashboard``: the screen, attached to a daemon or to a recording."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Malformed, NotPermitted, UsageError
from potminer.cli.clock import now_ms
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.control import Command, Snapshot
    from potminer.world.api.address import Address

_LONGEST_WAIT_MS = 2_000


@click.command()
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.option("--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Show a recording.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Only ASCII letters, for old consoles.")
@click.pass_obj
def dashboard(
    place: Place, *, socket: str | None = None, replay: Path | None = None, ascii_only: bool = False
) -> None:
    """Open the dashboard.

    A recording is what `potminer status --watch --json` writes.
    """
    if not sys.stdout.isatty():
        raise UsageError("the dashboard needs a terminal", "Use `potminer status`, with --json for scripts.")
    from potminer.dashboard.app import DashboardApp

    if replay is not None:
        recording = Recording(replay)
        DashboardApp(recording, recording.now_ms, ascii_only=ascii_only).run()
        return
    daemon = Daemon(place, socket)
    daemon.address()
    DashboardApp(daemon, now_ms, ascii_only=ascii_only).run()


class Daemon:
    """A Source that looks for the daemon anew at every attempt: it may come back elsewhere."""

    def __init__(self, place: Place, socket: str | None) -> None:
        self._place = place
        self._socket = socket

    def address(self) -> Address:
        from potminer.world.api.address import address_from_flag
        from potminer.world.api.attach import find

        return find(self._place.paths()) if self._socket is None else address_from_flag(self._socket)

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        from potminer.world.api.attach import Client

        async with Client(self.address()) as node, aclosing(node.watch()) as photographs:
            async for photograph in photographs:
                yield photograph

    async def command(self, command: Command) -> None:
        from potminer.world.api.attach import Client

        async with Client(self.address()) as node:
            await node.command(command)


class Recording:
    """A Source that shows a file of photographs, one JSON a line, at the pace they were taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._now_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        from potminer.wire.control import SNAPSHOT_BYTES, Snapshot, from_json

        with self._path.open("rb") as file:
            while line := await asyncio.to_thread(file.readline, SNAPSHOT_BYTES):
                try:
                    photograph: Snapshot = from_json(Snapshot, line, max_bytes=SNAPSHOT_BYTES)
                except Malformed as error:
                    raise UsageError(f"{self._path} is not a recording: {error}") from error
                wait = photograph.taken_ms - self._now_ms if self._now_ms else 0
                await asyncio.sleep(max(0, min(wait, _LONGEST_WAIT_MS)) / 1000)
                self._now_ms = photograph.taken_ms
                yield photograph
        await asyncio.Event().wait()

    async def command(self, command: Command) -> None:
        raise NotPermitted("this is a recording", "Attach to a daemon to give orders.")
