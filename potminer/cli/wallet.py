"""``potminer wallet``: a key that money is paid to, closed by a passphrase and kept on paper as 24 words."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.base.errors import PotminerError, UsageError
from potminer.cli.amount import Amount
from potminer.cli.node import ask
from potminer.cli.output import print_json, say
from potminer.cli.payment import receipt_lines, send
from potminer.cli.place import Place
from potminer.cli.secret import passphrase_of, words_from

if TYPE_CHECKING:
    from potminer.node.verified import ProvenAccount
    from potminer.wire.control import AccountView, ReceiptView
    from potminer.wire.seal import SigningKey
    from potminer.world.api.attach import Client

_FILE = click.option(
    "--wallet", "file", type=click.Path(path_type=Path, dir_okay=False), help="The wallet file. Default: in --datadir."
)
_PASSPHRASE = click.option("--passphrase-fd", type=int, help="Read the passphrase from this file descriptor.")
_SOCKET = click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_PROVEN = 3
"""Words asked back: whoever copied all of them knows any of them."""


@click.group()
def wallet() -> None:
    """Keep and send money. A wallet belongs on a computer of yours, not on a rig.

    Passphrases are typed, or read with --passphrase-fd; they are never arguments.
    """


def _path(place: Place, file: Path | None) -> Path:
    return file or place.paths().keys / "wallet.json"


@wallet.command()
@_FILE
@_PASSPHRASE
@click.option("--json", "as_json", is_flag=True, help="As JSON, the words with it: send it nowhere.")
@click.pass_obj
def new(place: Place, *, file: Path | None, passphrase_fd: int | None, as_json: bool) -> None:
    """Make a wallet: 24 words for your paper, and a file that a passphrase opens."""
    from potminer.world.keys import new_seed
    from potminer.world.words import words_of

    path = _fresh(_path(place, file))
    check_screen(as_json=as_json)
    seed = new_seed()
    words = words_of(seed)
    if not as_json:
        print_words(words)
        _ask_back(words)
    address = _keep(path, seed, passphrase_of(passphrase_fd, new=True))
    if as_json:
        print_json({"address": address, "wallet": str(path), "words": words})
    else:
        _say_kept(address, path)


@wallet.command()
@_FILE
@_PASSPHRASE
@click.option("--words-fd", type=int, help="Read the 24 words from this file descriptor.")
@_JSON
@click.pass_obj
def restore(
    place: Place, *, file: Path | None, passphrase_fd: int | None, words_fd: int | None, as_json: bool
) -> None:
    """Make the wallet file again from its 24 words."""
    from potminer.world.words import seed_of

    path = _fresh(_path(place, file))
    seed = seed_of(words_from(words_fd))
    address = _keep(path, seed, passphrase_of(passphrase_fd, new=True))
    if as_json:
        print_json({"address": address, "wallet": str(path)})
    else:
        _say_kept(address, path)


@wallet.command()
@_FILE
@_SOCKET
@_JSON
@click.pass_obj
def show(place: Place, *, file: Path | None, socket: str | None, as_json: bool) -> None:
    """Show the address, and what it is proven to hold where a daemon runs. No passphrase is needed."""
    from potminer.base.address import decode_address
    from potminer.base.errors import NotProven
    from potminer.view.text import UNKNOWN, pot
    from potminer.world.keys import read_wallet

    address = read_wallet(_path(place, file)).address
    account: AccountView | None = None
    found: ProvenAccount | None = None
    trouble = ""
    try:
        account, found = ask(place, lambda node: _held(place, node, decode_address(address)), socket=socket)
    except NotProven:
        raise
    except PotminerError as error:
        trouble = error.what
    if as_json:
        print_json({"address": address, "account": account, "proven_after": None if found is None else found.height})
        return
    say(f"address  {address}")
    if account is None:
        say(f"balance  {UNKNOWN}  ({trouble})")
        return
    after = f"proven after block {found.height:,}" if found is not None else "the daemon's word, not proven"
    say(f"balance  {pot(account.balance)}  ({after})")
    say(f"pending  {pot(account.pending)}  (the daemon's word)")


async def _held(place: Place, node: Client, key: bytes) -> tuple[AccountView, ProvenAccount | None]:
    """What the daemon says of *key*, the balance as it is proven; None where it can prove nothing before the next
    block, or is behind. NotProven where a proof does not hold."""
    from msgspec.structs import replace

    from potminer.base.errors import Unreachable
    from potminer.cli.trusted import following
    from potminer.node import verified

    said = await node.account(key)
    try:
        async with following(place, node) as follower:
            found = await verified.account(follower, node, key)
    except Unreachable:
        return said, None
    return replace(said, balance=found.balance, height=found.height), found


@wallet.command(name="send")
@click.argument("to")
@click.argument("amount", type=Amount())
@_FILE
@_PASSPHRASE
@_SOCKET
@click.option("--wait", "wait_s", type=click.IntRange(0, 600), default=60, help="Seconds to wait for the receipt.")
@click.option("--yes", is_flag=True, help="Do not ask once more.")
@_JSON
@click.pass_obj
def send_(
    place: Place,
    to: str,
    amount: int,
    *,
    file: Path | None,
    passphrase_fd: int | None,
    socket: str | None,
    wait_s: int,
    yes: bool,
    as_json: bool,
) -> int:
    """Send AMOUNT (1.5, or 25grains) to the address TO, and wait until it is final."""
    from potminer.node.config import parse_key
    from potminer.node.taskfile import show_pot
    from potminer.wire.tx import Transfer

    try:
        receiver = parse_key(to)
    except ValueError as error:
        raise UsageError(f"{to[:100]!r} {error}", "An address begins with pot1.") from error
    path = _path(place, file)
    if not yes and sys.stdin.isatty():
        click.confirm(f"send {show_pot(amount)} to {to}", abort=True)
    return send(
        place, lambda: open_key(path, passphrase_fd), Transfer(receiver, amount), wait_s=wait_s, socket=socket,
        as_json=as_json,
    )  # fmt: skip


@wallet.command()
@_FILE
@_PASSPHRASE
@_JSON
@click.pass_obj
def backup(place: Place, *, file: Path | None, passphrase_fd: int | None, as_json: bool) -> None:
    """Show the 24 words again, for another piece of paper."""
    from potminer.world.keys import open_wallet, read_wallet
    from potminer.world.words import words_of

    closed = read_wallet(_path(place, file))
    check_screen(as_json=as_json)
    words = words_of(open_wallet(closed, passphrase_of(passphrase_fd)))
    if as_json:
        print_json({"address": closed.address, "words": words})
    else:
        print_words(words)


@wallet.command()
@click.argument("transaction")
@_SOCKET
@_JSON
@click.pass_obj
def receipt(place: Place, transaction: str, *, socket: str | None, as_json: bool) -> None:
    """Ask what became of a transaction."""

    async def question(node: Client) -> ReceiptView:
        from potminer.wire.control import Until

        return await node.receipt(transaction.lower(), until=Until.DECIDED)

    if len(transaction) != 64 or not set(transaction.lower()) <= set("0123456789abcdef"):
        raise UsageError("a transaction is named by 64 hexadecimal digits", "wallet send prints them.")
    found = ask(place, question, socket=socket)
    if as_json:
        print_json(found)
    else:
        for line in receipt_lines(found):
            say(line)


# ---- parts -------------------------------------------------------------------------------


def _fresh(path: Path) -> Path:
    """Said before any word is shown, and again when the file is made."""
    from potminer.base.errors import NotPermitted

    if path.exists() or path.is_symlink():
        raise NotPermitted(f"{path} is already there", "Name another file with --wallet: money is never overwritten.")
    return path


def _keep(path: Path, seed: bytes, passphrase: str) -> str:
    from potminer.base.address import encode_address
    from potminer.wire.seal import SigningKey
    from potminer.world.keys import create_wallet, seal_wallet

    create_wallet(path, seal_wallet(seed, passphrase))
    return encode_address(SigningKey(seed).public)


def open_key(path: Path, fd: int | None) -> SigningKey:
    """The key in the wallet at *path*; its passphrase is typed, or read from descriptor *fd*."""
    from potminer.wire.seal import SigningKey
    from potminer.world.keys import open_wallet, read_wallet

    closed = read_wallet(path)
    return SigningKey(open_wallet(closed, passphrase_of(fd)))


def check_screen(*, as_json: bool) -> None:
    if not as_json and not sys.stdout.isatty():
        raise UsageError("the words would go to no terminal", "Run it on a terminal, or ask for --json on purpose.")


def print_words(words: str) -> None:
    said = words.split()
    say("Write these words on paper, in this order. Whoever reads them has the money; without them a lost")
    say("passphrase or file is lost money. Never photograph them, never type them where somebody asks.")
    say("")
    for row in range(6):
        say("   " + "".join(f"{row + 6 * column + 1:>2} {said[row + 6 * column]:<12}" for column in range(4)).rstrip())
    say("")


def _ask_back(words: str) -> None:
    """A few of the words, from the paper."""
    import secrets

    said = words.split()
    for at in sorted(secrets.SystemRandom().sample(range(24), _PROVEN)):
        while click.prompt(f"word {at + 1}").strip().lower() != said[at]:
            say("That is not the word on the screen above.")


def _say_kept(address: str, path: Path) -> None:
    say(f"address  {address}")
    say(f"wallet   {path}")
    say("Give rigs the address alone: potminer init --payout " + address[:12] + "…")
