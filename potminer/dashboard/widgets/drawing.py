"""How a line is put together: cells of fixed width, styled, never read as markup."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from potminer.view.select import Tone
from potminer.view.text import to_ascii

STYLE = {
    Tone.GOOD: "$success",
    Tone.BUSY: "$accent",
    Tone.PLAIN: "$foreground",
    Tone.QUIET: "$quiet",
    Tone.WARNING: "bold $warning",
    Tone.FAULT: "bold $error",
}


class Pen:
    """Letters for a terminal: as they are, or their nearest ASCII."""

    def __init__(self, *, ascii_only: bool) -> None:
        self.ascii_only = ascii_only

    def plain(self, text: str) -> str:
        """*text* for a place that is not drawn by ``write``: a title in a border."""
        # One letter for one letter: three dots would push what is cut even further.
        return to_ascii(text.replace("…", "~")) if self.ascii_only else text

    def write(self, text: str, width: int | None = None, *, right: bool = False, style: str = "") -> Content:
        """*text* in exactly *width* cells (None: as long as it is)."""
        shown = self.plain(text)
        if width is not None:
            if cell_len(shown) > width:
                shown = set_cell_size(shown, max(0, width - 1)) + ("~" if self.ascii_only else "…")[:width]
            room = " " * (width - cell_len(shown))
            shown = room + shown if right else shown + room
        return Content.styled(shown, style) if style else Content(shown)


def join(lines: list[Content]) -> Content:
    return Content("\n").join(lines)
