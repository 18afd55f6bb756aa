"""What stands in the middle while there is no photograph yet."""

from __future__ import annotations

from potminer.dashboard.widgets.drawing import Line, Pen
from potminer.dashboard.widgets.panel import Panel


class Notice(Panel):
    def __init__(self, pen: Pen) -> None:
        super().__init__(pen, id="notice")
        self._what = ""
        self._hint = ""

    def show(self, what: str, hint: str) -> None:
        self._what, self._hint = what, hint
        self.changed((what, hint))

    def lines(self, width: int, height: int) -> list[Line]:
        lines = [self.pen.write(self._what or "Waiting for the first photograph of the node.", style="bold")]
        if self._hint:
            lines.append(self.pen.write(self._hint, style="$quiet"))
        return lines
