"""The task under way: its numbers, and the loss as a picture."""

from __future__ import annotations

from potminer.dashboard.widgets.drawing import EMPTY, STYLE, Line, Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.view import plot
from potminer.view.overview import Overview
from potminer.view.select import Fact
from potminer.view.text import loss

_LABEL = 10
_WIDE = 60
_EMPTY = ("No task yet.", "This rig joins one when", "somebody orders training", "and its devices are idle.")


class Training(Panel):
    def __init__(self, pen: Pen) -> None:
        super().__init__(pen, id="training", title="Training")
        self._facts: tuple[Fact, ...] = ()
        self._losses: tuple[int, ...] = ()
        self._progress = (0, 0)

    def show(self, seen: Overview | None) -> None:
        self._facts = () if seen is None else seen.training
        self._losses = () if seen is None else seen.losses
        self._progress = (0, 0) if seen is None else seen.progress
        done, total = self._progress
        bar = plot.gauge(done, total, width=16, ascii_only=self.pen.ascii_only)
        self.entitle(below=f"{bar} {done * 100 // total} %" if total else "")
        self.changed((self._facts, self._losses, self._progress))

    def lines(self, width: int, height: int) -> list[Line]:
        if not self._facts:
            return [self.pen.write(line, width, style="$quiet") for line in _EMPTY]
        lines = [self._fact(fact, width) for fact in self._facts]
        return [*lines, *self._plot(width, height - len(lines))]

    def _fact(self, fact: Fact, width: int) -> Line:
        label = self.pen.write(fact.label, _LABEL, style="$quiet")
        return label + self.pen.write(fact.value, max(0, width - _LABEL), style=STYLE[fact.tone])

    def _plot(self, width: int, height: int) -> list[Line]:
        """The loss over the rounds, with the axis named where there is room."""
        if height < 2 or len(self._losses) < 2:
            return []
        tall = height >= 5
        rows = height - 2 if tall else height
        bars = plot.bars(self._losses, width=width, height=rows, ascii_only=self.pen.ascii_only)
        lines = [self.pen.write(line, width, style="$primary") for line in bars]
        if not tall:
            return lines
        ends = f"loss {loss(self._losses[0])} → {loss(self._losses[-1])}"
        whole = f"{ends}, {len(self._losses)} rounds"
        ends = whole if len(whole) <= width else ends
        return [EMPTY, *lines, self.pen.write(ends, width, style="$quiet")]
