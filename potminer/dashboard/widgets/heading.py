"""The lines on top: where this is and how fresh, the sentence, and the screens with their keys."""

from __future__ import annotations

from potminer.dashboard.bridge import Link
from potminer.dashboard.widgets.drawing import EMPTY, Line, Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.view.overview import Overview
from potminer.view.proven import LOUD, backing_word
from potminer.view.text import UNKNOWN, shorten
from potminer.wire.proven import ProvenView

_LINK = {
    Link.LIVE: ("● live", "$success"),
    Link.CONNECTING: ("◐ connecting", "$accent"),
    Link.LOST: ("▲ no daemon, trying again", "bold $warning"),
}
SCREENS = (
    ("1", "Overview", "Overview"),
    ("2", "GPUs", "GPUs"),
    ("3", "Miners", "Miners"),
    ("4", "Training", "Train"),
    ("5", "Network", "Net"),
    ("6", "Earnings", "Earn"),
    ("7", "Rigs", "Rigs"),
    ("8", "Logs", "Logs"),
    ("9", "Settings", "Set"),
    ("d", "Doctor", "Doc"),
)
"""Key, name, short name."""
_WIDE, _NARROW = 96, 76


class Heading(Panel):
    def __init__(self, pen: Pen, screen: str) -> None:
        super().__init__(pen, id="heading")
        self._screen = screen
        self._place = ""
        self._sentence = ""
        self._right = _LINK[Link.CONNECTING]

    def show(
        self, seen: Overview | None, link: Link, refusal: str = "", proven: ProvenView | None = None
    ) -> None:
        """*refusal*: why the node did not answer what this screen asked, empty where it did. A node that was found to
        lie is called so on every screen."""
        sign, style = (self.pen.live, _LINK[link][1]) if link is Link.LIVE else _LINK[link]
        if seen is None:
            self._place, self._sentence = "", UNKNOWN
        else:
            self._place, self._sentence = seen.place, seen.sentence
            if seen.stale or link is not Link.LIVE:
                sign, style = f"{sign} · {seen.age}", "bold $warning"
            elif refusal:
                sign, style = f"▲ {shorten(refusal, 40)}", "bold $warning"
        if proven is not None and proven.backing in LOUD:
            sign, style = f"✗ {backing_word(proven)}", "bold reverse $error"
        self._right = (sign, style)
        self.changed((self._place, self._sentence, self._right))

    def lines(self, width: int, height: int) -> list[Line]:
        sign, style = self._right
        name = self.pen.write(" potminer  ", style="bold $accent")
        right = self.pen.write(f"{sign} ", style=style)
        room = max(0, width - name.cell_length - right.cell_length)
        top = name + self.pen.write(self._place, room, style="$quiet") + right
        sentence = self.pen.write(" ") + self.pen.write(self._sentence, max(0, width - 2), style="bold")
        return [top, sentence, self._tabs(width)]

    def _tabs(self, width: int) -> Line:
        tabs = EMPTY
        for usual, name, short in SCREENS:
            key = self.pen.keys.get(name.lower(), usual)
            here = name == self._screen
            shown = name if width >= _WIDE or here else short if width >= _NARROW else ""
            if here:
                tabs += self.pen.write(f" {key} {shown} ", style="bold reverse $accent")
            else:
                tabs += self.pen.write(f" {key}", style="$accent")
                tabs += self.pen.write(f" {shown}" if shown else "", style="$quiet")
        return tabs
