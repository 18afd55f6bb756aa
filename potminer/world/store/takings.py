"""What this rig earned, by day of UTC, task and device: sums that only grow, added to with every block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, and_, insert, select, update

from potminer.world.store.tables import TAKINGS

AMOUNTS: Final = ("earned", "released", "kept", "lost", "forfeited", "accepted", "refused", "by_units")

Row = tuple[int, bytes, str, tuple[int, ...]]
"""(day in ms, task, device, AMOUNTS)."""


def add(connection: Connection, rows: Sequence[Row]) -> None:
    """Add *rows* to what stands. In plain SQL: one writer, a few rows a block, any database."""
    for day, task, bus, amounts in rows:
        here = and_(TAKINGS.c.day_ms == day, TAKINGS.c.task == task, TAKINGS.c.bus == bus)
        named = dict(zip(AMOUNTS, amounts, strict=True))
        more = {name: TAKINGS.c[name] + amount for name, amount in named.items()}
        if not connection.execute(update(TAKINGS).where(here).values(more)).rowcount:
            connection.execute(insert(TAKINGS).values(day_ms=day, task=task, bus=bus, **named))


def read(connection: Connection) -> list[Row]:
    """Oldest day first."""
    chosen = select(TAKINGS).order_by(TAKINGS.c.day_ms, TAKINGS.c.task, TAKINGS.c.bus)
    return [
        (row.day_ms, bytes(row.task), row.bus, tuple(int(getattr(row, name)) for name in AMOUNTS))
        for row in connection.execute(chosen)
    ]
