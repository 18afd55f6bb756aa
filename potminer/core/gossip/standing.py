"""Standing: offences add points, points fade, enough of them is a ban that expires.

``score`` is the seam for richer scores (delivery, colocation, stake): the mesh only asks
for a number and prefers the higher one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from potminer.core.machine import Offence

POINTS: Final = {
    Offence.FORGED: 50,
    Offence.MALFORMED: 50,
    Offence.FLOOD: 20,
    Offence.UNEXPECTED: 10,
    Offence.WITHHELD: 5,
}
"""A forgery could be one bad relay or version; two within minutes are not."""
BAN_POINTS: Final = 100
FADE_MS: Final = 6_000
"""One point fades in this time: ten a minute."""
FIRST_BAN_S: Final = 600
LONGEST_BAN_S: Final = 86_400
RECORDS: Final = 1_024


@dataclass(slots=True)
class _Record:
    points: int = 0
    at_ms: int = 0
    bans: int = 0
    banned_until_ms: int = 0


class Standing:
    """What each peer has on its slate; at most RECORDS slates."""

    def __init__(self) -> None:
        self._records: dict[bytes, _Record] = {}

    def offended(self, peer: bytes, offence: Offence, now: int) -> int | None:
        """Seconds of the ban that this offence completes, or None."""
        record = self._record(peer, now)
        if record.banned_until_ms > now:
            return None
        record.points = self._points(record, now) + POINTS[offence]
        record.at_ms = now
        if record.points < BAN_POINTS:
            return None
        seconds = min(FIRST_BAN_S << min(record.bans, 16), LONGEST_BAN_S)
        record.points, record.bans = 0, record.bans + 1
        record.banned_until_ms = now + seconds * 1_000
        return seconds

    def banned(self, peer: bytes, now: int) -> bool:
        record = self._records.get(peer)
        return record is not None and record.banned_until_ms > now

    def score(self, peer: bytes, now: int) -> int:
        """0 is spotless, lower is worse."""
        record = self._records.get(peer)
        return -self._points(record, now) if record else 0

    def _points(self, record: _Record, now: int) -> int:
        return max(0, record.points - (now - record.at_ms) // FADE_MS)

    def _record(self, peer: bytes, now: int) -> _Record:
        record = self._records.get(peer)
        if record is None:
            if len(self._records) >= RECORDS:
                self._forget_lightest(now)
            record = self._records[peer] = _Record(at_ms=now)
        return record

    def _forget_lightest(self, now: int) -> None:
        def weight(peer: bytes) -> tuple[int, int, int]:
            record = self._records[peer]
            return max(record.banned_until_ms, now), self._points(record, now), record.at_ms

        del self._records[min(self._records, key=weight)]
