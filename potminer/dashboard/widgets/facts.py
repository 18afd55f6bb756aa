"""Labelled values, one a line: labels left, values right."""

from __future__ import annotations

from rich.cells import cell_len

from potminer.dashboard.widgets.drawing import STYLE, Line, Pen, spaced
from potminer.dashboard.widgets.panel import Panel
from potminer.view.select import Fact

_LEAST, _GAP = 30, 4


class Facts(Panel):
    """*columns*: as many side by side as there is room for."""

    _facts: tuple[Fact, ...] = ()

    def __init__(self, pen: Pen, *, id: str, title: str, columns: bool = False) -> None:
        super().__init__(pen, id=id, title=title)
        self._columns = columns

    def show(self, facts: tuple[Fact, ...]) -> None:
        self._facts = facts
        self.changed(facts)

    def lines(self, width: int, height: int) -> list[Line]:
        side = max(1, min(3, (width + _GAP) // (_LEAST + _GAP))) if self._columns else 1
        each = (width - (side - 1) * _GAP) // side
        tall = -(-len(self._facts) // side)
        cells = [self._line(fact, each) for fact in self._facts]
        return [spaced(cells[row::tall], _GAP) for row in range(tall)]

    def _line(self, fact: Fact, width: int) -> Line:
        value = self.pen.write(fact.value, min(cell_len(fact.value), width), style=STYLE[fact.tone])
        room = max(0, width - value.cell_length)
        return self.pen.write(fact.label, room, style="$quiet") + value
