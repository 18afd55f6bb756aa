"""The line where a filter is typed."""

from __future__ import annotations

from textual.widgets import Input

MOST = 60


class Find(Input):
    """Hidden until asked for. What is typed filters at once."""

    def __init__(self) -> None:
        super().__init__(placeholder="filter: Enter keeps it, Esc clears it", max_length=MOST, id="find")
        self.cursor_blink = False
        self.display = False

    def open(self) -> None:
        self.display = True
        self.focus()

    def clear_away(self) -> bool:
        """Whether there was anything to clear."""
        shown = self.display or bool(self.value)
        self.value = ""
        self.display = False
        return shown
