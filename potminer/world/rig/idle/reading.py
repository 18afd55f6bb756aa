"""What is known of one place where a person may sit, and how several places are joined.

A *place* is a graphical session, the terminals of a machine, or the set of programs that its owner
named. Still hands are counted in milliseconds; unknown is None and never a large number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

ACTIVE_MS = 60_000
"""Input within this time: a person is here."""


class Presence(StrEnum):
    ACTIVE = "active"
    IDLE = "idle"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reading:
    """*place* and *source* in words; *idle_ms* since the last input there, None where nobody can tell.

    *full_screen*: whether a program fills the screen, None where the platform does not tell.
    *detail* says why a reading is unknown, or what fills the screen.
    """

    place: str
    source: str
    idle_ms: int | None
    detail: str = ""
    full_screen: bool | None = None

    @property
    def presence(self) -> Presence:
        if self.idle_ms is None:
            return Presence.UNKNOWN
        return Presence.ACTIVE if self.idle_ms < ACTIVE_MS else Presence.IDLE


@dataclass(frozen=True, slots=True)
class Judgement:
    """All places together. *because* is one sentence for the owner."""

    idle_ms: int | None
    because: str
    readings: tuple[Reading, ...] = ()

    @property
    def presence(self) -> Presence:
        return Reading("", "", self.idle_ms).presence


def join(readings: Sequence[Reading], *, full_screen_counts: bool = True) -> Judgement:
    """Somebody seen anywhere is somebody here; a place that nobody can see makes the rest worthless.

    1. Nobody to ask: unknown.
    2. A full-screen program is somebody who watches: active, where that counts.
    3. The newest input anywhere was within ``ACTIVE_MS``: active, even where other places are unknown.
    4. Some place is unknown: unknown.
    5. Otherwise idle since the newest input anywhere.
    """
    found = tuple(readings)
    if not found:
        return Judgement(None, "nothing on this system can be asked")
    watched = next((r for r in found if r.full_screen), None)
    if watched is not None and full_screen_counts:
        return Judgement(0, f"{watched.place}: a program fills the screen", found)
    known = [(reading.idle_ms, reading) for reading in found if reading.idle_ms is not None]
    newest = min(known, key=lambda pair: pair[0], default=None)
    if newest is not None and newest[0] < ACTIVE_MS:
        return Judgement(newest[0], _told(newest[1]), found)
    blind = next((r for r in found if r.idle_ms is None), None)
    if blind is not None or newest is None:
        return Judgement(None, "" if blind is None else f"{blind.place}: {blind.detail or 'no answer'}", found)
    return Judgement(newest[0], _told(newest[1]), found)


def _told(reading: Reading) -> str:
    seconds = (reading.idle_ms or 0) // 1_000
    return f"{reading.place}: last input {seconds} s ago ({reading.detail or reading.source})"
