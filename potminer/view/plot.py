"""Bars drawn with characters, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:#"


def bars(values: Sequence[int], *, width: int, height: int, ascii_only: bool = False) -> list[str]:
    """*values* as *width* columns in *height* lines, top line first.

    The whole history stays in sight, whatever its length. The axis starts a little below the
    smallest value: what people look for is the change.
    """
    if width < 1 or height < 1:
        return []
    columns = fit(values, width)
    if not columns:
        return [""] * height
    steps = (len(_ASCII) if ascii_only else len(_EIGHTHS)) - 1
    low, high = min(columns), max(columns)
    full = height * steps
    levels = [1 + (value - low) * (full - 1) // (high - low) if high > low else steps // 2 + 1 for value in columns]
    glyphs = _ASCII if ascii_only else _EIGHTHS
    lines = []
    for line in range(height - 1, -1, -1):
        lines.append("".join(glyphs[max(0, min(steps, level - line * steps))] for level in levels))
    return lines


def columns(values: Sequence[int | None], *, width: int, height: int, ascii_only: bool = False) -> list[str]:
    """Bars that stand on zero, top line first; where nothing is known nothing stands.

    The values share the whole *width*, with a gap between them where there is room, averaged where there are more.
    """
    if width < 1 or height < 1 or not values:
        return []
    if len(values) > width:
        values = _averaged(values, width)
    glyphs = _ASCII if ascii_only else _EIGHTHS
    steps = len(glyphs) - 1
    top = max((value for value in values if value is not None), default=0)
    levels = [0 if value is None or not top else -(-value * height * steps // top) for value in values]
    spaced = width >= 3 * len(values)
    cells = [(at + 1) * width // len(values) - at * width // len(values) for at in range(len(values))]
    if spaced:
        cells = [width // len(values)] * len(values)
    lines = []
    for line in range(height - 1, -1, -1):
        drawn = ""
        for level, cell in zip(levels, cells, strict=True):
            glyph = glyphs[max(0, min(steps, level - line * steps))]
            drawn += glyph * (cell - 1) + " " if spaced else glyph * cell
        lines.append(drawn)
    return lines


def _averaged(values: Sequence[int | None], width: int) -> list[int | None]:
    """*width* means of what is known."""
    result: list[int | None] = []
    for column in range(width):
        part = values[column * len(values) // width : (column + 1) * len(values) // width]
        known = [value for value in part if value is not None]
        result.append(sum(known) // len(known) if known else None)
    return result


def fit(values: Sequence[int], width: int) -> list[int]:
    """*values* as *width* of them: averaged where there are more, repeated where there are fewer."""
    total = len(values)
    if total <= width:
        return [values[column * total // width] for column in range(width)] if total else []
    result = []
    for column in range(width):
        part = values[column * total // width : (column + 1) * total // width]
        result.append(sum(part) // len(part))
    return result


def gauge(done: int, total: int, *, width: int, ascii_only: bool = False) -> str:
    """A bar of *width* cells, ``done/total`` of it filled."""
    filled = 0 if total <= 0 else max(0, min(width, done * width // total))
    full, empty = ("#", "-") if ascii_only else ("━", "─")
    return full * filled + empty * (width - filled)
