"""Asking peers for what is missing, and answering those who ask: paces, rests, and who is tried next.

Shared by the rooms that fetch (sync, leap). Whoever answers late or badly rests longer and longer; whoever says that
it is busy rests as long as it said and is blamed for nothing. So progress needs one honest peer and no luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from potminer.wire.sync import RETRY_MS

TIMEOUT_MS: Final = 10_000
"""An answer of 4 MiB at 4 Mbit/s."""
BACKOFF_MS: Final = 2_000
BACKOFF_CAP_MS: Final = 60_000
SLACK: Final = 2
"""A peer is answered so many times as often as we ask one: questions that were under way come in a crowd."""


@dataclass(slots=True)
class Pace:
    """*most* questions in *window_ms*: as many at once, then one each time that its share of the window has passed."""

    most: int
    window_ms: int
    _owed: int = 0
    """The moment at which everything is paid back, times *most*: so that shares of a window are exact."""

    def opens_ms(self, now: int) -> int:
        """When another question is within the pace: *now*, or later, at most a window."""
        self._owed = min(self._owed, (now + self.window_ms) * self.most)  # less where the clock was set back
        earliest = self._owed - (self.most - 1) * self.window_ms
        return max(now, -(-earliest // self.most))

    def take(self, now: int) -> bool:
        """Whether one more is within the pace; it is spent if so."""
        if self.opens_ms(now) > now:
            return False
        self._owed = max(self._owed, now * self.most) + self.window_ms
        return True

    def used(self, now: int) -> int:
        """How much of it is spent at the moment, from 0 to *most*."""
        return max(0, -(-(self._owed - now * self.most) // self.window_ms))


@dataclass(slots=True)
class Patience:
    """With one peer: *asked* is the pace at which it is asked."""

    asked: Pace
    failures: int = 0
    busy: int = 0
    """How often it said so since it last brought something."""
    not_before_ms: int = 0

    def rest(self, now: int) -> None:
        """It answered late or badly: asked again later and later."""
        self.failures += 1
        self.not_before_ms = now + min(BACKOFF_MS << min(self.failures - 1, 16), BACKOFF_CAP_MS)

    def put_off(self, now: int, retry_ms: int) -> None:
        """It is at its limit: others are asked meanwhile. No longer than a window, whatever it says."""
        self.busy += 1
        self.not_before_ms = max(self.not_before_ms, now + min(retry_ms, RETRY_MS))

    def proved(self) -> None:
        """What it sent is true."""
        self.failures = self.busy = self.not_before_ms = 0

    def free_ms(self, now: int) -> int:
        """When it may be asked, if nothing is open: *now*, or later."""
        self.not_before_ms = min(self.not_before_ms, now + BACKOFF_CAP_MS)  # less where the clock was set back
        return max(now, self.not_before_ms, self.asked.opens_ms(now))

    def worse(self, now: int) -> tuple[int, int, int]:
        """The least is asked first: who failed, who was busy, who was asked much goes behind."""
        return self.failures, self.busy, self.asked.used(now)


def is_over(until_ms: int, now: int) -> bool:
    """Whether the time to answer is over. A clock that was set back since says nothing of it: asked again at once."""
    return not now < until_ms <= now + TIMEOUT_MS


def answering(most: int, window_ms: int) -> Pace:
    """The pace at which a peer is answered that asks at *most* in *window_ms*."""
    return Pace(SLACK * most, window_ms)
