"""Who vouches for the money on this screen, for which of it, and for which nobody does."""

from __future__ import annotations

from potminer.dashboard.widgets.drawing import STYLE, Line, Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.view.proven import BOOKS, backing_line, backing_tone, money_facts
from potminer.view.select import Fact
from potminer.wire.proven import ProvenView


class Vouched(Panel):
    """*money*: a second line says for what."""

    _view: ProvenView | None = None

    def __init__(self, pen: Pen, *, money: bool = True) -> None:
        super().__init__(pen, id="vouched")
        self._whole = money

    def show(self, view: ProvenView | None) -> None:
        self._view = view
        self.changed(view)

    def lines(self, width: int, height: int) -> list[Line]:
        sign, tone = backing_tone(self._view)
        head = self.pen.write(f" {sign} {backing_line(self._view)}", width, style=STYLE[tone])
        return [head, self._money(width - 3)] if self._whole else [head]

    def _money(self, width: int) -> Line:
        """As many facts as there is room for, then whose word the rest is."""
        rest = f"all else: {BOOKS}"
        line = self.pen.write("   ")
        for fact in () if self._view is None else money_facts(self._view):
            if line.cell_length + _length(fact) + len(rest) <= width:
                line += self.pen.write(f"{fact.label} ", style="$quiet") + self.pen.write(f"{fact.value} · ")
        return line + self.pen.write(rest, style="$quiet")


def _length(fact: Fact) -> int:
    return len(fact.label) + len(fact.value) + 4
