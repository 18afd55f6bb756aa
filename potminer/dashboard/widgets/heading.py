"""The two lines on top: where this is and how fresh; then the sentence."""

from __future__ import annotations

from textual.content import Content

from potminer.dashboard.bridge import Link
from potminer.dashboard.widgets.drawing import Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.view.overview import Overview
from potminer.view.text import UNKNOWN

_LINK = {
    Link.LIVE: ("● live", "$success"),
    Link.CONNECTING: ("◐ connecting", "$accent"),
    Link.LOST: ("▲ no daemon, trying again", "bold $warning"),
}


class Heading(Panel):
    def __init__(self, pen: Pen) -> None:
        super().__init__(pen, id="heading")
        self._place = ""
        self._sentence = ""
        self._right = _LINK[Link.CONNECTING]

    def show(self, seen: Overview | None, link: Link) -> None:
        sign, style = _LINK[link]
        if seen is None:
            self._place, self._sentence = "", UNKNOWN
        else:
            self._place, self._sentence = seen.place, seen.sentence
            if seen.stale or link is not Link.LIVE:
                sign, style = f"{sign} · {seen.age}", "bold $warning"
        self._right = (sign, style)
        self.changed((self._place, self._sentence, self._right))

    def lines(self, width: int, height: int) -> list[Content]:
        sign, style = self._right
        name = self.pen.write(" potminer  ", style="bold $accent")
        right = self.pen.write(f"{sign} ", style=style)
        room = max(0, width - name.cell_length - right.cell_length)
        top = name + self.pen.write(self._place, room, style="$quiet") + right
        return [top, Content(" ") + self.pen.write(self._sentence, max(0, width - 2), style="bold")]
