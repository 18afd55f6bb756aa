"""``potminer keys rotate``: another node key, where nothing is left behind on this one.

A node key is an identity: bond, seats, work and what it earned hang on it, and the ledger moves none of that to another
key. So this is a farewell. A node proves that nothing hangs on the key; then, with the daemon stopped, a new one takes
its place. The old key and its database are kept under another name: nothing is ever out of reach by this.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import msgspec
from msgspec import Meta

from potminer.base.errors import AlreadyRunning, Exit, NotPermitted, Unreachable
from potminer.cli.clock import now_ms
from potminer.cli.node import ask
from potminer.cli.output import print_json, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.node.belongings import Belongings
    from potminer.world.api.attach import Client
    from potminer.world.paths import Paths

NOTE = "rotation"
NOTE_MS = 3_600_000
"""What a node proved longer ago says little of now."""
_NOTE_BYTES = 1_000
_NOT_KNOWN = (
    "Start `potminer run`, or ask another node with --socket. --leave does not look: the old key is kept, and whatever "
    "hangs on it stays with it."
)


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That nothing hung on *key* after block *height*, as was proven at *at_ms*."""

    key: Annotated[str, Meta(max_length=90)]
    height: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    at_ms: Annotated[int, Meta(ge=0, le=2**63 - 1)]


@click.command()
@click.option("--leave", is_flag=True, help="Whatever hangs on the old key: leave it there. Its file is kept.")
@click.option("--yes", is_flag=True, help="Do not ask once more.")
@click.option("--socket", help="A node that proves it, instead of the daemon of --datadir.")
@click.option("--json", "as_json", is_flag=True, help="As JSON; asks nothing.")
@click.pass_obj
def rotate(place: Place, *, leave: bool, yes: bool, socket: str | None, as_json: bool) -> int:
    """Give this node another key: another identity, with no bond, no seat and no past.

    Refused (7) where money, a seat or work hangs on the key, with what to do about it. Said once beside the running
    daemon, and once more when that is stopped; the old key and its database are kept.
    """
    from potminer.base.address import encode_address
    from potminer.world.keys import NODE_KEY, load_key

    paths = place.paths()
    path = paths.keys / NODE_KEY
    own = encode_address(load_key(path).public)
    seen = _looked(place, load_key(path).public, socket)
    if seen is not None and not seen.nothing and not leave:
        raise NotPermitted(f"something hangs on {own}", "\n  ".join(what_to_do(seen)))
    if seen is not None:
        _remember(paths, _Note(own, seen.height, now_ms()))
    elif not leave and not _proven_lately(paths, own):
        raise Unreachable("whether anything hangs on this key is not known here", _NOT_KNOWN)
    if _runs(paths):
        _print_waiting(own, seen, as_json=as_json)
        return Exit.OK
    if not (yes or as_json):
        click.confirm(f"replace {own}", abort=True)
    _swap(place, paths, path, own, as_json=as_json)
    return Exit.OK


def _looked(place: Place, key: bytes, socket: str | None) -> Belongings | None:
    """What hangs on *key*; None where no node can be asked."""
    from potminer.base.address import encode_address
    from potminer.cli.trusted import following
    from potminer.node.belongings import belongings

    async def question(node: Client) -> Belongings:
        photograph = await node.snapshot()
        own = photograph.node == encode_address(key)
        async with following(place, node) as follower:
            return await belongings(follower, node, key, pending=photograph.earnings.pending if own else 0)

    try:
        return ask(place, question, socket=socket)
    except Unreachable:
        if socket is not None:
            raise
        return None


