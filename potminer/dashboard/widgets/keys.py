"""The lowest line: which keys do what here, also by a click."""

from __future__ import annotations

from textual import events
from textual.keys import format_key
from textual.screen import Screen

from potminer.dashboard.widgets.drawing import EMPTY, Line, Pen
from potminer.dashboard.widgets.panel import Panel


def key_label(key: str) -> str:
    """``ctrl+q`` as ``^q``, ``slash`` as ``/``."""
    if key == "escape":
        return "Esc"
    *modifiers, last = key.split("+")
    return "".join("^" if each == "ctrl" else f"{each}+" for each in modifiers) + format_key(last)


class Keys(Panel):
    """Textual's Footer builds a widget for every key whenever the focus moves: that was most of a change of screen."""

    def __init__(self, pen: Pen) -> None:
        super().__init__(pen, id="keys")
        self._said: tuple[tuple[str, str], ...] = ()
        """(key, what it does)"""

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._learn)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _learn(self, screen: Screen[object]) -> None:
        shown = [each.binding for each in screen.active_bindings.values() if each.binding.show and each.enabled]
        order = list(self.pen.keys)
        # A key of the owner's would stand last.
        shown.sort(key=lambda each: order.index(each.id) if each.id in order else -1)
        self._said = tuple((each.key, each.description) for each in shown)
        self.changed(self._said)

    def lines(self, width: int, height: int) -> list[Line]:
        line = EMPTY
        for key, does in self._said:
            line += self.pen.write(f" {key_label(key)}", style="bold $footer-key-foreground")
            line += self.pen.write(f" {does} ", style="$foreground")
        return [line]

    def on_click(self, event: events.Click) -> None:
        at = 0
        for key, does in self._said:
            at += len(self.pen.plain(f" {key_label(key)} {does} "))
            if event.x < at:
                self.app.simulate_key(key)
                return
