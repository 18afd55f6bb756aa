"""? Help: keys and signs, on one card."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen
from textual.widgets import Static

from potminer.dashboard.widgets.drawing import EMPTY, STYLE, Pen, content
from potminer.view.select import Tone
from potminer.view.strip import LEGEND, TONES

_KEYS = (
    ("1-9 d", "the screens named on top"),
    ("{palette} ^p", "palette: screens, themes, every command"),
    ("{find}", "filter what the tables show; Esc clears"),
    ("{back}", "back: filter, screen, rig"),
    ("Tab", "the next table of this screen"),
    ("↑ ↓", "scroll; PgUp PgDn Home End too"),
    ("Enter", "on Rigs: look at that rig"),
    ("{pause}", "pause training now; again: resume"),
    ("{auto}", "auto: the rig decides by its rules"),
    ("{wide}  {faults}", "wide: more columns · only faults"),
    ("{level}", "on Logs: which lines are shown"),
    ("{leave}", "leave; the daemon keeps running"),
)
"""Names in braces are actions: what the owner presses for them stands there."""
_SIGNS = (
    ("●", Tone.GOOD, "training, well"),
    ("■", Tone.BUSY, "mining"),
    ("◐", Tone.BUSY, "on its way"),
    ("○", Tone.PLAIN, "idle or off"),
    ("▲", Tone.WARNING, "look at this"),
    ("✗", Tone.FAULT, "fault"),
)
_LEFT = 48


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,1", "dismiss", "Close")]

    def __init__(self, pen: Pen) -> None:
        super().__init__()
        self._pen = pen
        self.set_class(pen.ascii_only, "-ascii")

    def compose(self) -> ComposeResult:
        write, own = self._pen.write, self._pen.keys
        left = [
            write(f"{key.format_map(own):>5}  ", style="bold $accent") + write(does, _LEFT - 7) for key, does in _KEYS
        ]
        right = [write(f"{sign}  ", style=STYLE[tone]) + write(means) for sign, tone, means in _SIGNS]
        right += [write(f"{letter}  ", style=STYLE[TONES[letter]]) + write(means) for letter, means in LEGEND]
        lines = [a + b for a, b in zip(left, right, strict=True)]
        lines.append(EMPTY)
        lines.append(write(f"{'–':>5}  ", style="bold") + write("not known. Numbers older than 10 s are dimmed."))
        with Container(id="card") as card:
            card.border_title = "Help"
            card.border_subtitle = "Esc closes"
            yield Static(content(lines), markup=False)
