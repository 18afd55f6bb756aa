"""The store: one database, one connection, one thread.

SQLite runs in WAL mode with synchronous=FULL (a commit survives a power cut) and holds the
file exclusively: a second process is told so. Every failure of disk or file is a
PotminerError; what failed to be written was not written at all.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from potminer.base.errors import AlreadyRunning, ConfigError, PotminerError
from potminer.world.store import chain, journal, snapshots, takings
from potminer.world.store.chain import Applied, Head
from potminer.world.store.journal import Entry, Fact
from potminer.world.store.migrate import migrate
from potminer.world.store.snapshots import Landing, Snapshot
from potminer.world.store.takings import Row

T = TypeVar("T")

BUSY_MS: Final = 1_000
"""How long another process may take to let go of the file."""


WAL_PAGES: Final = 4_000
"""Sixteen MiB of log before it is written into the database. A block of some hundred transactions changes as many
pages, so at SQLite's thousand every second block would be written twice at once."""

CACHE_KIB: Final = 8_192
"""What a large block changes fits; in SQLite's two MiB it is written out and read back while it is being changed."""


class StoreError(PotminerError):
    """The disk or the database refused. Nothing of the failed call was written."""


class Damaged(ConfigError):
    """The file is not what was written to it. Nothing in it can be trusted any more, what a replica signed included."""


