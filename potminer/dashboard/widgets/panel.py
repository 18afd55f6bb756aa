"""Base of every panel: draws lines for its own width, and only when what it shows has changed."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from potminer.dashboard.widgets.drawing import Pen, join


class Panel(Widget):
    """A widget that shows the lines of ``lines(width, height)``."""

    def __init__(self, pen: Pen, *, id: str, title: str = "") -> None:
        super().__init__(id=id)
        self.pen = pen
        self._shown: object = None
        self._rows_shown = -1
        if title:
            self.border_title = title

    def changed(self, value: object, *, rows: int = 0) -> None:
        """Redraw where *value* differs from what is shown; lay the screen out anew only where *rows* does."""
        if value != self._shown:
            self.refresh(layout=rows != self._rows_shown)
            self._shown, self._rows_shown = value, rows

    def render(self) -> Content:
        return join(self.lines(self.content_size.width, self.content_size.height))

    def lines(self, width: int, height: int) -> list[Content]:
        raise NotImplementedError
