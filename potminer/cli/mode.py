"""``potminer mode``: what the devices may do; visible, and gone after --for."""

from __future__ import annotations

import click

from potminer.cli.node import ask
from potminer.cli.output import say
from potminer.cli.place import Place
from potminer.cli.span import parse_span


@click.command()
@click.argument("choice", type=click.Choice(["auto", "mine", "train", "off"]))
@click.option(
    "--for", "for_ms", callback=parse_span, metavar="TIME", help="Back to auto after a time such as 30m or 2h."
)
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def mode(place: Place, *, choice: str, for_ms: int | None, socket: str | None) -> None:
    """Choose what the devices do: auto, mine, train or off."""
    from potminer.wire.control import Mode, SetMode

    ask(place, lambda node: node.command(SetMode(Mode(choice), for_ms)), socket=socket)
    say(f"mode {choice}")
