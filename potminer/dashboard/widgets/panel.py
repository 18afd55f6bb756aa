"""Base of every panel: draws lines for its own width, and of them only those that have changed."""

from __future__ import annotations

from abc import abstractmethod

from rich.segment import Segment
from rich.style import Style as Ink
from textual.content import Content
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from potminer.dashboard.widgets.drawing import Line, Pen, content


class Panel(Widget):
    """A widget that shows the lines of ``lines(width, height)``.

    Textual would wrap and style the whole panel for one changed number. Our lines have the right width already, so a
    line becomes a strip at once, and what it is written with is kept: twice a second that is most of the cost."""

    def __init__(self, pen: Pen, *, id: str, title: str = "") -> None:
        super().__init__(id=id)
        self.pen = pen
        self._shown: object = None
        self._rows_shown = -1
        self._drawn: list[Line] | None = None
        self._drawn_for = Size(0, 0)
        self._inks: dict[tuple[str, int, int], Ink] = {}
        self._inks_for: tuple[Style, str] | None = None
        self._above = self._below = ""
        self.entitle(above=title)

    def changed(self, value: object, *, rows: int = 0) -> None:
        """Redraw where *value* differs from what is shown; lay the screen out anew only where *rows* does."""
        if value == self._shown:
            return
        again = rows != self._rows_shown
        self._shown, self._rows_shown = value, rows
        before, size = self._drawn, self.content_size
        if again or before is None or size != self._drawn_for:
            self.refresh(layout=again)
            return
        now = self._draw(size)
        least = min(len(now), len(before))
        other = [at for at in range(least) if now[at] != before[at]]
        other += range(least, min(size.height, max(len(now), len(before))))
        if other:
            super().refresh(*(Region(0, at, size.width, 1) for at in other))

    def entitle(self, *, above: str | None = None, below: str | None = None) -> None:
        """What stands in the border, letter by letter; None: as it is."""
        # Textual paints the whole panel anew for a title, also for the one that it has.
        if above is not None and above != self._above:
            self._above, self.border_title = above, Content(self.pen.plain(above))
        if below is not None and below != self._below:
            self._below, self.border_subtitle = below, Content(self.pen.plain(below))

    def refresh(
        self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False
    ) -> Panel:
        self._drawn = None
        super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)
        return self

    def render(self) -> Content:
        return content(self._lines())

    def render_line(self, y: int) -> Strip:
        if self.text_selection is not None:
            return super().render_line(y)
        lines, width = self._lines(), self.content_size.width
        if y >= len(lines):
            return Strip.blank(width, self._ink("", 0, 0))
        segments, at = [], 0
        for letters, style in lines[y].parts:
            segments.append(Segment(letters, self._ink(style, at, y)))
            at += len(letters)
        return Strip(segments).adjust_cell_length(width, self._ink("", 0, 0))

    def _lines(self) -> list[Line]:
        size = self.content_size
        return self._draw(size) if self._drawn is None or size != self._drawn_for else self._drawn

    def _draw(self, size: Size) -> list[Line]:
        self._drawn, self._drawn_for = self.lines(size.width, size.height), size
        return self._drawn

    def _ink(self, style: str, x: int, y: int) -> Ink:
        """*style* as the terminal takes it. Where its letters stand goes with it, so that they can be selected."""
        base = self.visual_style
        if self._inks_for is None or self._inks_for[0] is not base or self._inks_for[1] != self.app.theme:
            self._inks.clear()
            self._inks_for = (base, self.app.theme)
        ink = self._inks.get((style, x, y))
        if ink is None:
            whole = base + Style.parse(style, self.app.theme_variables) if style else base
            ink = self._inks[style, x, y] = whole.rich_style_with_offset(x, y)
        return ink

    @abstractmethod
    def lines(self, width: int, height: int) -> list[Line]:
        """What it shows where it has so many letters and lines; more lines are cut off."""
