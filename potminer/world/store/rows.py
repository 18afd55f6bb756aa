"""Rows by the thousand: what every block writes, without a statement's ceremony for each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, and_, bindparam, delete, insert


def replace_rows(connection: Connection, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert *rows*, values in the order of the columns; one that has the primary key of an old one takes its place."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(table.columns))
        connection.exec_driver_sql(f"INSERT OR REPLACE INTO {table.name} VALUES ({places})", list(rows))
        return
    names = [column.name for column in table.columns]
    mapped = [dict(zip(names, row, strict=True)) for row in rows]
    final = list({tuple(row[column.name] for column in table.primary_key): row for row in mapped}.values())
    same = and_(*(column == bindparam(f"old_{column.name}") for column in table.primary_key))
    olds = [{f"old_{column.name}": row[column.name] for column in table.primary_key} for row in final]
    connection.execute(delete(table).where(same), olds)
    connection.execute(insert(table), final)


def remove_rows(connection: Connection, table: Table, keys: Sequence[object]) -> None:
    """Remove the rows with these primary keys, the tables' first columns."""
    if not keys:
        return
    first = table.columns[0]
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"DELETE FROM {table.name} WHERE {first.name} = ?", [(key,) for key in keys])
        return
    connection.execute(delete(table).where(first == bindparam("gone")), [{"gone": key} for key in keys])
