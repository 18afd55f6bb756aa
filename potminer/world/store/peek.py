"""What a store in a file says of itself: nothing is lifted, locked for long or written."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from potminer.base.errors import ConfigError
from potminer.world.store.migrate import VERSION
from potminer.world.store.tables import JOURNAL, META, SCHEMA

BUSY_S = 2.0


@dataclass(frozen=True, slots=True)
class Told:
    """*newer*: a later potminer wrote it. *rules*: of the ledger, None where no chain is stored yet. *noted*: what its
    journal says under the key that was asked for."""

    newer: bool
    rules: int | None
    noted: bytes | None


def peek(path: Path, note: bytes) -> Told:
    """Of the store at *path*, and what is noted under *note*; ConfigError where it is none, or damaged."""
    engine = create_engine(
        "sqlite://", poolclass=NullPool,
        creator=lambda: sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_S),
    )
    try:
        with engine.connect() as connection:
            if SCHEMA.name not in inspect(connection).get_table_names():
                raise ConfigError(f"{path} is a database, but not a potminer store", "Point the data folder elsewhere.")
            version = connection.execute(select(SCHEMA.c.version)).scalar_one_or_none()
            if version is not None and version > VERSION:
                return Told(True, None, None)
            rules = connection.execute(select(META.c.value).where(META.c.name == "rules")).scalar_one_or_none()
            noted = connection.execute(select(JOURNAL.c.value).where(JOURNAL.c.key == note)).scalar_one_or_none()
    except DBAPIError as error:
        hint = "Move it away: the node fetches the chain again from its peers."
        raise ConfigError(f"{path} cannot be read: {str(error.orig)[:200]}", hint) from error
    finally:
        engine.dispose()
    return Told(False, rules, noted)
