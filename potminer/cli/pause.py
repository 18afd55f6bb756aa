"""``pause``, ``resume`` and ``finish``: the owner's word to the devices."""

from __future__ import annotations

import click

from potminer.cli.node import ask
from potminer.cli.output import say
from potminer.cli.place import Place
from potminer.cli.span import parse_span

_GPU = click.option("--gpu", "device", help="Bus id of one device, as `status --json` shows it. Default: all.")
_SOCKET = click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")


@click.command()
@_GPU
@click.option(
    "--for", "for_ms", callback=parse_span, metavar="TIME", help="Resume by itself after a time such as 30m or 2h."
)
@_SOCKET
@click.pass_obj
def pause(place: Place, *, device: str | None, for_ms: int | None, socket: str | None) -> None:
    """Stop training now and give the devices back."""
    from potminer.wire.control import Pause

    ask(place, lambda node: node.command(Pause(device, for_ms)), socket=socket)
    say("paused")


@click.command()
@_GPU
@_SOCKET
@click.pass_obj
def resume(place: Place, *, device: str | None, socket: str | None) -> None:
    """Undo pause."""
    from potminer.wire.control import Resume

    ask(place, lambda node: node.command(Resume(device)), socket=socket)
    say("resumed")


@click.command()
@_GPU
@_SOCKET
@click.pass_obj
def finish(place: Place, *, device: str | None, socket: str | None) -> None:
    """Finish the units under way, then take no new ones. `potminer resume` undoes it."""
    from potminer.wire.control import Drain

    ask(place, lambda node: node.command(Drain(device)), socket=socket)
    say("finishing")
