"""Numbers as a picture, with a caption that says what they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from potminer.dashboard.widgets.drawing import Line, Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.view import plot

Values = tuple[int | None, ...]


class Chart(Panel):
    """*grounded*: bars stand on zero; otherwise a curve whose axis starts below the smallest value.
    *least*: cells a value gets; where there is less room, the newest are shown. 0: all of them, averaged."""

    def __init__(
        self, pen: Pen, *, id: str, title: str, style: str = "$primary", grounded: bool = False, least: int = 0
    ) -> None:
        super().__init__(pen, id=id, title=title)
        self._style = style
        self._grounded = grounded
        self._least = least
        self._values: Values = ()
        self._say: Callable[[Values], str] = lambda values: ""

    def show(self, values: Sequence[int | None], say: Callable[[Values], str]) -> None:
        """*say* makes the caption of the values that are drawn."""
        self._values, self._say = tuple(values), say
        self.changed((self._values, say(self._values)))

    def lines(self, width: int, height: int) -> list[Line]:
        shown = self._values[-max(1, width // self._least) :] if self._least else self._values
        caption = self.pen.write(self._say(shown), width, style="$quiet")
        rows = height - 1
        known = [value for value in shown if value is not None]
        if rows < 1 or not known or (len(known) < 2 and not self._grounded):
            return [caption]
        if self._grounded:
            drawn = plot.columns(shown, width=width, height=rows, ascii_only=self.pen.ascii_only)
        else:
            drawn = plot.bars(known, width=width, height=rows, ascii_only=self.pen.ascii_only)
        return [*(self.pen.write(line, width, style=self._style) for line in drawn), caption]
