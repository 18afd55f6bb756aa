"""``potminer task submit|list|show|watch|cancel|fetch``: what a requester does at a running node."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from potminer.base.errors import UsageError
from potminer.cli.node import ask, find_task
from potminer.cli.output import WIDTH, print_json, print_table, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.node.requester import Requester
    from potminer.node.taskfile import TaskFile
    from potminer.wire.control import RoundView, TaskDetail
    from potminer.wire.seal import SigningKey
    from potminer.world.api.attach import Client

POLL_S = 1.0
T = TypeVar("T")

_socket = click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_genesis = click.option(
    "--genesis", type=click.Path(path_type=Path, dir_okay=False),
    help="The network's genesis file, on which every proof rests; without it the one in the data folder.",
)  # fmt: skip
_key = click.option(
    "--key", "key_file", type=click.Path(path_type=Path, dir_okay=False),
    help="File of a node key that signs and pays; without it and --wallet the node's own.",
)  # fmt: skip
_wallet = click.option(
    "--wallet", type=click.Path(path_type=Path, dir_okay=False), help="Wallet that signs and pays, with a passphrase."
)
_passphrase = click.option("--passphrase-fd", type=int, help="Read the passphrase from this file descriptor.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--yes", is_flag=True, help="Do not ask.")
@_key
@_wallet
@_passphrase
@_genesis
@_json
@_socket
@click.pass_obj
def submit(
    place: Place, *, file: Path, yes: bool, key_file: Path | None, wallet: Path | None, passphrase_fd: int | None,
    genesis: Path | None, as_json: bool, socket: str | None,
) -> None:
    """Order the task in FILE: upload its data, put its budget in escrow.

    What is not earned comes back when the task ends.
    """
    from potminer.node.taskfile import load_task_file, show_pot

    task = load_task_file(file)
    if not as_json:
        say_audits(task)
    if not yes and not as_json and sys.stdin.isatty():
        question = f"Put {show_pot(task.reward.budget)} in escrow for {task.rounds:,} rounds of {task.name}?"
        click.confirm(question, abort=True)
    key = _signer(place, key_file, wallet, passphrase_fd)
    ordered = _require(place, lambda who: who.order(task), socket=socket, genesis=genesis, key=key)
    if as_json:
        print_json(
            {
                "task": ordered.hex(), "name": task.name, "budget": task.reward.budget, "proven": True,
                "min_trainers": task.min_trainers,
            }
        )
        return
    say(f"task {ordered.hex()} is ordered: in a block, proven by its committee")
    needs = "1 trainer has" if task.min_trainers == 1 else f"{task.min_trainers} trainers have"
    say(f"it begins when {needs} joined; until then `potminer task show` says how many it needs")
    say(f"follow it with: potminer task watch {ordered.hex()[:12]}")


def say_audits(task: TaskFile) -> None:
    """What audits cost while trainers are new, where that is more than usual; with the usual parameters."""
    from potminer.node.newcomers import say_newcomers
    from potminer.wire.genesis import Parameters

    spec = task.to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))
    for at, line in enumerate(say_newcomers(spec, Parameters())):
        say(f"{'         ' if at else 'audits   '}{line}")


@click.command("list")
@click.option("--all", "every", is_flag=True, help="Ended tasks too.")
@_json
@_socket
@click.pass_obj
def list_tasks(place: Place, *, every: bool, as_json: bool, socket: str | None) -> None:
    """List the tasks that are open."""
    from potminer.view import text

    found = ask(place, lambda node: node.tasks(), socket=socket)
    tasks = [task for task in found if every or task.status == "open"]
    if as_json:
        print_json({"tasks": tasks})
        return
    if not tasks:
        say("no task is open" if not every else "the node knows no task")
        return
    head = ("task", "name", "status", "round", "loss", "accuracy", "trainers", "escrow")
    rows = [
        (
            text.short_id(t.task), text.clean(t.name, 20), text.clean(t.status, 10), f"{t.round:,}/{t.rounds:,}",
            text.loss(t.loss_micro), text.share(t.accuracy_ppm), f"{t.trainers:,}", text.pot(t.escrow),
        )
        for t in tasks
    ]  # fmt: skip
    print_table([head, *rows], right=frozenset({3, 4, 5, 6, 7}))


@click.command()
@click.argument("task")
@_json
@_socket
@click.pass_obj
def show(place: Place, *, task: str, as_json: bool, socket: str | None) -> None:
    """Show TASK (its name or the first digits of its id) and its newest rounds."""
    detail = _detail(place, task, socket)
    if as_json:
        print_json(detail)
        return
    for line in _about(detail):
        say(line)
    for view in reversed(detail.rounds):
        say(_line(view, detail))


@click.command()
@click.argument("task")
@click.option("--json", "as_json", is_flag=True, help="Each round as a line of JSON, and the whole task at its end.")
@_socket
@click.pass_obj
def watch(place: Place, *, task: str, as_json: bool, socket: str | None) -> None:
    """Follow TASK round by round until it ends, then draw its loss."""
    from msgspec.structs import asdict

    def tell(view: RoundView, detail: TaskDetail) -> None:
        if as_json:
            print_json({"task": detail.task.task, **asdict(view)})
        else:
            say(_line(view, detail))
        sys.stdout.flush()

    async def question(node: Client) -> TaskDetail:
        name = await find_task(node, task)
        said: set[int] = set()
        while True:
            detail = await node.task(name)
            for view in reversed(detail.rounds):
                if view.round not in said and (view.accuracy_ppm is not None or _is_old(view, detail)):
                    said.add(view.round)
                    tell(view, detail)
            if detail.task.status != "open":
                for view in reversed(detail.rounds):
                    if view.round not in said:
                        tell(view, detail)
                return detail
            await asyncio.sleep(POLL_S)

    detail = ask(place, question, socket=socket)
    if as_json:
        print_json(detail)
        return
    from potminer.view import plot

    losses = [view.loss_micro for view in reversed(detail.rounds) if view.loss_micro is not None]
    for line in plot.bars(losses, width=min(WIDTH, 60), height=5, ascii_only=not _draws()):
        say(line)
    for line in _about(detail):
        say(line)


@click.command()
@click.argument("task")
@_key
@_wallet
@_passphrase
@_genesis
@_socket
@click.pass_obj
def cancel(
    place: Place, *, task: str, key_file: Path | None, wallet: Path | None, passphrase_fd: int | None,
    genesis: Path | None, socket: str | None,
) -> None:
    """End TASK after its round in progress; what is left of the budget comes back."""
    name = bytes.fromhex(ask(place, lambda node: find_task(node, task), socket=socket))
    key = _signer(place, key_file, wallet, passphrase_fd)
    _require(place, lambda who: who.cancel(name), socket=socket, genesis=genesis, key=key)
    say(f"task {name.hex()[:12]} ends with the round in progress")


@click.command()
@click.argument("task")
@click.option("--round", "number", type=click.IntRange(0), help="After so many rounds; without it the newest.")
@click.option("--to", "folder", type=click.Path(path_type=Path, file_okay=False), help="Where to; without it ./NAME.")
@_genesis
@_json
@_socket
@click.pass_obj
def fetch(
    place: Place, *, task: str, number: int | None, folder: Path | None, genesis: Path | None, as_json: bool,
    socket: str | None,
) -> None:
    """Take the model of TASK home: model.safetensors and config.json, proven by the committee's certificate."""
    detail = _detail(place, task, socket)
    target = folder or Path(_folder_name(detail.task.name))
    name = bytes.fromhex(detail.task.task)
    taken = _require(place, lambda who: who.fetch(name, target, round=number), socket=socket, genesis=genesis)
    if as_json:
        print_json({"path": str(taken.path), "round": taken.round, "proven": True})
        return
    say(f"{taken.path} is the model after round {taken.round:,}")
    say("a quorum of the committee vouches for it")


