"""A table in a box: as many columns as fit, scrolled by keys and wheel, filtered, with a row to choose if wanted."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from potminer.dashboard.widgets.drawing import EMPTY, STYLE, Line, Pen, spaced
from potminer.dashboard.widgets.panel import Panel
from potminer.view.table import Look, Row, Table, fit, sift

_STYLES = {Look.PLAIN: "", Look.BOLD: "bold", Look.QUIET: "$quiet", Look.LOUD: "$quiet"}
_WHEEL = 3


class Grid(Panel, can_focus=True):
    """*choose*: one row is marked, its note stands below, and Enter posts ``Chosen``.
    *tail*: it stays at the end until scrolled up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "step(-1)", "Up", show=False),
        Binding("down,j", "step(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown,space", "page(1)", "Page down", show=False),
        Binding("home,g", "step(-1000000)", "Top", show=False),
        Binding("end,G", "step(1000000)", "End", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    class Chosen(Message):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self, pen: Pen, *, id: str, title: str, choose: bool = False, tail: bool = False) -> None:
        super().__init__(pen, id=id, title=title)
        self.heading = title
        self._table = Table((), ())
        self._choose = choose
        self._tail = tail
        self._at = 0
        self._top = 0
        self._follows = tail
        self._wide = False

    def show(self, table: Table, *, needle: str = "", wide: bool = False, faults_only: bool = False) -> None:
        shown = sift(table, needle, faults_only=faults_only)
        self._table, self._wide = shown, wide
        self._at = max(0, min(self._at, len(shown.rows) - 1))
        some, every = len(shown.rows), len(table.rows)
        number = f"{every:,}" if some == every else f"{some:,} of {every:,}"
        said = [number, "faults only" if faults_only else "", f"/{needle}" if needle else ""]
        self.entitle(below=" · ".join(part for part in said if part) if table.rows else "")
        self._moved()

    def _moved(self) -> None:
        shown = (self._table, self._wide, self._at, self._top, self._follows)
        self.changed(shown, rows=max(1, len(self._table.rows)))

    # ---- keys ------------------------------------------------------------------------------

    def action_step(self, rows: int) -> None:
        if self._choose:
            self._at = max(0, min(self._at + rows, len(self._table.rows) - 1))
        else:
            self._top = max(0, min(self._top + rows, self._most))
            self._follows = self._tail and self._top == self._most
        self._moved()

    def action_page(self, pages: int) -> None:
        self.action_step(pages * self._room)

    def action_choose(self) -> None:
        if self._choose and self._table.rows:
            self.post_message(self.Chosen(self._table.rows[self._at].key))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.action_step(_WHEEL)
        event.stop()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_step(-_WHEEL)
        event.stop()

    @property
    def _room(self) -> int:
        """Rows that can be seen under the heads and above the note."""
        return max(1, self.content_size.height - (2 if self._foot else 1))

    @property
    def _foot(self) -> bool:
        return self._choose and self.content_size.height > 3

    @property
    def _most(self) -> int:
        """The top row with which the last one can be seen."""
        return max(0, len(self._table.rows) - self._room)

    # ---- drawing ---------------------------------------------------------------------------

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return max(len(self._table.empty), len(self._table.rows) + (2 if self._choose else 1))

    def lines(self, width: int, height: int) -> list[Line]:
        table = self._table
        if not table.rows:
            return [self.pen.write(line, width, style="$quiet") for line in table.empty[: max(1, height)]]
        room, most = self._room, self._most
        self._top = most if self._follows else min(self._top, most)
        if self._choose:
            self._top = max(self._at - room + 1, min(self._top, self._at))
        columns = fit(table.columns, width, wide=self._wide)
        heads = [
            self.pen.write(table.columns[at].title, cells, right=table.columns[at].right, style="$quiet")
            for at, cells in columns
        ]
        lines = [spaced(heads)]
        for number, row in enumerate(table.rows[self._top : self._top + room], self._top):
            line = self._line(row, columns)
            if self._choose and number == self._at:
                line = self.pen.write(line.plain, width, style="reverse" if self.has_focus else "underline")
            lines.append(line)
        if self._foot:
            note = table.rows[self._at].note
            lines += [EMPTY] * (height - 1 - len(lines))
            lines.append(self.pen.write(note, min(width, cell_len(note)), style="$quiet"))
        return lines

    def _line(self, row: Row, columns: list[tuple[int, int]]) -> Line:
        parts = []
        for at, cells in columns:
            column = self._table.columns[at]
            tone = column.look is Look.TONE or (column.look is Look.LOUD and row.loud)
            style = STYLE[row.tone] if tone else _STYLES[column.look]
            parts.append(self.pen.write(row.cells[at], cells, right=column.right, style=style))
        return spaced(parts)
