"""How a line is put together: cells of fixed width, styled, never read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Line:
    """(letters, style) from left to right. Equal lines look equal: only those that differ are painted again."""

    parts: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: Line) -> Line:
        return Line(self.parts + other.parts)

    @property
    def cell_length(self) -> int:
        return sum(cell_len(letters) for letters, _ in self.parts)

    @property
    def plain(self) -> str:
        return "".join(letters for letters, _ in self.parts)


EMPTY = Line()


class Pen:
    """Letters for a terminal: as they are, or their nearest ASCII. *keys*: what the owner presses, by action.
    *live*: what a photograph that just came is called."""

    def __init__(self, *, ascii_only: bool, keys: Mapping[str, str] | None = None, live: str = "● live") -> None:
        self.ascii_only = ascii_only
        self.live = live
        self.keys = dict(keys or {})

    def plain(self, text: str) -> str:
        """*text* for a place that is not drawn by ``write``: a title in a border."""
        # One letter for one letter: three dots would push what is cut even further.
        return to_ascii(text.replace("…", "~")) if self.ascii_only else text

    def write(self, text: str, width: int | None = None, *, right: bool = False, style: str = "") -> Line:
        """*text* in exactly *width* cells (None: as long as it is)."""
        shown = self.plain(text)
        if width is not None:
            if cell_len(shown) > width:
                shown = set_cell_size(shown, max(0, width - 1)) + ("~" if self.ascii_only else "…")[:width]
            room = " " * (width - cell_len(shown))
            shown = room + shown if right else shown + room
        return Line(((shown, style),)) if shown else EMPTY


def spaced(cells: Iterable[Line], gap: int = 1) -> Line:
    """*cells* side by side with *gap* blanks between."""
    parts: list[tuple[str, str]] = []
    for cell in cells:
        if parts:
            parts.append((" " * gap, ""))
        parts += cell.parts
    return Line(tuple(parts))


def content(lines: Iterable[Line]) -> Content:
    """*lines* for a place where Textual draws by itself."""
    return Content("\n").join(
        Content("").join(Content.styled(letters, style) if style else Content(letters) for letters, style in line.parts)
        for line in lines
    )
