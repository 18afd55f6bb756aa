"""Schema versions: a new file is laid out, an old one is lifted, a newer or foreign one is left alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import Connection, inspect, select

from potminer.base.errors import ConfigError
from potminer.world.store.tables import CHUNKS, META, METADATA, PROOFS, SCHEMA, SNAPSHOTS, STATEMENTS, TAKINGS

VERSION: Final = 4


def _add_proofs(connection: Connection) -> None:
    """Version 1 knew one set of rules and said nothing of them."""
    METADATA.create_all(connection, tables=[META, PROOFS, STATEMENTS])
    connection.execute(META.insert().values(name="rules", value=1))


def _add_takings(connection: Connection) -> None:
    """Empty: the node fills it once from the facts that are kept."""
    METADATA.create_all(connection, tables=[TAKINGS])


def _add_snapshots(connection: Connection) -> None:
    """Empty: the next checkpoint makes one."""
    METADATA.create_all(connection, tables=[SNAPSHOTS, CHUNKS])


STEPS: Final[Mapping[int, Callable[[Connection], None]]] = {1: _add_proofs, 2: _add_takings, 3: _add_snapshots}
"""``STEPS[n]`` lifts a store of version n to n + 1, inside the caller's transaction."""


def migrate(connection: Connection, where: str) -> None:
    """Bring the store behind *connection* to VERSION; ConfigError where that cannot be."""
    present = set(inspect(connection).get_table_names())
    if not present:
        METADATA.create_all(connection)
        connection.execute(SCHEMA.insert().values(version=VERSION))
        return
    if SCHEMA.name not in present:
        raise ConfigError(
            f"{where} is a database, but not a potminer store",
            "Point the data folder elsewhere; potminer does not write into other programs' files.",
        )
    _lift(connection, where)
    missing = set(METADATA.tables) - set(inspect(connection).get_table_names())
    if missing:
        raise ConfigError(
            f"{where} lacks the tables {', '.join(sorted(missing))}",
            "Move it away: the node fetches the chain again from its peers.",
        )


def _lift(connection: Connection, where: str) -> None:
    version = connection.execute(select(SCHEMA.c.version)).scalar_one_or_none()
    if version is None or version < 1:
        raise ConfigError(f"{where} does not say its schema version", "Move it away: the node fetches the chain again.")
    if version > VERSION:
        raise ConfigError(
            f"{where} was written by a newer potminer (schema {version}, this one knows {VERSION})",
            "Upgrade potminer, or use another data folder.",
        )
    for step in range(version, VERSION):
        STEPS[step](connection)
    if version < VERSION:
        connection.execute(SCHEMA.update().values(version=VERSION))
