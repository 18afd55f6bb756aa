"""Tables: rows of strings, which columns fit, and what a filter leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from potminer.view.select import Tone

FLEX = 0
"""Width of the column that takes what the others leave."""


class Look(StrEnum):
    PLAIN = "plain"
    BOLD = "bold"
    QUIET = "quiet"
    TONE = "tone"
    """In the colour of its row."""
    LOUD = "loud"
    """In the colour of its row where that wants attention, otherwise quiet."""


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    width: int
    right: bool = False
    look: Look = Look.PLAIN
    wide: bool = False
    least: int = 18
    """Of a flexible column: where less is left, no wide column comes on its own."""


@dataclass(frozen=True, slots=True)
class Row:
    """*key* names what the row is about, for a face that lets people choose one; *note* is what the cells
    have no room for."""

    cells: tuple[str, ...]
    tone: Tone = Tone.PLAIN
    key: str = ""
    note: str = ""

    @property
    def loud(self) -> bool:
        return self.tone in (Tone.WARNING, Tone.FAULT)


@dataclass(frozen=True, slots=True)
class Table:
    """*empty* is said where there is no row."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    empty: tuple[str, ...] = ("Nothing here yet.",)


def sift(table: Table, needle: str, *, faults_only: bool) -> Table:
    """The rows that hold *needle* in any cell; with *faults_only* those that want attention."""
    if not needle and not faults_only:
        return table
    wanted = needle.casefold()
    rows = tuple(row for row in table.rows if (row.loud or not faults_only) and _holds(row, wanted))
    if rows or not table.rows:
        return replace(table, rows=rows)
    what = "that wants attention" if faults_only else "with"
    said = f"No row {what}" + (f" {needle!r}" if needle else "") + f" among {len(table.rows):,}."
    return replace(table, rows=(), empty=(said,))


def _holds(row: Row, wanted: str) -> bool:
    return not wanted or any(wanted in cell.casefold() for cell in (*row.cells, row.note))


def fit(columns: tuple[Column, ...], width: int, *, wide: bool) -> list[tuple[int, int]]:
    """(index, width) of the columns to draw in *width* cells, one cell between them."""
    chosen = [at for at, column in enumerate(columns) if wide or not column.wide]
    least = max((column.least for column in columns if column.width == FLEX), default=0)
    if not wide:
        for at, column in enumerate(columns):
            if column.wide and _needed(columns, [*chosen, at]) + least <= width:
                chosen.append(at)
        chosen.sort()
    while len(chosen) > 1 and _needed(columns, chosen) > width:
        flexible = [at for at in chosen if columns[at].width == FLEX]
        chosen.remove(flexible[-1] if flexible else chosen[-1])
    left = max(0, width - _needed(columns, chosen))
    return [(at, columns[at].width or left) for at in chosen if columns[at].width or left > 2]


def _needed(columns: tuple[Column, ...], chosen: list[int]) -> int:
    return sum(columns[at].width for at in chosen) + max(0, len(chosen) - 1)
