"""A fresh block goes to a few outsiders at once and to the others one by one: meanwhile those few have it to give.

So what a member sends does not grow with the number of those who follow, where they are linked with each other. Who
is put off (``Busy``) asks another, and nobody waits for long: what is not fresh any more goes to whoever asks.
"""

from __future__ import annotations

from typing import Final

WIDTH: Final = 8
STEP_MS: Final = 250
FRESH: Final = 8
"""Blocks below the head, the head among them. Who is further behind needs many at once, and soon."""


class Fan:
    """Who was sent which of the newest blocks."""

    def __init__(self) -> None:
        self._sent: dict[int, tuple[int, set[bytes]]] = {}
        """By height: since when, and to whom."""

    def wait_ms(self, height: int, peer: bytes, *, tip: int, now: int) -> int:
        """0 where *peer* is sent block *height*, and counts; else after how long it may be."""
        if height <= tip - FRESH:
            return 0
        since, sent = self._sent.setdefault(height, (now, set()))
        if since > now:  # the clock was set back
            since, _ = self._sent[height] = now, sent
        due = since + (len(sent) - WIDTH + 1) * STEP_MS
        if peer not in sent and due > now:
            return due - now
        sent.add(peer)
        return 0

    def rose(self, tip: int) -> None:
        """The head is *tip* now."""
        self._sent = {height: told for height, told in self._sent.items() if height > tip - FRESH}
