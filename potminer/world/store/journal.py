"""Small durable words: the machines' journal, peers' addresses, facts. Each function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from potminer.world.store.rows import remove_rows, replace_rows
from potminer.world.store.tables import ADDRESSES, FACTS, JOURNAL, STATEMENTS

FACT_ROWS: Final = 100_000
"""Weeks of an ordinary node's story, about 20 MiB."""
ADDRESS_ROWS: Final = 2_048
STATEMENT_HEIGHTS: Final = 1_000
"""At most 31 x 4 view changes and 16 new views of each, some 100 KiB; next to nothing while all goes well."""

Entry = tuple[bytes, bytes | None]
Fact = tuple[int, str, str]
"""(time_ms, kind, JSON)."""


def write(connection: Connection, entries: Iterable[Entry]) -> None:
    """Set or forget (None) each key; the last of a key wins."""
    final = dict(entries)
    replace_rows(connection, JOURNAL, [(key, value) for key, value in final.items() if value is not None])
    remove_rows(connection, JOURNAL, [key for key, value in final.items() if value is None])


def forget(connection: Connection, keys: Iterable[bytes]) -> None:
    remove_rows(connection, JOURNAL, list(keys))


def read(connection: Connection) -> dict[bytes, bytes]:
    return {row.key: row.value for row in connection.execute(select(JOURNAL).order_by(JOURNAL.c.key))}


def write_addresses(connection: Connection, records: Sequence[bytes]) -> None:
    """Replace the saved addresses by the first ADDRESS_ROWS of *records*."""
    connection.execute(delete(ADDRESSES))
    rows = [{"position": n, "record": record} for n, record in enumerate(records[:ADDRESS_ROWS])]
    if rows:
        connection.execute(insert(ADDRESSES), rows)


def read_addresses(connection: Connection) -> list[bytes]:
    return list(connection.execute(select(ADDRESSES.c.record).order_by(ADDRESSES.c.position)).scalars())


def write_facts(connection: Connection, facts: Sequence[Fact]) -> None:
    """Append, and drop the oldest beyond FACT_ROWS."""
    rows = [{"time_ms": time_ms, "kind": kind, "body": body} for time_ms, kind, body in facts[-FACT_ROWS:]]
    if not rows:
        return
    connection.execute(insert(FACTS), rows)
    newest = connection.execute(select(func.max(FACTS.c.number))).scalar_one()
    connection.execute(delete(FACTS).where(FACTS.c.number <= newest - FACT_ROWS))


def write_statement(connection: Connection, height: int, digest: bytes, body: bytes) -> None:
    """Keep what was signed at *height*, once; of the newest STATEMENT_HEIGHTS heights that have any."""
    if connection.execute(select(STATEMENTS.c.number).where(STATEMENTS.c.digest == digest)).first() is not None:
        return
    connection.execute(insert(STATEMENTS).values(height=height, digest=digest, body=body))
    oldest = select(STATEMENTS.c.height).distinct().order_by(STATEMENTS.c.height.desc()).offset(STATEMENT_HEIGHTS - 1)
    last = connection.execute(oldest.limit(1)).scalar_one_or_none()
    if last is not None:
        connection.execute(delete(STATEMENTS).where(STATEMENTS.c.height < last))


def read_statements(connection: Connection) -> list[tuple[int, bytes]]:
    """(height, body), in the order in which they were heard."""
    rows = connection.execute(select(STATEMENTS.c.height, STATEMENTS.c.body).order_by(STATEMENTS.c.number))
    return [(row.height, row.body) for row in rows]


def read_facts(connection: Connection, last: int) -> list[Fact]:
    """The newest *last* facts, oldest of them first."""
    chosen = select(FACTS).order_by(FACTS.c.number.desc()).limit(last)
    return [(row.time_ms, row.kind, row.body) for row in reversed(connection.execute(chosen).all())]
