"""Hours of the week, as minutes since Monday 00:00, local time."""

from __future__ import annotations

WEEK_MINUTES = 7 * 24 * 60

Spans = tuple[tuple[int, int], ...]
"""From the first minute to before the second; a span whose end lies before its beginning goes over Sunday midnight."""


def within(minute: int, spans: Spans) -> bool:
    return any(
        first <= minute < last if first < last else minute >= first or minute < last for first, last in spans
    )
