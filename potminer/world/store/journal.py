"""Small durable words: the machines' journal, peers' addresses, facts. Each function runs inside a transaction.

The journal is sealed: a sum over all its rows is written in every commit that changes one. A row that
a disk lost, kept from before or wrote over another is seen when the journal is read; a node that
does not know all it signed must not sign.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from potminer.base.digest import Domain, digest
from potminer.base.errors import ConfigError
from potminer.world.store.rows import remove_rows, replace_rows
from potminer.world.store.tables import ADDRESSES, FACTS, JOURNAL, META, STATEMENTS

FACT_ROWS: Final = 100_000
"""Weeks of an ordinary node's story, about 20 MiB."""
ADDRESS_ROWS: Final = 2_048
STATEMENT_HEIGHTS: Final = 1_000
"""At most 31 x 4 view changes and 16 new views of each, some 100 KiB; next to nothing while all goes well."""
SEAL: Final = "journal"
SEALS: Final = 2**63
"""Sums are taken modulo this, as the column holds them. A disk's faults are no forger's."""

Entry = tuple[bytes, bytes | None]
Fact = tuple[int, str, str]
"""(time_ms, kind, JSON)."""


def write(connection: Connection, entries: Iterable[Entry]) -> None:
    """Set or forget (None) each key; the last of a key wins."""
    final = dict(entries)
    if not final:
        return
    gone = _sum(_rows(connection, list(final)))
    came = _sum((key, value) for key, value in final.items() if value is not None)
    seal = _seal(connection)
    replace_rows(connection, META, [(SEAL, (seal - gone + came) % SEALS)])
    replace_rows(connection, JOURNAL, [(key, value) for key, value in final.items() if value is not None])
    remove_rows(connection, JOURNAL, [key for key, value in final.items() if value is None])


def forget(connection: Connection, keys: Iterable[bytes]) -> None:
    write(connection, [(key, None) for key in keys])


def read(connection: Connection) -> dict[bytes, bytes]:
    """All of it; ConfigError where it is not what was written."""
    rows = {row.key: row.value for row in connection.execute(select(JOURNAL).order_by(JOURNAL.c.key))}
    if _sum(rows.items()) != _seal(connection):
        raise ConfigError(
            "the journal is not what was written: this disk lost or misplaced a record",
            "What this node signed is not known any more, and signing twice costs its bond. Replace the disk; "
            "move the data folder away only once no vote of this node can still be open.",
        )
    return rows


def _seal(connection: Connection) -> int:
    """The sum that the last commit wrote; that of all rows where a journal was never sealed."""
    found = connection.execute(select(META.c.value).where(META.c.name == SEAL)).scalar_one_or_none()
    if found is not None:
        return int(found)
    return _sum((row.key, row.value) for row in connection.execute(select(JOURNAL)))


def _rows(connection: Connection, keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    found = []
    for key in keys:
        value = connection.execute(select(JOURNAL.c.value).where(JOURNAL.c.key == key)).scalar_one_or_none()
        if value is not None:
            found.append((key, value))
    return found


def _sum(rows: Iterable[tuple[bytes, bytes]]) -> int:
    """Of one number per row, so that it follows from the old sum and what changes."""
    return sum(int.from_bytes(digest(Domain.RECORD, key, value)[:8], "big") for key, value in rows) % SEALS


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
