"""``potminer chain``: where the chain stands, what is provable of it, and who broke it if anybody did."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potminer.cli.clock import now_ms
from potminer.cli.output import print_json, print_table, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.node.blame import Judgement
    from potminer.node.follower import Follower
    from potminer.node.verified import ProvenTask
    from potminer.wire.answers import ChainStatus
    from potminer.wire.genesis import Genesis
    from potminer.world.api.attach import Client

CONNECT = "The node to ask: its api.sock, or http://127.0.0.1:PORT cookie=FILE; without it the one of --datadir."


@click.group()
def chain() -> None:
    """Where the chain stands, what is provable of it, who broke it."""


# ---- status ------------------------------------------------------------------------------


@chain.command()
@click.option("--connect", "--socket", "where", metavar="ADDRESS", help=CONNECT)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def status(place: Place, *, where: str | None, as_json: bool) -> None:
    """Height, epoch, committee and peers, as the node says. For proofs: potminer chain verify."""
    from potminer.cli.node import ask

    seen = ask(place, lambda node: node.chain(), socket=where)
    if as_json:
        print_json(seen)
        return
    _print_status(seen)


def _print_status(seen: ChainStatus) -> None:
    from potminer.view.text import age, plural, shorten

    say(f"chain     {shorten(seen.network, 40)}  {seen.chain[:16]}  rules {seen.rules}")
    say(f"block     {seen.height:,}  {seen.digest[:16]}  {age(seen.time_ms, seen.taken_ms)}")
    say(f"state     {seen.state_root}")
    if seen.provable_first is None:
        say("proofs    from the next block on")
    else:
        say(f"proofs    of the state after blocks {seen.provable_first:,} to {seen.provable_last:,}")
    say(f"epoch     {seen.epoch}, {plural(len(seen.committee), 'member')}")
    for member in seen.committee:
        say(f"          {member.key}  power {member.power}")
    say(f"peers     {plural(len(seen.heads), 'peer')}")
    print_table([(f"          {each.key}", f"{each.height:,}") for each in seen.heads], right=frozenset({1}))


# ---- verify ------------------------------------------------------------------------------


@chain.command()
@click.option("--from", "start", metavar="GENESIS|HEIGHT:DIGEST",
              help="What is trusted. A block: take it from somebody you trust. [default: what was proven before]")
@click.option("--account", metavar="ADDRESS", help="Prove this account.")
@click.option("--task", "task", metavar="ID", help="Prove this task, its model and its round in progress.")
@click.option("--round", "round", type=click.IntRange(1, 2**32 - 1),
              help="With --task: the model when that many rounds had closed, and what the last of them still owes.")
@click.option("--transaction", metavar="ID", help="Prove that this transaction is final, and what became of it.")
@click.option("--trust-days", type=click.IntRange(1, 36_500), help="Believe no committee that is older than this.")
@click.option("--genesis", "file", type=click.Path(path_type=Path), help="Genesis file, if not the data folder's.")
@click.option("--connect", "--socket", "where", metavar="ADDRESS", help=CONNECT)
@click.option("--store", type=click.Path(path_type=Path), help="Judge a node's database again, block by block.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def verify(
    place: Place, *, start: str | None, account: str | None, task: str | None, round: int | None,
    transaction: str | None, trust_days: int | None, file: Path | None, where: str | None, store: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Follow the chain by its certificates, believing no node. Ends with 8 where something does not hold."""
    if store is not None:
        told = asyncio.run(_recheck(place, store, file, as_json=as_json))
    else:
        questions = _Questions(start, account, task, round, transaction, trust_days, file)
        told = asyncio.run(_follow(place, where, questions))
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        say(f"{name.replace('_', ' '):<15}{value}")


class _Questions:
    """What the command line asks, read before anybody is spoken to."""

    def __init__(
        self, start: str | None, account: str | None, task: str | None, round: int | None, transaction: str | None,
        days: int | None, genesis: Path | None,
    ) -> None:  # fmt: skip
        from potminer.base.address import decode_address

        self.afresh = start is not None
        self.anchor = None if start is None or start.upper() == "GENESIS" else _anchor(start)
        self.account = None if account is None else decode_address(account)
        self.task = None if task is None else _digest(task, "a task")
        self.round = round
        self.transaction = None if transaction is None else _digest(transaction, "a transaction")
        self.trusting_ms = None if days is None else days * 24 * 3_600_000
        self.genesis = genesis