def what_to_do(seen: Belongings) -> list[str]:
    """One line for each thing that would be left behind."""
    from potminer.view.text import clean, clock, date, pot

    lines = []
    for name in seen.orders:
        lines.append(f"it pays for the task {clean(name)}: potminer task cancel {clean(name)}, or wait for its end")
    for name in seen.works:
        lines.append(f"it works on {clean(name)}: potminer finish, and wait until its last round is paid")
    if seen.pending:
        lines.append(f"{pot(seen.pending)} earned, in the dispute window: wait")
    if seen.stake:
        lines.append(f"{pot(seen.stake)} bond as a validator: potminer validator unbond --all")
    if seen.candidate or seen.sits:
        lines.append("it is elected for a seat, or sits: it must run until its last epoch ends")
    for each in seen.leaving:
        lines.append(f"{pot(each.amount)} on the way out of that bond: free after {date(each.time_ms)} "
                     f"{clock(each.time_ms)} and in epoch {each.epoch}")  # fmt: skip
    if seen.bond:
        lines.append(f"{pot(seen.bond)} bond as a trainer: potminer unbond {seen.bond}grains")
    if seen.unbonding:
        lines.append(f"{pot(seen.unbonding)} on the way out of that bond: wait for the unbonding delay")
    if seen.held and not seen.sealed:
        lines.append(f"{pot(seen.held)} held until hidden work was shown: the rig shows it while it runs")
    if seen.balance:
        lines.append(f"{pot(seen.balance)} on the key itself: potminer keys send --all ADDRESS")
    return lines


def _print_waiting(own: str, seen: Belongings | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"state": "stop-the-daemon", "node": own, "height": None if seen is None else seen.height})
        return
    say(f"nothing hangs on {own}" + ("" if seen is None else f", proven after block {seen.height:,}"))
    say("Now stop the daemon (Ctrl-C, or systemctl stop potminer), then say `potminer keys rotate` again.")


# ---- the swap ----------------------------------------------------------------------------


def _runs(paths: Paths) -> bool:
    from potminer.world.api.lockfile import Lock

    try:
        Lock.acquire(paths.lock).release()
    except AlreadyRunning:
        return True
    return False


def _swap(place: Place, paths: Paths, path: Path, own: str, *, as_json: bool) -> None:
    """The database first: a new key on the old one's database would not start, an old key without it keeps silent."""
    from potminer.base.address import encode_address
    from potminer.cli.config import read_config
    from potminer.world.api.lockfile import Lock
    from potminer.world.keys import rotate_key

    elsewhere = bool(read_config(place).store.url)
    lock = Lock.acquire(paths.lock)
    try:
        kept = path.with_name(f"node-{own[4:16]}.key")
        moved = None if elsewhere else _move_database(paths, own)
        fresh = encode_address(rotate_key(path, kept).public)
        (paths.keys / NOTE).unlink(missing_ok=True)
    finally:
        lock.release()
    if as_json:
        print_json({"state": "rotated", "node": fresh, "was": own, "kept": str(kept),
                    "database": None if moved is None else str(moved)})  # fmt: skip
        return
    say(f"node  {fresh}")
    say(f"was   {own}, kept in {kept}")
    if moved is not None:
        say(f"      its chain and earnings are kept in {moved}")
    if elsewhere:
        say("!     store.url is the old key's database: name another before the daemon starts")
    say("Next: potminer keys backup; start the daemon; put a bond up again. Tell whoever names the old key as")
    say("      theirs to begin with (node.bootstrap). Your payout address stays as it is in the config.")


def _move_database(paths: Paths, own: str) -> Path | None:
    """The database under the old key's name, its log of writes with it; None where there is none."""
    target = paths.database.with_name(f"potminer-{own[4:16]}.sqlite")
    if not paths.database.exists():
        return None
    if target.exists():
        raise NotPermitted(f"{target} is already there", "Move it away: it is what this key's node wrote before.")
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            os.rename(f"{paths.database}{suffix}", f"{target}{suffix}")
    return target


def _remember(paths: Paths, note: _Note) -> None:
    path = paths.keys / NOTE
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(note))


def _proven_lately(paths: Paths, own: str) -> bool:
    try:
        with (paths.keys / NOTE).open("rb") as file:
            note = msgspec.json.decode(file.read(_NOTE_BYTES), type=_Note)
    except (OSError, msgspec.DecodeError, UnicodeError):
        return False
    return note.key == own and 0 <= now_ms() - note.at_ms <= NOTE_MS


command = rotate
