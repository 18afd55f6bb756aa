"""Money as a rig owner reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from potminer.base.bounded import GRAINS_PER_POT
from potminer.view import text
from potminer.view.select import Fact, Tone
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.answers import DayEarnings, EarningsDetail, TaskEarnings
from potminer.wire.control import EarningsView

_DAYS = (
    Column("day (UTC)", 10, look=Look.BOLD),
    Column("earned", 12, right=True, look=Look.TONE),
    Column("worth", 11, right=True),
    Column("energy", 9, right=True),
    Column("cost", 10, right=True),
    Column("net", 10, right=True),
    Column("", FLEX),
)
_TASKS = (
    Column("task", FLEX, look=Look.BOLD),
    Column("id", 8, look=Look.QUIET, wide=True),
    Column("status", 9, look=Look.TONE),
    Column("ok", 5, right=True),
    Column("refused", 7, right=True),
    Column("pending", 11, right=True),
    Column("as bond", 11, right=True),
    Column("paid", 12, right=True),
    Column("in escrow", 12, right=True, look=Look.QUIET, wide=True),
)
_OWED = Column("proven", 11, right=True)
"""What of "pending" is proven to be owed, beside it."""
_DEVICES = (
    Column("device", FLEX, look=Look.BOLD),
    Column("ok", 7, right=True),
    Column("refused", 7, right=True),
    Column("from units", 14, right=True, look=Look.TONE),
)
_MWH_PER_KWH = 1_000_000
DAY_MS = 24 * 3_600_000


def earnings_facts(earnings: EarningsView) -> tuple[Fact, ...]:
    unpriced = earnings.currency is None or earnings.price_micro is None
    value = text.worth(earnings.total, currency=earnings.currency, price_micro=earnings.price_micro)
    least, most, unknown = "", "", tuple[Fact, ...]()
    if earnings.leapt_blocks:
        gap = f"{earnings.leapt_blocks:,} blocks leapt over, up to {earnings.leapt_last:,}"
        least, most, unknown = "at least ", "at most ", (Fact("unknown", gap, Tone.WARNING),)
    kept = (Fact("as bond", f"{most}{text.pot(earnings.kept)}"),) if earnings.kept else ()
    shows = f"{text.pot(earnings.held)} until this rig has shown its work of {earnings.held_for}: it does so by itself"
    held = (Fact("held", shows, Tone.WARNING),) if earnings.held else ()
    return (
        Fact("today", text.pot(earnings.today), Tone.GOOD if earnings.today else Tone.PLAIN),
        Fact("pending", text.pot(earnings.pending)),
        *kept,
        *held,
        Fact("paid", f"{least}{text.pot(earnings.paid)}"),
        Fact("total", f"{least}{text.pot(earnings.total)}"),
        Fact("worth", value, Tone.QUIET if unpriced else Tone.PLAIN),
        *unknown,
    )


def energy_facts(detail: EarningsDetail) -> tuple[Fact, ...]:
    """Energy, cost and net of the days whose energy was measured; what nobody measured or priced is a dash."""
    known = [day for day in detail.days if day.energy_mwh is not None]
    energy = sum(day.energy_mwh or 0 for day in known) if known else None
    spent, gained = cost_micro(detail, energy), worth_micro(detail, sum(day.earned for day in known))
    net = None if spent is None or gained is None else gained - spent
    per_kwh = "unpriced" if detail.kwh_price_micro is None else text.price(detail.kwh_price_micro, detail.kwh_currency)
    return (
        Fact("energy", text.energy(energy)),
        Fact("per kWh", per_kwh, Tone.QUIET if detail.kwh_price_micro is None else Tone.PLAIN),
        Fact("cost", text.price(spent, detail.kwh_currency)),
        Fact("net", text.price(net, detail.kwh_currency), Tone.WARNING if net is not None and net < 0 else Tone.PLAIN),
    )


def cost_micro(detail: EarningsDetail, energy_mwh: int | None) -> int | None:
    """What *energy_mwh* cost in millionths of the currency."""
    if energy_mwh is None or detail.kwh_price_micro is None or detail.kwh_currency is None:
        return None
    return energy_mwh * detail.kwh_price_micro // _MWH_PER_KWH


def worth_micro(detail: EarningsDetail, grains: int) -> int | None:
    price = detail.earnings.price_micro
    return None if price is None or detail.earnings.currency is None else grains * price // GRAINS_PER_POT


def day_table(detail: EarningsDetail) -> Table:
    """Newest day first."""
    rows = tuple(_day(detail, day) for day in reversed(detail.days))
    return Table(_DAYS, rows, ("Nothing earned yet. The first paid unit starts this list.",))


def _day(detail: EarningsDetail, day: DayEarnings) -> Row:
    cost, worth = cost_micro(detail, day.energy_mwh), worth_micro(detail, day.earned)
    net = None if cost is None or worth is None else worth - cost
    money = detail.earnings
    return Row(
        (
            text.date(day.day_ms),
            text.pot(day.earned),
            text.worth(day.earned, currency=money.currency, price_micro=money.price_micro),
            text.energy(day.energy_mwh),
            text.price(cost, detail.kwh_currency),
            text.price(net, detail.kwh_currency),
            "",
        ),
        Tone.GOOD if day.earned else Tone.QUIET,
        str(day.day_ms),
    )


def task_table(detail: EarningsDetail, owed: Mapping[str, int] | None = None) -> Table:
    """*owed*: what of "pending" is proven, by task; None where nothing is: then no column speaks of it."""
    rows = tuple(_task(task) for task in detail.tasks)
    columns: tuple[Column, ...] = _TASKS
    at = 1 + next(n for n, each in enumerate(_TASKS) if each.title == "pending")
    if owed is not None:
        columns = (*_TASKS[:at], _OWED, *_TASKS[at:])
        rows = tuple(
            replace(row, cells=(*row.cells[:at], text.pot(owed.get(task.task, 0)), *row.cells[at:]))
            for row, task in zip(rows, detail.tasks, strict=True)
        )
    return Table(columns, rows, ("This rig has seen no task yet.",))


def _task(task: TaskEarnings) -> Row:
    status = text.clean(task.status, 16)
    return Row(
        (
            text.clean(task.name, 40) or text.UNKNOWN,
            text.short_id(task.task),
            status,
            text.count(task.accepted),
            text.count(task.refused),
            text.pot(task.pending),
            text.pot(task.kept),
            text.pot(task.paid - task.kept),
            text.pot(task.escrow),
        ),
        Tone.GOOD if status == "open" else Tone.PLAIN,
        task.task,
    )


def device_table(detail: EarningsDetail) -> Table:
    """What units brought by the device that computed them; audits and evaluations pay the rig."""
    rows = tuple(
        Row(
            (
                text.clean(each.bus, 40) or "unknown",
                text.count(each.accepted),
                text.count(each.refused),
                text.pot(each.earned),
            ),
            Tone.GOOD if each.earned else Tone.QUIET,
            each.bus,
        )
        for each in detail.devices
    )
    return Table(_DEVICES, rows, ("No unit of this rig has ended yet.",))


def day_bars(days: Sequence[DayEarnings], newest_ms: int, count: int) -> tuple[int, ...]:
    """Grains earned on each of the last *count* days up to the one of *newest_ms*: days without work are 0."""
    earned = {day.day_ms: day.earned for day in days}
    today = newest_ms - newest_ms % DAY_MS
    return tuple(earned.get(today - back * DAY_MS, 0) for back in range(count - 1, -1, -1))
