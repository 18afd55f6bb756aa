"""``potminer record`` and ``potminer replay``: what the dashboard showed, kept and shown again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

from potminer.cli.output import WIDTH, print_json, say
from potminer.cli.place import Place
from potminer.cli.span import parse_span

if TYPE_CHECKING:
    from potminer.cli.recording import Recording
    from potminer.world.api.address import Address


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--speed", type=click.FloatRange(0.1, 1_000), default=1.0, show_default=True, help="Times as fast.")
@click.option("--lines", is_flag=True, help="No screen: a line for every change. So it is without a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Those lines as JSON.")
@click.option("--theme", type=click.Choice(["dark", "light", "contrast"]), help="Colours. Default: dashboard.theme.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Only ASCII letters, for old consoles.")
@click.pass_obj
def replay(
    place: Place, *, file: Path, speed: float, lines: bool, as_json: bool, theme: str | None, ascii_only: bool
) -> None:
    """Show a recorded session again (`potminer record FILE`), in the dashboard or as lines.

    No daemon is asked and none is needed. Orders are refused: what is shown is over.
    """
    from potminer.cli.recording import Recording

    recording = Recording(file, speed=speed)
    recording.check()
    if lines or as_json or not sys.stdout.isatty():
        asyncio.run(_tell(recording, as_json=as_json))
        return
    from potminer.cli.config import read_config
    from potminer.dashboard.app import DashboardApp

    theme = theme or read_config(place).dashboard.theme
    DashboardApp(recording, recording.now_ms, ascii_only=ascii_only, recorded=True, theme=theme).run()


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--for", "for_ms", callback=parse_span, metavar="TIME", help="Stop after a time such as 30m or 2h.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def record(place: Place, *, file: Path, for_ms: int | None, socket: str | None) -> None:
    """Record into FILE what the dashboard would show, until Ctrl-C; `potminer replay FILE` shows it again.

    It holds addresses, earnings and log lines of this rig: look before you give it away. At most 64 MiB.
    """
    from contextlib import suppress

    from potminer.cli.recording import Tape
    from potminer.cli.recording import record as run
    from potminer.cli.sources import Daemon
    from potminer.cli.trusted import Examiner
    from potminer.world.api.address import address_from_flag
    from potminer.world.api.attach import find

    def address() -> Address:
        return find(place.paths()) if socket is None else address_from_flag(socket)

    source = Daemon(address, Examiner(place))

    async def work(tape: Tape) -> None:
        await source.snapshot()  # where no daemon answers, nothing is recorded
        with suppress(TimeoutError):
            async with asyncio.timeout(None if for_ms is None else for_ms / 1_000):
                await run(source, tape, clock=monotonic)

    tape = Tape(file)
    try:
        asyncio.run(work(tape))
    except KeyboardInterrupt:
        if not tape.photographs:
            raise
    finally:
        tape.close()
        if not tape.photographs:
            file.unlink(missing_ok=True)
    say(f"{file}: {tape.photographs:,} photographs; show them with: potminer replay {file}")


async def _tell(recording: Recording, *, as_json: bool) -> None:
    """One line whenever what the rig says of itself changes, at the time when it did (UTC)."""
    from potminer.view import text
    from potminer.view.overview import overview

    before: tuple[object, ...] = ()
    async for seen in recording.photographs():
        said = overview(seen, seen.taken_ms).sentence
        devices = [{"bus": each.bus, "state": each.state.value} for each in seen.devices]
        alerts = [each.text for each in seen.alerts]
        now = (_still(said), devices, alerts)
        if now == before:
            continue
        before = now
        if as_json:
            print_json({"at_ms": seen.taken_ms, "height": seen.chain.height, "sentence": said, "devices": devices,
                        "alerts": alerts})  # fmt: skip
        else:
            say(text.shorten(f"{text.date(seen.taken_ms)} {text.clock(seen.taken_ms)}  {said}", WIDTH))
            for alert in alerts:
                say(text.shorten(f"{'':21}! {text.clean(alert)}", WIDTH))


def _still(sentence: str) -> str:
    """Without the numbers that run: a clock is no news."""
    return "".join("0" if char.isdigit() else char for char in sentence)
