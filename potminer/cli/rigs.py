"""``potminer rigs``: all rigs of one owner as lines, or as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from potminer.base.errors import Exit, PotminerError
from potminer.cli.clock import now_ms
from potminer.cli.dashboard import berths
from potminer.cli.output import print_json, print_view, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.dashboard.source import Berth
    from potminer.view.rigs import RigSeen

_PATIENCE_S = 5.0


@click.command()
@click.option("--connect", multiple=True, metavar="WHERE", help="One more rig, as `potminer dashboard --help` says it.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: the whole photograph of each.")
@click.pass_obj
def rigs(place: Place, *, connect: Sequence[str], as_json: bool) -> None:
    """Show all rigs: this one, those of dashboard.rigs, those named here.

    Ends with 4 where none of them answers.
    """
    seen = asyncio.run(_look_at(berths(place, None, connect)))
    if as_json:
        print_json({"rigs": [{"name": r.name, "snapshot": r.photograph, "trouble": r.trouble} for r in seen]})
    else:
        print_rigs(seen, now_ms())
    if all(rig.photograph is None for rig in seen):
        raise click.exceptions.Exit(Exit.UNREACHABLE)


async def _look_at(found: Sequence[Berth]) -> list[RigSeen]:
    """All at once: one that hangs keeps nobody waiting for longer than its own time."""
    return list(await asyncio.gather(*(_ask(berth) for berth in found)))


async def _ask(berth: Berth) -> RigSeen:
    from potminer.view.rigs import RigSeen
    from potminer.view.text import clean

    try:
        async with asyncio.timeout(_PATIENCE_S):
            return RigSeen(berth.name, await berth.source.snapshot())
    except TimeoutError:
        return RigSeen(berth.name, None, f"no answer for {_PATIENCE_S:.0f} s")
    except PotminerError as error:
        return RigSeen(berth.name, None, clean(error.what))


def print_rigs(seen: Sequence[RigSeen], now: int) -> None:
    from potminer.view.rigs import rig_table, totals
    from potminer.view.text import clean, shorten

    print_view(rig_table(seen, now))
    say("")
    say("  ".join(f"{fact.label} {fact.value}" for fact in totals(seen, now)[:5]))
    say("  ".join(f"{fact.label} {fact.value}" for fact in totals(seen, now)[5:]))
    for rig in seen:
        if rig.trouble:
            say(shorten(f"{clean(rig.name, 40)}: {rig.trouble}", 80))
