"""Labelled values, one a line: labels left, values right."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content

from potminer.dashboard.widgets.drawing import STYLE
from potminer.dashboard.widgets.panel import Panel
from potminer.view.select import Fact


class Facts(Panel):
    _facts: tuple[Fact, ...] = ()

    def show(self, facts: tuple[Fact, ...]) -> None:
        self._facts = facts
        self.changed(facts)

    def lines(self, width: int, height: int) -> list[Content]:
        return [self._line(fact, width) for fact in self._facts]

    def _line(self, fact: Fact, width: int) -> Content:
        value = self.pen.write(fact.value, min(cell_len(fact.value), width), style=STYLE[fact.tone])
        room = max(0, width - value.cell_length)
        return self.pen.write(fact.label, room, style="$quiet") + value
