"""``potminer status``: the overview as lines, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from potminer.cli.clock import now_ms
from potminer.cli.node import ask
from potminer.cli.output import WIDTH, print_json, print_table, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.view.select import Fact
    from potminer.wire.control import Snapshot
    from potminer.world.api.attach import Client


@click.command()
@click.option("--json", "as_json", is_flag=True, help="The whole photograph as JSON; with --watch one per line.")
@click.option("--watch", is_flag=True, help="Again whenever something changes.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def status(place: Place, *, as_json: bool, watch: bool, socket: str | None) -> None:
    """Show what this rig does, earns and waits for."""

    def show(snapshot: Snapshot) -> None:
        if as_json:
            print_json(snapshot)
        else:
            print_snapshot(snapshot, now_ms())

    async def follow(node: Client) -> None:
        if not watch:
            show(await node.snapshot())
            return
        async for snapshot in node.watch():
            if not as_json and sys.stdout.isatty():
                click.clear()
            show(snapshot)
            sys.stdout.flush()

    ask(place, follow, socket=socket)


def print_snapshot(snapshot: Snapshot, now: int) -> None:
    from potminer.view.overview import overview
    from potminer.view.text import shorten

    seen = overview(snapshot, now)
    rows = [(f"{d.label} {d.name}".rstrip(), d.state, d.rate, d.power, d.temperature, d.why) for d in seen.devices]
    say(shorten(f"potminer  {seen.place}" + (f"  {seen.age}" if seen.stale else ""), WIDTH))
    say(shorten(seen.sentence, WIDTH))
    if seen.devices:
        say("")
        print_table([("device", "state", "rate", "W", "°C", "why"), *rows], right=frozenset({2, 3, 4}))
    for title, facts in (("earnings", seen.earnings), ("training", seen.training), ("chain", seen.chain)):
        say("")
        _print_facts(title, facts)
    for alert in seen.alerts:
        say(shorten(f"{alert.sign} {alert.text} ({alert.age})", WIDTH))


def _print_facts(title: str, facts: Sequence[Fact]) -> None:
    """``earnings  today 1.23 POT · pending ...`` wrapped under the title."""
    start = title.ljust(10)
    line = start + ("no task" if not facts else "")
    for fact in facts:
        part = f"{fact.label} {fact.value}"
        if line != start and len(line) + 3 + len(part) > WIDTH and line.strip() != title:
            say(line)
            line = " " * 10 + part
        else:
            line = line + part if line.strip() in (title, "") else f"{line} · {part}"
    say(line)
