"""The last 24 hours in one line of letters."""

from __future__ import annotations

from itertools import groupby

from potminer.dashboard.widgets.drawing import STYLE, Line, Pen
from potminer.dashboard.widgets.panel import Panel
from potminer.view.history import History
from potminer.view.strip import LEGEND, TONES, day_strip

_MEANS = dict(LEGEND)
_WIDE = 100


class StateStrip(Panel):
    """A column stands for a sixtieth of a day or less; the newest is at the right."""

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen, id="strip")
        self._history = History()
        self._now_ms = 0

    def show(self, history: History, now_ms: int) -> None:
        self._history, self._now_ms = history, now_ms
        self.changed((history.points[-1:], len(history.points), now_ms // 60_000))

    def lines(self, width: int, height: int) -> list[Line]:
        wide = width >= _WIDE
        room = max(1, width - (44 if wide else 27))
        strip = day_strip(self._history, self._now_ms, room)
        line = self.pen.write(" 24 h ", style="$quiet")
        for letter, run in groupby(strip.letters):
            line += self.pen.write("".join(run), style=STYLE[TONES[letter]])
        for letter, percent in strip.shares:
            said = f"  {_MEANS.get(letter, letter) if wide else letter} {percent} %"
            if line.cell_length + len(said) < width:
                line += self.pen.write(said, style=STYLE[TONES[letter]])
        return [line]
