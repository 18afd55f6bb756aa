"""``potminer keys``: this node's own key, which signs its work and holds its bond, and money sent from it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from potminer.base.errors import UsageError
from potminer.cli.amount import Amount
from potminer.cli.node import ask
from potminer.cli.output import print_json, say
from potminer.cli.payment import send as pay
from potminer.cli.place import Place
from potminer.cli.rotate import rotate

if TYPE_CHECKING:
    from potminer.world.api.attach import Client


@click.group()
def keys() -> None:
    """Show and back up the key of this node, send what is on it, replace it."""


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def show(place: Place, *, as_json: bool) -> None:
    """Show the node's address and where its key lies; never the key."""
    from potminer.base.address import encode_address
    from potminer.world.keys import NODE_KEY, load_key

    path = place.paths().keys / NODE_KEY
    address = encode_address(load_key(path).public)
    if as_json:
        print_json({"node": address, "file": str(path)})
        return
    say(f"node  {address}")
    say(f"file  {path}")


@keys.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, the words with it: send it nowhere.")
@click.pass_obj
def backup(place: Place, *, as_json: bool) -> None:
    """Show the node key as 24 words. They restore it with `potminer keys restore`."""
    from potminer.base.address import encode_address
    from potminer.cli.wallet import check_screen, print_words
    from potminer.wire.seal import SigningKey
    from potminer.world.keys import NODE_KEY, load_seed
    from potminer.world.words import words_of

    seed = load_seed(place.paths().keys / NODE_KEY)
    if as_json:
        print_json({"node": encode_address(SigningKey(seed).public), "words": words_of(seed)})
        return
    check_screen(as_json=as_json)
    print_words(words_of(seed))


@keys.command()
@click.option("--words-fd", type=int, help="Read the 24 words from this file descriptor.")
@click.pass_obj
def restore(place: Place, *, words_fd: int | None) -> None:
    """Make the node key again from its 24 words, where there is none."""
    from potminer.base.address import encode_address
    from potminer.cli.secret import words_from
    from potminer.world.keys import NODE_KEY, create_key
    from potminer.world.paths import private_folder
    from potminer.world.words import seed_of

    paths = place.paths()
    seed = seed_of(words_from(words_fd))
    private_folder(paths.datadir)
    key = create_key(private_folder(paths.keys) / NODE_KEY, seed=seed)
    say(f"node  {encode_address(key.public)}")


@keys.command()
@click.argument("to")
@click.argument("amount", type=Amount(), required=False)
@click.option("--all", "everything", is_flag=True, help="The whole balance but the fee.")
@click.option("--yes", is_flag=True, help="Do not ask once more.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.option("--wait", "wait_s", type=click.IntRange(0, 600), default=60, help="Seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def send(
    place: Place, *, to: str, amount: int | None, everything: bool, yes: bool, socket: str | None, wait_s: int,
    as_json: bool,
) -> int:
    """Send AMOUNT of what is on the node key itself to the address TO, and wait until it is final.

    That is what came out of a bond, or was earned before a payout address was set.
    """
    from potminer.node.config import parse_key
    from potminer.node.taskfile import show_pot
    from potminer.wire.tx import Transfer
    from potminer.world.keys import NODE_KEY, load_key

    if everything == (amount is not None):
        raise UsageError("say what to send", "An amount such as 1.5, or --all.")
    try:
        receiver = parse_key(to)
    except ValueError as error:
        raise UsageError(f"{to[:100]!r} {error}", "An address begins with pot1.") from error
    key = load_key(place.paths().keys / NODE_KEY)
    sum_ = amount if amount is not None else _whole(place, key.public, socket)
    if not yes and not as_json and sys.stdin.isatty():
        click.confirm(f"send {show_pot(sum_)} to {to}", abort=True)
    return pay(place, lambda: key, Transfer(receiver, sum_), wait_s=wait_s, socket=socket, as_json=as_json)


def _whole(place: Place, key: bytes, socket: str | None) -> int:
    """The balance without the fee that sending it costs."""

    async def question(node: Client) -> int:
        return (await node.account(key)).balance - (await node.genesis()).parameters.minimum_fee

    free = ask(place, question, socket=socket)
    if free <= 0:
        raise UsageError("nothing is on the node key, or less than the fee", "potminer earnings shows where it is.")
    return free


keys.add_command(rotate)
