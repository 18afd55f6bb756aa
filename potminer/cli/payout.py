"""``potminer payout``: the address this rig's earnings go to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from potminer.base.errors import Unreachable
from potminer.cli.config import read_config
from potminer.cli.node import ask
from potminer.cli.output import print_json, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.world.api.attach import Client

_SOCKET = click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")

_LOOK_S = 0.5


@click.group()
def payout() -> None:
    """Show and set where this rig's earnings go."""


@payout.command()
@_SOCKET
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(place: Place, *, socket: str | None, as_json: bool) -> None:
    """Show what the config says, and what the ledger knows where a daemon runs."""
    from potminer.base.address import encode_address

    wanted = read_config(place).payout.address
    said = None if wanted is None else encode_address(wanted)
    known, trouble = _registered(place, socket)
    if as_json:
        print_json({"config": said, "ledger": known})
        return
    say(f"config   {said or 'none: earnings stay on the node key'}")
    say(f"ledger   {known or trouble}")


@payout.command(name="set")
@click.argument("address")
@click.option("--wait", "wait_s", type=click.IntRange(0, 600), default=60, help="Seconds to wait for the ledger.")
@_SOCKET
@click.pass_obj
def set_(place: Place, address: str, *, wait_s: int, socket: str | None) -> None:
    """Earnings go to ADDRESS from now on: in the config, and in the ledger where a daemon runs.

    What is inside the dispute window already still goes where it was promised.
    """
    from potminer.node.rewrite import set_value
    from potminer.wire.control import SetPayout

    set_value(place.paths().config, "payout.address", address)
    say(f"{place.paths().config}: payout.address is set")
    try:
        ask(place, lambda node: node.command(SetPayout(address)), socket=socket)
    except Unreachable:
        say("no daemon runs: the ledger learns it at the next start")
        return
    height = ask(place, lambda node: _proven(place, node, address, wait_s), socket=socket)
    if height is None:
        say("the ledger has not taken it yet; `potminer payout show` tells when it has")
    else:
        say(f"the ledger pays it: proven by the committee at height {height:,}")


async def _proven(place: Place, node: Client, address: str, wait_s: int) -> int | None:
    """The height from which a quorum vouches that this node's earnings go to *address*; None where none does in
    time."""
    import asyncio
    from contextlib import suppress

    from potminer.base.address import decode_address
    from potminer.cli.trusted import following
    from potminer.wire import record as records

    wanted = decode_address(address)
    key = records.trainer_key(decode_address((await node.snapshot()).node))
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s), following(place, node) as follower:
            while True:
                (fact,) = await follower.facts(node, [key])
                trainer = fact.record(records.Trainer)
                if trainer is not None and trainer.payout == wanted:
                    return fact.height
                await asyncio.sleep(_LOOK_S)
    return None


def _registered(place: Place, socket: str | None) -> tuple[str | None, str]:
    """The address that is proven to be the ledger's for the daemon's key, or in words why none is known."""

    async def question(node: Client) -> str | None:
        from potminer.base.address import decode_address, encode_address
        from potminer.cli.trusted import following
        from potminer.wire import record as records

        key = records.trainer_key(decode_address((await node.snapshot()).node))
        async with following(place, node) as follower:
            (fact,) = await follower.facts(node, [key])
        trainer = fact.record(records.Trainer)
        return None if trainer is None else encode_address(trainer.payout)

    try:
        return ask(place, question, socket=socket), "nothing: this node is not registered as a trainer"
    except Unreachable as error:
        return None, f"unknown: {error.what}"
