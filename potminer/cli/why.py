"""``potminer why``: how a unit of work ended, with its numbers and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from potminer.base.errors import UsageError
from potminer.cli.node import ask, find_task
from potminer.cli.output import print_json, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.control import UnitOutcome
    from potminer.world.api.attach import Client


@click.command()
@click.argument("unit", required=False)
@click.option("--last", type=click.IntRange(1, 200), is_flag=False, flag_value=1, help="This rig's newest N units (1).")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def why(place: Place, *, unit: str | None, last: int | None, as_json: bool, socket: str | None) -> None:
    """Explain how a unit of work ended.

    UNIT is TASK/ROUND/SLOT, where TASK is a task's name or the first digits of its id and
    rounds count from 1, as everywhere that people read them.
    Without UNIT: this rig's newest unit.
    """
    if unit is not None and last is not None:
        raise UsageError("both a unit and --last were given", "Name one unit, or ask for the newest.")

    async def question(node: Client) -> tuple[UnitOutcome, ...]:
        if unit is None:
            return await node.units(last=last or 1)
        task, round_number, slot = _parse(unit)
        return (await node.unit(await find_task(node, task), round=round_number, slot=slot),)

    units = ask(place, question, socket=socket)
    if as_json:
        print_json({"units": units})
        return
    from potminer.view.reasons import explain

    if not units:
        say("this rig has not worked on a unit yet")
    for at, outcome in enumerate(units):
        if at:
            say("")
        for line in explain(outcome):
            say(line)


def _parse(unit: str) -> tuple[str, int, int]:
    task, *numbers = unit.split("/")
    if not task or len(numbers) != 2 or not all(n.isascii() and n.isdecimal() and len(n) < 10 for n in numbers):
        raise UsageError(f"{unit[:100]!r} does not name a unit", "Write TASK/ROUND/SLOT, for example digits/3/1.")
    if int(numbers[0]) < 1:
        raise UsageError("rounds count from 1", "Write TASK/ROUND/SLOT, for example digits/1/0.")
    return task, int(numbers[0]) - 1, int(numbers[1])