class Store:
    """Open with ``Store.open``. Calls may overlap; they are executed one after another."""

    def __init__(self, engine: Engine, thread: ThreadPoolExecutor, connection: Connection, where: str) -> None:
        self._engine, self._thread, self._connection, self._where = engine, thread, connection, where
        self._unwritten: list[tuple[tuple[Entry, ...], asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._damage: asyncio.Future[Damaged] = asyncio.get_running_loop().create_future()

    @staticmethod
    @asynccontextmanager
    async def open(where: Path | str, *, rules: int | None = None) -> AsyncIterator[Store]:
        """The store at a file's path, or at an SQLAlchemy URL. *rules*: the only version of the ledger's rules that
        its chain may be of; a store of others is left as it is.

        ConfigError: not a potminer store, damaged, of a newer version or other rules. AlreadyRunning: another
        process holds it. StoreError: the disk refuses.
        """
        engine, said = _engine(where)
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        loop = asyncio.get_running_loop()
        try:
            connection = await loop.run_in_executor(thread, _connect, engine, said, rules)
            store = Store(engine, thread, connection, said)
            try:
                yield store
            finally:
                await store._close()
        finally:
            thread.shutdown()

    async def until_damaged(self) -> None:
        """Raises Damaged once any call has met damage, whoever made it; until then it only waits."""
        raise await asyncio.shield(self._damage)

    # ---- chain ---------------------------------------------------------------------------

    async def head(self) -> Head | None:
        return await self._run(chain.head)

    async def genesis_digest(self) -> bytes | None:
        """What the chain grew from; None where nothing is stored yet."""
        return await self._run(chain.genesis_digest)

    async def rules(self) -> int | None:
        """Version of the ledger's rules that the chain was made by; None where nothing is stored yet."""
        return await self._run(chain.rules)

    async def digests(self) -> dict[int, bytes]:
        """Digest of every stored block, by height; of the genesis at 0."""
        return await self._run(chain.digests)

    async def certificate(self, height: int) -> bytes | None:
        return await self._run(chain.read_certificate, height)

    async def state_roots(self) -> dict[int, bytes]:
        return await self._run(chain.state_roots)

    async def append(self, record: Applied) -> None:
        """One transaction; durable on return."""
        await self._run(chain.append, record)

    async def load_state(self) -> dict[bytes, bytes]:
        """The ledger after the head."""
        return await self._run(chain.read_state)

    async def blocks(self, first: int, count: int, max_bytes: int) -> list[tuple[bytes, bytes]]:
        """(block, certificate) from *first* on: at most *count*, at most *max_bytes* but at least one."""
        return await self._run(chain.read_blocks, first, count, max_bytes)

    async def receipt(self, tx_digest: bytes) -> tuple[int, int, str, str] | None:
        """(height, position in the block, code, detail), or None where no block holds it."""
        return await self._run(chain.read_receipt, tx_digest)

    async def proof(self, kind: str, number: int) -> bytes | None:
        """What was stored with a block to prove it later."""
        return await self._run(chain.read_proof, kind, number)

    async def proofs(self, kind: str) -> list[bytes]:
        """Everything of *kind* that was stored with blocks, by number."""
        return await self._run(chain.read_proofs, kind)

    # ---- snapshots and pruning -----------------------------------------------------------

    async def keep_chunk(self, digest: bytes, body: bytes) -> None:
        """One chunk of a snapshot, ours or another's. It stays once a snapshot names it."""
        await self._run(snapshots.keep_chunk, digest, body)

    async def keep_snapshot(self, snapshot: Snapshot, empty: bytes) -> bool:
        """A whole one of our own; only the newest few stay. False where not all of its chunks are kept."""
        return await self._run(snapshots.keep, snapshot, empty)

    async def snapshots(self) -> list[Snapshot]:
        """Our own, oldest first."""
        return await self._run(snapshots.own)

    async def chunk(self, digest: bytes) -> bytes | None:
        return await self._run(snapshots.read_chunk, digest)

    async def aim(self, snapshot: Snapshot) -> None:
        """Remember what is being fetched."""
        await self._run(snapshots.aim, snapshot)

    async def give_up(self) -> None:
        """What is being fetched is fetched no more."""
        await self._run(snapshots.give_up)

    async def target(self) -> tuple[Snapshot, dict[bytes, bytes]] | None:
        """What was being fetched, and its chunks at hand by digest."""
        return await self._run(snapshots.target)

    async def land(self, landing: Landing, empty: bytes) -> None:
        """One transaction: ledger and head are the snapshot's. Durable on return."""
        await self._run(snapshots.land, landing, empty)

    async def lowest(self) -> int:
        """Height of the first block that is kept; one above the head where none is."""
        return await self._run(snapshots.lowest)

    async def prune(self, below: int, most: int, outcomes: str) -> int:
        """Let up to *most* blocks below height *below* go; how many there were."""
        return await self._run(snapshots.prune, below, most, outcomes)

    async def forget(self, below: int, headers: str, series: str, most: int) -> None:
        """Receipts and proofs (kind *headers*) of blocks below height *below*, and of every *series* of proofs all
        but the *most* newest."""
        await self._run(snapshots.forget, below, headers, series, most)

    # ---- journal -------------------------------------------------------------------------

    async def persist(self, entries: Sequence[Entry]) -> None:
        """Durable on return. Calls that overlap share one commit, in the order they came."""
        if not entries:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unwritten.append((tuple(entries), done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_group())
        await done

    async def load_journal(self) -> dict[bytes, bytes]:
        return await self._run(journal.read)

    # ---- addresses and facts -------------------------------------------------------------

    async def save_addresses(self, records: Sequence[bytes]) -> None:
        await self._run(journal.write_addresses, tuple(records))

    async def load_addresses(self) -> list[bytes]:
        return await self._run(journal.read_addresses)

    async def keep_statement(self, height: int, digest: bytes, body: bytes) -> None:
        """Something signed at *height* that may one day be evidence; the same *digest* is kept once."""
        await self._run(journal.write_statement, height, digest, body)

    async def statements(self) -> list[tuple[int, bytes]]:
        """(height, body) of everything kept as evidence."""
        return await self._run(journal.read_statements)

    async def append_facts(self, facts: Sequence[Fact]) -> None:
        await self._run(journal.write_facts, tuple(facts))

    async def facts(self, last: int) -> list[Fact]:
        """The newest *last* facts, oldest of them first."""
        return await self._run(journal.read_facts, last)

    # ---- takings ---------------------------------------------------------------------------

    async def takings(self) -> list[Row]:
        """All that was added up so far."""
        return await self._run(takings.read)

    async def add_takings(self, rows: Sequence[Row]) -> None:
        """Outside a block: only to fill the table once from facts of an older version."""
        await self._run(takings.add, tuple(rows))

    # ---- the one thread ------------------------------------------------------------------

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._transact, work, arguments)
        except Damaged as damage:
            if not self._damage.done():
                self._damage.set_result(damage)
            raise

    def _transact(self, work: Callable[..., T], arguments: Sequence[Any]) -> T:
        try:
            with self._connection.begin():
                return work(self._connection, *arguments)
        except DBAPIError as error:
            raise _explain(error, self._where) from error

    async def _write_group(self) -> None:
        """Everything that waits goes into one commit; what arrives meanwhile into the next."""
        while self._unwritten:
            group, self._unwritten = self._unwritten, []
            commit = self._run(journal.write, [entry for entries, _ in group for entry in entries])
            [failure] = await asyncio.gather(commit, return_exceptions=True)
            for _, done in group:
                if done.cancelled():
                    continue
                if failure is None:
                    done.set_result(None)
                else:
                    done.set_exception(failure)
        self._writing = None

    async def _close(self) -> None:
        if self._writing is not None:
            await self._writing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)

    def _disconnect(self) -> None:
        self._connection.close()
        self._engine.dispose()


def _engine(where: Path | str) -> tuple[Engine, str]:
    """The database, and its name for people: without a password."""
    is_file = isinstance(where, Path) or "://" not in where
    try:
        url = URL.create("sqlite", database=str(where)) if is_file else make_url(str(where))
        engine = create_engine(url, poolclass=NullPool)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        hint = "PostgreSQL is postgresql+psycopg://HOST/DATABASE, with pip install 'potminer[postgres]'."
        raise ConfigError(f"the database cannot be opened: {error}", hint) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine, str(where) if is_file else url.render_as_string(hide_password=True)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite alone
    for pragma in (
        f"busy_timeout={BUSY_MS}", "locking_mode=EXCLUSIVE", "synchronous=FULL", "trusted_schema=OFF",
        f"wal_autocheckpoint={WAL_PAGES}", f"cache_size=-{CACHE_KIB}",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _connect(engine: Engine, where: str, rules: int | None) -> Connection:
    try:
        connection = engine.connect()
    except DBAPIError as error:
        raise _explain(error, where) from error
    try:
        with connection.begin():
            _hold(connection, where)
            migrate(connection, where)
            _check_rules(chain.rules(connection), rules, where)
        _write_ahead(connection)
    except DBAPIError as error:
        connection.close()
        raise _explain(error, where) from error
    except PotminerError:
        connection.close()
        raise
    return connection


def _check_rules(found: int | None, wanted: int | None, where: str) -> None:
    """Inside the transaction that lifted the store: a refusal undoes that too."""
    if None not in (found, wanted) and found != wanted:
        raise ConfigError(
            f"{where} holds a chain made under rules {found} of the ledger; this potminer applies rules {wanted}",
            "Keep the potminer that made it, or move the file away for a network of today. Keys are kept elsewhere.",
        )


def _hold(connection: Connection, where: str) -> None:
    """One node a database (on PostgreSQL: a schema), as SQLite's exclusive lock has it. It ends with the connection."""
    if connection.dialect.name == "postgresql":
        held = "SELECT pg_try_advisory_lock(hashtextextended('potminer/' || current_schema(), 0))"
        if not connection.exec_driver_sql(held).scalar_one():
            raise AlreadyRunning(f"another node holds {where}", "Give every rig a database or a schema of its own.")


def _write_ahead(connection: Connection) -> None:
    """WAL mode stays in the file, so it is set only once the file is known to be ours."""
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and driver is not None:
        driver.cursor().execute("PRAGMA journal_mode=WAL")


def _explain(error: DBAPIError, where: str) -> PotminerError:
    """What the operator can do about it."""
    name = getattr(error.orig, "sqlite_errorname", "")
    said = str(error.orig)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return AlreadyRunning(f"another process holds {where}", "Is a node already running on this data folder?")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return Damaged(
            f"{where} is damaged or not a potminer store ({said})",
            "Move it away: the node fetches the chain again from its peers. Keys are kept elsewhere.",
        )
    if name.startswith("SQLITE_FULL"):
        return StoreError(f"no room to write {where} ({said})", "Free disk space and start the node again.")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return StoreError(f"cannot write {where} ({said})", "Check that the folder exists and belongs to you.")
    said = said.strip().replace("\n", " ")[:300]
    return StoreError(f"the database at {where} failed ({said})", "Check the disk or its server; start the node again.")