def _anchor(text: str) -> tuple[int, bytes]:
    from potminer.base.errors import UsageError

    height, _, digest = text.partition(":")
    if not height.isdecimal() or len(height) > 15 or int(height) < 1:
        raise UsageError(f"{text[:80]!r} is neither GENESIS nor HEIGHT:DIGEST", "For example --from 12000:3fa9...")
    return int(height), _digest(digest, "a block")


def _digest(text: str, what: str) -> bytes:
    from potminer.base.errors import UsageError

    if len(text) != 64 or any(char not in "0123456789abcdef" for char in text):
        raise UsageError(f"{text[:80]!r} does not name {what}", "It is 64 lower-case hex digits.")
    return bytes.fromhex(text)


async def _follow(place: Place, where: str | None, questions: _Questions) -> dict[str, object]:
    from potminer.core.light.trust import Terms, from_genesis
    from potminer.node import believed
    from potminer.node.follower import Follower, anchored
    from potminer.world.api.address import address_from_flag
    from potminer.world.api.attach import Client, find

    address = find(place.paths()) if where is None else address_from_flag(where)
    async with Client(address) as node:
        genesis, own = await _genesis(place, node, questions.genesis)
        path, step = place.paths().datadir / believed.NAME, None
        if questions.anchor is not None:
            trust = await anchored(node, genesis, height=questions.anchor[0], digest=questions.anchor[1])
        elif own and not questions.afresh:
            trust, step = believed.recall(path, genesis)
        else:
            trust = from_genesis(genesis)
        follower = Follower(trust, Terms(questions.trusting_ms), clock=now_ms)
        end = await follower.catch_up(node)
        if own and questions.anchor is None and path.parent.is_dir():
            believed.remember(path, end, follower.step or step)
        told: dict[str, object] = {
            "chain": trust.chain.hex(),
            "genesis": "our own" if own else "on the node's word: give --genesis",
            "from": f"{trust.height}:{trust.digest.hex()}" if trust.height else "the genesis",
            "to": f"{end.height}:{end.digest.hex()}",
            "epochs": f"{trust.committees[0].epoch} to {trust.epoch_of(max(end.height, 1))}",
            "time_ms": end.time_ms,
        }
        return {**told, **await _answers(follower, node, questions)}


async def _genesis(place: Place, node: Client, file: Path | None) -> tuple[Genesis, bool]:
    """The genesis, and whether it is our own rather than the node's word."""
    from potminer.node.genesisfile import read_genesis

    path = place.paths().genesis if file is None else file
    if file is None and not path.is_file():
        return await node.genesis(), False
    return read_genesis(path), True


async def _answers(follower: Follower, node: Client, questions: _Questions) -> dict[str, object]:
    from potminer.node import verified
    from potminer.view.text import pot

    told: dict[str, object] = {}
    if questions.account is not None:
        found = await verified.account(follower, node, questions.account)
        told["account"] = f"{pot(found.balance)}, nonce {found.nonce}" if found.known else "proven to be unused"
        told["balance"], told["bond"] = found.balance, found.bond
        told["account_after"] = found.height
    if questions.task is not None:
        told |= _task_lines(await verified.task(follower, node, questions.task))
    if questions.task is not None and questions.round is not None:
        model = await follower.model(node, questions.task, questions.round)
        owed = await verified.owed(follower, node, questions.task, questions.round - 1)
        told["model"], told["round"] = model.hex(), f"{questions.round} closed"
        told["owed"] = "nothing" if owed is None else f"{pot(owed.grains)} to {owed.earners}"
    if questions.transaction is not None:
        told |= await _transaction(follower, node, questions.transaction)
    return told


def _task_lines(found: ProvenTask | None) -> dict[str, object]:
    if found is None:
        return {"task": "proven not to exist"}
    ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(found.outcomes.items()))
    phase = "no round open" if found.phase is None else f"{found.phase}, {found.open_units} units open"
    return {
        "task": f"{found.name}, {found.status}, {found.round} of {found.rounds} rounds",
        "model": found.model.hex(),
        "round": phase + (f"; {ended}" if ended else ""),
        "escrow": found.escrow,
        "task_after": found.height,
    }


async def _transaction(follower: Follower, node: Client, name: bytes) -> dict[str, object]:
    from potminer.base.errors import PotminerError
    from potminer.node.courier import proof_of
    from potminer.wire.control import Until

    view = await node.receipt(name.hex(), wait_ms=10_000, until=Until.DECIDED)
    if view.proven is None and view.height is not None:
        raise PotminerError(view.reason, "A node with node.keep_blocks = 0 keeps all.")
    if view.proven is None:
        raise PotminerError("the transaction is in no block yet", "Ask again in a few seconds.")
    fate = await follower.fate(node, proof_of(view), name)
    outcome = ("refused: " + fate.refusal if fate.refusal else "done") if fate.decided else "known after the next block"
    return {"transaction": f"in block {fate.height}, {outcome}", "block": fate.block.hex()}


