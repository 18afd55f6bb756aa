"""Hours and tariffs as people write them: ``mon-fri 22:00-07:00``, ``sat+sun 00:00-24:00 0.21``."""

from __future__ import annotations

import re
from decimal import Decimal

from potminer.core.duty.week import Spans, within

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
_TIME = r"([01]?\d|2[0-4]):([0-5]\d)"
_DAY = "|".join(DAYS)
_HOURS = re.compile(rf"((?:{_DAY})(?:[-+](?:{_DAY}))*) {_TIME}-{_TIME}")
Tariff = tuple[tuple[Spans, int], ...]
"""Price of a kWh in millionths by hours; the first that fits counts."""


def parse_hours(said: str) -> Spans:
    """Spans of the week; ValueError says what is wrong. An end at or before the beginning is on the next day."""
    match = _HOURS.fullmatch(said.strip().lower())
    if match is None:
        raise ValueError("must look like mon-fri 22:00-07:00 or sat+sun 00:00-24:00")
    first, last = (int(match[at]) * 60 + int(match[at + 1]) for at in (2, 4))
    if first >= DAY_MINUTES or last > DAY_MINUTES:
        raise ValueError("has an hour that no day has")
    length = last - first if last > first else last + DAY_MINUTES - first
    week = 7 * DAY_MINUTES
    begins = [day * DAY_MINUTES + first for day in _days(match[1])]
    return tuple((begin, begin + length if begin + length <= week else begin + length - week) for begin in begins)


def _days(said: str) -> list[int]:
    """``mon-fri`` counts round the week's end where it must: ``sat-mon``."""
    found: list[int] = []
    for part in said.split("+"):
        first, *rest = part.split("-")
        if len(rest) > 1:
            raise ValueError("has a range of more than two days")
        start, end = DAYS.index(first), DAYS.index(rest[0] if rest else first)
        found += [(start + step) % 7 for step in range((end - start) % 7 + 1)]
    return sorted(set(found))


def parse_tariff(said: str) -> tuple[Spans, int]:
    """Hours and the price of a kWh in them, in millionths."""
    hours, _, price = said.strip().rpartition(" ")
    if not re.fullmatch(r"\d{1,4}(\.\d{1,6})?", price):
        raise ValueError("must look like mon-fri 22:00-07:00 0.18")
    return parse_hours(hours), int(Decimal(price) * 1_000_000)


def price_at(tariff: Tariff, minute: int) -> int | None:
    return next((price for spans, price in tariff if within(minute, spans)), None)
