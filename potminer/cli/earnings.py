"""``potminer earnings``: per day, per task, per unit; as lines, CSV or JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from potminer.base.errors import UsageError
from potminer.cli.node import ask
from potminer.cli.output import WIDTH, print_json_with, print_view, say
from potminer.cli.place import Place

if TYPE_CHECKING:
    from potminer.wire.answers import EarningsDetail
    from potminer.wire.proven import ProvenView
    from potminer.world.api.attach import Client

_MOST_UNITS = 200


@click.command()
@click.option("--csv", "as_csv", is_flag=True, help="As CSV: grains, milliwatt-hours, millionths of a coin.")
@click.option(
    "--by", type=click.Choice(["day", "task", "gpu", "unit"]), default="day", help="What a line of the CSV is about."
)
@click.option("--units", type=click.IntRange(0, 200), default=0, help="Show this rig's newest N units too.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--socket", help="The node's api.sock, instead of the one of --datadir.")
@click.pass_obj
def earnings(place: Place, *, as_csv: bool, by: str, units: int, as_json: bool, socket: str | None) -> int:
    """Show what this rig earned and what the energy cost.

    What its key holds and what tasks owe it is proven by the committee; ends with 8 where the daemon says otherwise.
    Days are those of UTC. Pending is earned and inside the dispute window; what no market prices
    is unpriced, and what nobody measured is a dash.
    """
    from potminer.cli.trusted import Examiner, ending
    from potminer.view.proven import backing_line

    if as_csv and as_json:
        raise UsageError("both --csv and --json were given", "Choose one.")

    async def question(node: Client) -> tuple[EarningsDetail, ProvenView]:
        detail = await node.earnings(units=_MOST_UNITS if as_csv and by == "unit" else units)
        return detail, await Examiner(place).examine(node, None, detail)

    detail, view = ask(place, question, socket=socket)
    if as_json:
        print_json_with(detail, proven=view)
    elif as_csv:
        print_csv(detail, by)
        if ending(view):
            click.echo(backing_line(view), err=True)
    else:
        print_earnings(detail, view)
    return ending(view)


def print_csv(detail: EarningsDetail, by: str) -> None:
    """Whole numbers, empty where unknown; days oldest first, units (the newest 200) newest first."""
    import csv

    heads, rows = {"day": _days, "task": _tasks, "gpu": _devices, "unit": _units}[by](detail)
    written = csv.writer(sys.stdout, lineterminator="\n")
    written.writerow(heads)
    for row in rows:
        written.writerow("" if cell is None else cell for cell in row)


_Cells = tuple[tuple[str, ...], list[tuple[object, ...]]]


def _days(detail: EarningsDetail) -> _Cells:
    from potminer.view.earnings import cost_micro, worth_micro
    from potminer.view.text import clean, date

    currency = clean(detail.kwh_currency or detail.earnings.currency or "", 8)
    return ("day", "earned_grains", "worth_micro", "energy_mwh", "cost_micro", "currency"), [
        (
            date(day.day_ms),
            day.earned,
            worth_micro(detail, day.earned),
            day.energy_mwh,
            cost_micro(detail, day.energy_mwh),
            currency,
        )
        for day in detail.days
    ]


def _tasks(detail: EarningsDetail) -> _Cells:
    from potminer.view.text import clean

    heads = ("task", "name", "status", "accepted", "refused", "pending_grains", "paid_grains", "escrow_grains")
    return (*heads, "bond_grains"), [
        (
            task.task, clean(task.name, 200), clean(task.status, 40), task.accepted, task.refused, task.pending,
            task.paid - task.kept, task.escrow, task.kept,
        )
        for task in detail.tasks
    ]  # fmt: skip


def _devices(detail: EarningsDetail) -> _Cells:
    from potminer.view.text import clean

    return ("gpu", "accepted", "refused", "earned_grains"), [
        (clean(each.bus, 40), each.accepted, each.refused, each.earned) for each in detail.devices
    ]


def _units(detail: EarningsDetail) -> _Cells:
    from potminer.view.text import clean

    return ("task", "round", "attempt", "slot", "outcome", "reason", "gpu", "earned_grains", "height"), [
        (
            unit.task, unit.round, unit.attempt, unit.slot, unit.outcome.value, clean(unit.reason, 80),
            clean(unit.device, 40), unit.paid, unit.height,
        )
        for unit in detail.units
    ]  # fmt: skip


def print_earnings(detail: EarningsDetail, view: ProvenView) -> None:
    from potminer.cli.status import print_backing
    from potminer.view.earnings import day_table, device_table, earnings_facts, energy_facts, task_table
    from potminer.view.proven import BOOKS, backing_alerts, owed_by_round, owed_by_task
    from potminer.view.text import shorten
    from potminer.view.training import unit_table

    for alert in backing_alerts(view, view.taken_ms):
        say(shorten(f"{alert.sign} {alert.text}", WIDTH))
    for fact in (*earnings_facts(detail.earnings), *energy_facts(detail)):
        say(f"{fact.label:<8}  {fact.value}")
    print_backing(view)
    tables = [(f"days: {BOOKS}", day_table(detail))]
    tables.append((f"tasks: {BOOKS}, beside what they are proven to owe", task_table(detail, owed_by_task(view))))
    if len(detail.devices) > 1:
        tables.append((f"devices: {BOOKS}", device_table(detail)))
    if detail.units:
        units = unit_table(detail.units, owed_by_round(view))
        tables.append((f"units: {BOOKS}, beside what their rounds are proven to owe", units))
    for title, table in tables:
        say("")
        say(title)
        print_view(table)
