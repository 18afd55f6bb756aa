"""What needs a person, gravest first. Takes no room while there is nothing."""

from __future__ import annotations

from rich.cells import cell_len

from potminer.dashboard.widgets.drawing import STYLE, Line, Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.view.select import AlertRow

_MOST = 3


class Alerts(Panel):
    def __init__(self, pen: Pen) -> None:
        super().__init__(pen, id="alerts")
        self._rows: tuple[AlertRow, ...] = ()

    def show(self, rows: tuple[AlertRow, ...]) -> None:
        self._rows = rows
        self.display = bool(rows)
        self.changed(rows, rows=len(rows))

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return min(_MOST, len(self._rows))

    def lines(self, width: int, height: int) -> list[Line]:
        rows = self._rows[:_MOST]
        lines = []
        for at, row in enumerate(rows):
            more = len(self._rows) - _MOST if at == _MOST - 1 else 0
            tail = f"  {row.age}" + (f", and {more} more" if more > 0 else "")
            room = max(0, width - len(tail) - 3)
            head = self.pen.write(f"{row.sign} {row.text}", min(room, cell_len(row.text) + 2), style=STYLE[row.tone])
            lines.append(self.pen.write(" ") + head + self.pen.write(tail, style="$quiet"))
        return lines
