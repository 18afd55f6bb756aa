"""A length of time as people type it: ``90s``, ``30m``, ``2h``, ``1d``."""

from __future__ import annotations

import click

_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MOST_MS = 30 * 86_400_000


def parse_span(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Option callback: milliseconds, 1 s to 30 days; None where nothing was said."""
    if value is None:
        return None
    number, unit = value[:-1], value[-1:]
    if unit in _UNITS and number.isascii() and number.isdecimal() and len(number) < 9:
        result = int(number) * _UNITS[unit]
        if 0 < result <= _MOST_MS:
            return result
    raise click.BadParameter(f"{value[:40]!r} is not a time such as 90s, 30m, 2h or 1d, at most 30d", ctx, param)
