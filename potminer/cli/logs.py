"""``potminer logs``: the newest lines of the node's log, and what follows."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Unreachable
from potminer.cli.node import ask
from potminer.cli.output import print_json, say
from potminer.cli.place import Place
from potminer.wire.answers import LOG_LINES, LogLevel

if TYPE_CHECKING:
    from potminer.wire.answers import LogTail
    from potminer.world.api.attach import Client

_POLL_S = 0.5
_FILE_BYTES = 1_048_576
"""Of the file's end, where no daemon answers."""


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("-n", "--last", type=click.IntRange(1, LOG_LINES), default=50, show_default=True, help="How many lines.")
@click.option(
    "--level", type=click.Choice([each.value for each in LogLevel]), default=LogLevel.DEBUG.value,
    help="The least important.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def logs(place: Place, *, follow: bool, last: int, level: str, as_json: bool, socket: str | None) -> None:
    """Show the newest lines of the node's log (times are UTC).

    Where no daemon runs: the end of the log file it left.
    """

    def show(tail: LogTail) -> None:
        from msgspec.structs import asdict

        from potminer.view.text import clean, clock, date

        for line in tail.lines:
            if as_json:
                print_json(asdict(line))
            else:
                text = clean(line.text, 500)
                say(f"{date(line.time_ms)} {clock(line.time_ms)} {line.level.value.upper():<7} {text}")
        sys.stdout.flush()

    async def read(node: Client) -> None:
        tail = await node.log(last=last, level=LogLevel(level))
        show(tail)
        seen = tail.lines[-1].number if tail.lines else 0
        while follow:
            await asyncio.sleep(_POLL_S)
            tail = await node.log(after=seen, last=LOG_LINES, level=LogLevel(level))
            show(tail)
            seen = tail.lines[-1].number if tail.lines else seen

    try:
        ask(place, read, socket=socket)
    except Unreachable:
        if follow or as_json or socket is not None or not _show_file(place, last):
            raise


def _show_file(place: Place, last: int) -> bool:
    """The end of the log file as it is; whether there is one."""
    from potminer.view.text import clean

    path = place.paths().logs / "potminer.log"
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _FILE_BYTES))
            lines = deque(file.read(_FILE_BYTES).decode("utf-8", "replace").splitlines(), maxlen=last)
    except OSError:
        return False
    for line in lines:
        say(clean(line, 2_000))
    return True
