"""A task round by round, and how this rig's own units ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from potminer.view import text
from potminer.view.reasons import EXPLAINED
from potminer.view.select import Tone, refusals, refused
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.control import Outcome, RoundView, TaskDetail, UnitOutcome

_PHASES = (("commit",), ("reveal",), ("draw", "audit", "open", "dispute"), ("aggregate",))
"""Phases of the ledger, as few columns: to be judged is one wait for whoever waits."""
_ROUNDS = (
    Column("round", 5, right=True, look=Look.BOLD),
    Column("loss", 7, right=True),
    Column("accuracy", 8, right=True, wide=True),
    Column("ok", 3, right=True),
    Column("refused", 7, right=True, look=Look.TONE),
    Column("why refused", FLEX, look=Look.TONE),
    Column("took", 6, right=True),
    *(Column(title, 6, right=True, look=Look.QUIET) for title in ("commit", "reveal", "audit", "aggr.")),
    Column("model", 8, look=Look.QUIET, wide=True),
)
_NO_ROUNDS = ("No round has closed yet.",)
_UNITS = (
    Column("task", 12, look=Look.QUIET),
    Column("round", 5, right=True, look=Look.BOLD),
    Column("unit", 4, right=True),
    Column("outcome", 11, look=Look.TONE),
    Column("reason", FLEX, look=Look.TONE),
    Column("off/allowed", 15, right=True, wide=True),
    Column("paid", 12, right=True),
    Column("block", 9, right=True, look=Look.QUIET, wide=True),
)
_ROUND_OWES = Column("round owes", 11, right=True)
_NO_UNITS = ("This rig has not worked on a unit yet.",)
_OUTCOMES = {
    Outcome.PENDING: ("◌ pending", Tone.PLAIN),
    Outcome.ACCEPTED: ("● accepted", Tone.GOOD),
    Outcome.REJECTED: ("▲ refused", Tone.WARNING),
}


def round_table(detail: TaskDetail) -> Table:
    return Table(_ROUNDS, tuple(_round(each) for each in detail.rounds), _NO_ROUNDS)


def no_rounds(why: str) -> Table:
    return Table(_ROUNDS, (), (why,))


def _round(each: RoundView) -> Row:
    lost = refused(each.units)
    took = None if each.closed_ms is None else max(0, each.closed_ms - each.opened_ms)
    again = f".{each.attempt}" if each.attempt else ""
    return Row(
        (
            f"{each.round + 1:,}{again}",
            text.loss(each.loss_micro),
            text.percent(each.accuracy_ppm),
            text.count(each.units.accepted),
            text.count(lost),
            refusals(each.units),
            text.seconds(took),
            *(_spent(each, phases) for phases in _PHASES),
            text.UNKNOWN if each.model is None else text.short_id(each.model),
        ),
        Tone.WARNING if lost else Tone.PLAIN,
        f"{each.round}.{each.attempt}",
    )


def _spent(each: RoundView, phases: tuple[str, ...]) -> str:
    """Block time in *phases* together."""
    known = [each.phases_ms[phase] for phase in phases if phase in each.phases_ms]
    return text.seconds(sum(known)) if known else text.UNKNOWN


def unit_table(units: Sequence[UnitOutcome], owed: Mapping[tuple[str, int], int] | None = None) -> Table:
    """*owed*: what each task and round is proven to owe this rig for all it did there; None where nothing is proven."""
    rows = tuple(_unit(unit) for unit in units)
    if owed is None:
        return Table(_UNITS, rows, _NO_UNITS)
    at = 1 + next(n for n, each in enumerate(_UNITS) if each.title == "paid")
    cells = (owed.get((unit.task, unit.round)) for unit in units)
    shown = tuple(text.UNKNOWN if grains is None else text.pot(grains) for grains in cells)
    backed = (
        replace(row, cells=(*row.cells[:at], cell, *row.cells[at:])) for row, cell in zip(rows, shown, strict=True)
    )
    return Table((*_UNITS[:at], _ROUND_OWES, *_UNITS[at:]), tuple(backed), _NO_UNITS)


def _unit(unit: UnitOutcome) -> Row:
    shown, tone = _OUTCOMES[unit.outcome]
    reason = EXPLAINED.get(unit.reason, (text.clean(unit.reason, 60), ""))[0] if unit.reason else ""
    return Row(
        (
            text.clean(unit.task_name, 40) or text.UNKNOWN,
            f"{unit.round + 1:,}",
            str(unit.slot),
            shown,
            reason,
            _measure(unit),
            text.pot(unit.paid) if unit.outcome is Outcome.ACCEPTED else text.UNKNOWN,
            text.count(unit.height),
        ),
        tone,
        f"{unit.task}/{unit.round}/{unit.slot}",
    )


def _measure(unit: UnitOutcome) -> str:
    """``44,000/10 ppm``"""
    if unit.measured_ppm is None:
        return text.UNKNOWN
    return f"{unit.measured_ppm:,}/{text.parts_per_million(unit.allowed_ppm)}"
