"""``potminer status``: the overview as lines, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import click

from potminer.cli.clock import now_ms
from potminer.cli.node import ask
from potminer.cli.output import WIDTH, print_json_with, print_table, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.cli.trusted import Examiner
    from potminer.view.select import Fact
    from potminer.wire.control import Snapshot
    from potminer.wire.proven import ProvenView
    from potminer.world.api.attach import Client


_EVERY_MS = 15_000
"""Between two proofs while a person watches."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The whole photograph as JSON; with --watch one per line.")
@click.option("--watch", is_flag=True, help="Again whenever something changes.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def status(place: Place, *, as_json: bool, watch: bool, socket: str | None) -> int:
    """Show what this rig does, earns and waits for, and what of it is proven.

    Ends with 8 where the daemon says something else than the committee has signed.
    """
    from potminer.cli.trusted import Examiner, ending

    def show(snapshot: Snapshot, view: ProvenView | None) -> None:
        if as_json:
            print_json_with(snapshot, proven=view)
        else:
            print_snapshot(snapshot, now_ms(), view)

    async def follow(node: Client) -> ProvenView | None:
        examiner = Examiner(place)
        if not watch:
            snapshot = await node.snapshot()
            view = await examiner.examine(node, snapshot)
            show(snapshot, view)
            return view
        async with watching(examiner, node) as newest:
            async for snapshot in node.watch():
                if not as_json and sys.stdout.isatty():
                    click.clear()
                show(snapshot, newest(snapshot))
                sys.stdout.flush()
        return None

    return ending(ask(place, follow, socket=socket))


@asynccontextmanager
async def watching(
    examiner: Examiner, node: Client
) -> AsyncIterator[Callable[[Snapshot], ProvenView | None]]:
    """A question that takes a photograph and answers with what was proven last; beside it, now and then, the newest
    photograph is examined."""
    import asyncio

    known: list[ProvenView] = []
    looking: asyncio.Task[ProvenView] | None = None

    def newest(snapshot: Snapshot) -> ProvenView | None:
        nonlocal looking
        if looking is not None and looking.done():
            known[:] = [looking.result()]
            looking = None
        if looking is None and (not known or now_ms() - known[0].taken_ms > _EVERY_MS):
            looking = asyncio.create_task(examiner.examine(node, snapshot))
        return known[0] if known else None

    try:
        yield newest
    finally:
        if looking is not None:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


def print_snapshot(snapshot: Snapshot, now: int, view: ProvenView | None = None) -> None:
    from potminer.view.overview import overview
    from potminer.view.proven import backing_alerts
    from potminer.view.text import shorten

    seen = overview(snapshot, now)
    rows = [(f"{d.label} {d.name}".rstrip(), d.state, d.rate, d.power, d.temperature, d.why) for d in seen.devices]
    say(shorten(f"potminer  {seen.place}" + (f"  {seen.age}" if seen.stale else ""), WIDTH))
    for alert in backing_alerts(view, now):
        say(shorten(f"{alert.sign} {alert.text} ({alert.age})", WIDTH))
    say(shorten(seen.sentence, WIDTH))
    if seen.devices:
        say("")
        print_table([("device", "state", "rate", "W", "°C", "why"), *rows], right=frozenset({2, 3, 4}))
    for title, facts in (("earnings", seen.earnings), ("training", seen.training), ("chain", seen.chain)):
        say("")
        _print_facts(title, facts)
        if title == "earnings" and view is not None:
            print_backing(view)
    for alert in seen.alerts:
        say(shorten(f"{alert.sign} {alert.text} ({alert.age})", WIDTH))


def print_backing(view: ProvenView) -> None:
    """Who vouches for the money above, and for which."""
    from textwrap import wrap

    from potminer.view.proven import backing_line, money_facts

    say("")
    for line in wrap(backing_line(view), WIDTH):
        say(line)
    _print_facts("proven", money_facts(view))


def _print_facts(title: str, facts: Sequence[Fact]) -> None:
    """``earnings  today 1.23 POT · pending ...`` wrapped under the title."""
    start = title.ljust(10)
    line = start + ({"proven": "nothing"}.get(title, "no task") if not facts else "")
    for fact in facts:
        part = f"{fact.label} {fact.value}"
        if line != start and len(line) + 3 + len(part) > WIDTH and line.strip() != title:
            say(line)
            line = " " * 10 + part
        else:
            line = line + part if line.strip() in (title, "") else f"{line} · {part}"
    say(line)
