"""``potminer peers``: who is linked to this node, and the committee."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from potminer.cli.clock import now_ms
from potminer.cli.node import ask
from potminer.cli.output import print_json, print_table, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.answers import NetworkView
    from potminer.world.api.attach import Client


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def peers(place: Place, *, as_json: bool, socket: str | None) -> None:
    """List the peers of this node: address, direction, bytes, age."""

    async def question(node: Client) -> NetworkView:
        return await node.network()

    network = ask(place, question, socket=socket)
    if as_json:
        print_json(network)
        return
    from potminer.view.network import latency_caption, peer_table

    table = peer_table(network, now_ms())
    say(f"listening {network.listening or '–'} · {len(network.peers)} peers · {latency_caption(network.commit_ms)}")
    linked = sum(member.linked is not False for member in network.committee)
    say(f"committee of {len(network.committee)}, {linked} of them linked or us")
    if table.rows:
        say("")
        shown = ("peer", "address", "dir", "role", "sent", "received", "up")
        places = [[column.title for column in table.columns].index(title) for title in shown]
        print_table([shown, *(tuple(row.cells[at] for at in places) for row in table.rows)], right=frozenset({4, 5, 6}))