async def _recheck(place: Place, path: Path, file: Path | None, *, as_json: bool) -> dict[str, object]:
    from potminer.core.ledger.apply import RULES
    from potminer.node.blame import database
    from potminer.node.genesisfile import read_genesis
    from potminer.node.recheck import recheck
    from potminer.world.store.copy import open_for_reading

    where = database(path)
    beside = where.parent / "genesis.json"
    genesis = read_genesis(file or (beside if beside.is_file() else place.paths().genesis))

    def tell(height: int, of: int) -> None:
        if not as_json and sys.stderr.isatty():
            click.echo(f"\r{height:,} of {of:,} blocks", nl=height == of, err=True)

    async with open_for_reading(where, rules=RULES) as opened:
        found = await recheck(opened, genesis, tell)
    return {
        "chain": found.chain.hex(),
        "to": f"{found.height}:{found.digest.hex()}",
        "state": found.state_root.hex(),
        "executed": found.transactions,
        **_let_go(found.first),
    }


def _let_go(first: int) -> dict[str, object]:
    """What was not judged because it is not there any more."""
    return {} if first == 1 else {"from": f"the snapshot after block {first - 1}: older blocks were let go"}


# ---- blame -------------------------------------------------------------------------------


@chain.command("blame")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER|DATABASE|EVIDENCE]...")
@click.option("--genesis", "file", type=click.Path(path_type=Path), help="Genesis file, if not the first folder's.")
@click.option("--export", type=click.Path(path_type=Path, dir_okay=False), help="Write what was read to this file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_obj
def blame_command(
    place: Place, *, sources: tuple[Path, ...], file: Path | None, export: Path | None, as_json: bool
) -> None:
    """Who broke agreement, from what nodes stored, running or not. Without arguments: from this node's own folder."""
    from potminer.base.errors import NotPermitted
    from potminer.node.blame import hear, joined, judge, oldest, seats_of
    from potminer.node.genesisfile import read_genesis
    from potminer.wire.codec import encode
    from potminer.wire.genesis import chain_id

    paths = sources or (place.paths().datadir,)
    beside = [path / "genesis.json" for path in paths if (path / "genesis.json").is_file()]
    genesis = read_genesis(file or next(iter(beside), place.paths().genesis))
    told = asyncio.run(hear(paths))
    found = judge(told, seats_of(told, genesis), chain=chain_id(genesis))
    if export is not None:
        try:
            export.write_bytes(encode(joined(told)))
        except OSError as error:
            raise NotPermitted(f"{export} cannot be written: {error.strerror or error}", "Check the folder.") from error
    _print_judgement(found, len(paths), asyncio.run(oldest(paths)), as_json=as_json)


def _print_judgement(found: Judgement, sources: int, first: int, *, as_json: bool) -> None:
    from potminer.base.address import encode_address
    from potminer.view.text import plural

    if as_json:
        forks = [{"height": f.height, "views": [f.first[0], f.second[0]],
                  "blocks": [f.first[1].hex(), f.second[1].hex()]} for f in found.forks]  # fmt: skip
        culprits = [{"member": encode_address(c.member), "seat": c.signer, "fault": c.fault.value,
                     "height": c.first.height, "views": sorted({c.first.view, (c.second or c.first).view})}
                    for c in found.culprits]  # fmt: skip
        print_json({"forks": forks, "culprits": culprits, "contradictory": found.contradictory,
                    "statements": found.statements, "sources": sources, "first": first})  # fmt: skip
        return
    say(f"read {plural(found.statements, 'statement')} of {plural(sources, 'source')}")
    if first > 1:
        say(f"blocks below {first:,} were let go by one of them: there it can contradict nobody")
    for fork in found.forks:
        blocks = " and ".join(digest.hex()[:16] for _, digest in (fork.first, fork.second))
        say(f"fork at height {fork.height:,}: {blocks} are both final")
    for culprit in found.culprits:
        say(f"{encode_address(culprit.member)}  {_WORDS[culprit.fault.value]}, height {culprit.first.height:,}")
    if not found.culprits and (found.forks or found.contradictory):
        say("agreement is broken, but what these sources keep convicts nobody: give more nodes' folders")
    elif not found.culprits:
        say("nobody contradicts anybody: no fork, and no member is convicted of anything")


_WORDS = {
    "double": "signed two values for one height and view",
    "hidden": "committed, then asked for a later view as if it had not",
    "unproven": "asked for a view with a certificate that does not hold",
}