COMMANDS = (submit, list_tasks, show, watch, cancel, fetch)


def _require(
    place: Place, work: Callable[[Requester], Awaitable[T]], *, socket: str | None, genesis: Path | None,
    key: SigningKey | None = None,
) -> T:
    """Do *work* as a requester at the node."""
    from potminer.node.genesisfile import read_genesis
    from potminer.node.requester import Requester

    known = read_genesis(genesis or place.paths().genesis)

    async def question(node: Client) -> T:
        return await work(Requester(node, known, key, tell=lambda what: click.echo(f"  {what}", err=True)))

    return ask(place, question, socket=socket)


def _signer(place: Place, key: Path | None, wallet: Path | None, passphrase_fd: int | None) -> SigningKey:
    from potminer.cli.wallet import open_key
    from potminer.world.keys import NODE_KEY, load_key

    if key is not None and wallet is not None:
        raise UsageError("both --key and --wallet were given", "One of them pays.")
    if wallet is not None:
        return open_key(wallet, passphrase_fd)
    return load_key(key or place.paths().keys / NODE_KEY)


def _detail(place: Place, task: str, socket: str | None) -> TaskDetail:
    async def question(node: Client) -> TaskDetail:
        return await node.task(await find_task(node, task))

    return ask(place, question, socket=socket)


def _about(detail: TaskDetail) -> list[str]:
    from potminer.view import text
    from potminer.view.reasons import why_ended

    task = detail.task
    return [
        f"task      {task.task}",
        f"name      {text.clean(task.name)}, ordered by {text.clean(task.requester)}",
        f"status    {text.clean(task.status)}, {text.clean(task.phase)}; round {task.round:,} of {task.rounds:,}",
        f"trainers  {task.trainers:,}; {text.pot(task.price_per_unit)} a unit, {text.pot(task.escrow)} left in escrow",
        f"model     {task.model or text.UNKNOWN}",
        f"loss      {text.loss(task.loss_micro)}, validation accuracy {text.share(task.accuracy_ppm)}",
        *(f"{'ended' if at == 0 else '':<9} {line}" for at, line in enumerate(why_ended(task.ended))),
    ]


def _line(view: RoundView, detail: TaskDetail) -> str:
    from potminer.view import text
    from potminer.view.select import refusals

    took = None if view.closed_ms is None else max(0, view.closed_ms - view.opened_ms)
    refused = refusals(view.units)
    return (
        f"round {view.round + 1:>5,}/{detail.task.rounds:,}  loss {text.loss(view.loss_micro):>7}"
        f"  accuracy {text.share(view.accuracy_ppm):>7}  {view.units.accepted:,} accepted"
        f"{f', {refused}' if refused else ''}  {text.seconds(took)}"
    )


def _is_old(view: RoundView, detail: TaskDetail) -> bool:
    """Whether a score that is still to come would have been there by now."""
    return view.round + 1 < detail.task.round


def _folder_name(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in name)[:64].strip(".")
    if not kept:
        raise UsageError("the task's name makes no folder", "Name one with --to.")
    return kept


def _draws() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
