"""A day in one line: what the rig did, hour by hour, as letters; and its rates as columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from potminer.view.history import History, letter
from potminer.view.select import Tone
from potminer.wire.answers import DayPoint

DAY_MS = 24 * 3_600_000
UNSEEN = "·"
TONES = {
    "!": Tone.FAULT,
    "b": Tone.WARNING,
    "T": Tone.GOOD,
    "M": Tone.BUSY,
    "i": Tone.PLAIN,
    "o": Tone.QUIET,
    UNSEEN: Tone.QUIET,
}
LEGEND = (("T", "training"), ("M", "mining"), ("i", "idle"), ("b", "blocked"), ("o", "off"), ("!", "fault"))


@dataclass(frozen=True, slots=True)
class Strip:
    """*letters* end now; *shares* say how much of what was seen each letter took, largest first."""

    letters: str
    shares: tuple[tuple[str, int], ...]
    """(letter, percent)"""


def day_strip(history: History, now_ms: int, width: int) -> Strip:
    """The last 24 hours in *width* letters. A fault shows wherever it happened, otherwise what was most."""
    columns = _columns(history.points, now_ms, width)
    letters = "".join(_leading(points) for points in columns)
    seen = Counter(letter(point) for points in columns for point in points)
    total = seen.total()
    shares = tuple((each, number * 100 // total) for each, number in seen.most_common() if number * 100 >= total)
    return Strip(letters, shares)


def rates(
    history: History, now_ms: int, width: int, read: Callable[[DayPoint], int | None]
) -> tuple[int | None, ...]:
    """The mean of what *read* knows, in *width* columns of the last 24 hours; None where nothing is known."""
    result: list[int | None] = []
    for points in _columns(history.points, now_ms, width):
        known = [value for value in map(read, points) if value is not None]
        result.append(sum(known) // len(known) if known else None)
    return tuple(result)


def rate_caption(rate: Callable[[int | None], str], values: Sequence[int | None]) -> str:
    """What stands under a day of rates: ``top 62.7 MH/s, now 31.5 MH/s``."""
    known = [value for value in values if value is not None]
    if not known:
        return "none in the last 24 h"
    return f"top {rate(max(known))}, now {rate(values[-1])}"


def _columns(points: Sequence[DayPoint], now_ms: int, width: int) -> list[list[DayPoint]]:
    columns: list[list[DayPoint]] = [[] for _ in range(max(0, width))]
    start = now_ms - DAY_MS
    for point in points:
        at = (point.at_ms - start) * width // DAY_MS
        if 0 <= at < width:
            columns[at].append(point)
    return columns


def _leading(points: list[DayPoint]) -> str:
    if not points:
        return UNSEEN
    letters = [letter(point) for point in points]
    return "!" if "!" in letters else Counter(letters).most_common(1)[0][0]
