"""``potminer bond`` and ``unbond``: the security a rig's own key stands for its work with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from potminer.cli.amount import Amount
from potminer.cli.payment import send
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.seal import SigningKey

_SOCKET = click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
_WAIT = click.option("--wait", "wait_s", type=click.IntRange(0, 600), default=60, help="Seconds to wait.")
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command()
@click.argument("amount", type=Amount())
@_SOCKET
@_WAIT
@_JSON
@click.pass_obj
def bond(place: Place, amount: int, *, socket: str | None, wait_s: int, as_json: bool) -> int:
    """Move AMOUNT from this node's balance into its bond, and wait until it is final.

    The node key signs, so the money must be on the node's own address (`potminer keys show`).
    """
    from potminer.wire.tx import Bond

    return send(place, lambda: _node_key(place), Bond(amount), wait_s=wait_s, socket=socket, as_json=as_json)


@click.command()
@click.argument("amount", type=Amount())
@_SOCKET
@_WAIT
@_JSON
@click.pass_obj
def unbond(place: Place, amount: int, *, socket: str | None, wait_s: int, as_json: bool) -> int:
    """Take AMOUNT out of this node's bond; it is free after the unbonding delay."""
    from potminer.wire.tx import Unbond

    return send(place, lambda: _node_key(place), Unbond(amount), wait_s=wait_s, socket=socket, as_json=as_json)


def _node_key(place: Place) -> SigningKey:
    from potminer.world.keys import NODE_KEY, load_key

    return load_key(place.paths().keys / NODE_KEY)
