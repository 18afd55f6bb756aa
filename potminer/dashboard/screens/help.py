"""? Help: keys and signs, on one card."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from potminer.dashboard.widgets.drawing import STYLE, Pen, join
from potminer.view.select import Tone

_KEYS = (
    ("1", "this rig at a glance"),
    ("p", "pause training now; again: resume"),
    ("a", "back to auto: the rig decides by its rules"),
    ("^p", "palette: theme, every command"),
    ("q", "leave; the daemon keeps running"),
)
_SIGNS = (
    ("●", Tone.GOOD, "training"),
    ("■", Tone.BUSY, "mining"),
    ("◐", Tone.BUSY, "on its way from one to the other"),
    ("○", Tone.PLAIN, "idle or off"),
    ("▲", Tone.WARNING, "wants your attention"),
    ("✗", Tone.FAULT, "fault"),
)


class HelpScreen(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,1", "dismiss", "Close")]

    def __init__(self, pen: Pen) -> None:
        super().__init__()
        self._pen = pen
        self.set_class(pen.ascii_only, "-ascii")

    def compose(self) -> ComposeResult:
        write = self._pen.write
        lines = [write(f"{key:>3}  ", style="bold $accent") + write(does) for key, does in _KEYS]
        lines.append(Content(""))
        lines += [write(f"{sign:>3}  ", style=STYLE[tone]) + write(means) for sign, tone, means in _SIGNS]
        lines.append(Content(""))
        lines.append(write(f"{'–':>3}  ", style="bold") + write("not known. Numbers older than 10 s are dimmed."))
        with Container(id="card") as card:
            card.border_title = "Help"
            card.border_subtitle = "Esc closes"
            yield Static(join(lines), markup=False)
