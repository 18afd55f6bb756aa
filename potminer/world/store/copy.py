"""A running node's store, read as it is at one moment.

The node holds its file alone, so nobody else can read it through SQLite. Whoever wants to judge it
copies the database and its log of writes (WAL) and opens the copy. The copy is whole where the database
did not change meanwhile: commits only append to the log, whose torn end SQLite leaves out by its sums; only
a checkpoint, which moves the log into the database, would tear it, and that is seen.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from potminer.base.errors import AlreadyRunning
from potminer.world.store.store import Store, StoreError

TRIES: Final = 20
PAUSE_S: Final = 0.25
SETTLED_NS: Final = 50_000_000
"""A file written less than this before we began may have been written after, as coarse as some clocks are."""
_WAL_HEADER_BYTES: Final = 32


@asynccontextmanager
async def open_for_reading(where: Path, *, rules: int | None = None) -> AsyncIterator[Store]:
    """The store at *where*; where a node holds it, a copy of it as it is now, which is gone afterwards.

    StoreError where there is no room for a copy, or the node wrote so much that no copy is whole.
    """
    with tempfile.TemporaryDirectory(prefix="potminer-") as folder:
        path = where
        try:
            async with Store.open(where, rules=rules):
                pass  # nobody holds it: it can be read where it lies
        except AlreadyRunning:
            path = Path(folder) / where.name
            await _copy(where, path)
        async with Store.open(path, rules=rules) as store:
            yield store


async def _copy(where: Path, to: Path) -> None:
    for _ in range(TRIES):
        if await asyncio.to_thread(_copied, where, to):
            return
        await asyncio.sleep(PAUSE_S)
    raise StoreError(f"the node that holds {where} writes too much for a copy", "Stop the node, then ask again.")


def _copied(where: Path, to: Path) -> bool:
    """One try; whether the copy is whole."""
    log = where.with_name(where.name + "-wal")
    try:
        size = where.stat().st_size + (log.stat().st_size if log.exists() else 0)
        if shutil.disk_usage(to.parent).free < 2 * size:
            hint = "Set TMPDIR to a disk with more room, or stop the node."
            raise StoreError(f"{to.parent} has no room for a copy of {where} ({size:,} bytes)", hint)
        before = _marks(where, log)
        if time.time_ns() - before[1] < SETTLED_NS:
            return False
        shutil.copyfile(where, to)
        if log.exists():
            shutil.copyfile(log, to.with_name(to.name + "-wal"))
        return before == _marks(where, log)
    except OSError as error:
        raise StoreError(f"{where} cannot be copied: {error.strerror or error}", "Check the disk.") from error


def _marks(where: Path, log: Path) -> tuple[int, int, bytes]:
    """Size and time of the database, and the log's header, whose salts change when the log begins anew."""
    found = where.stat()
    head = b""
    if log.exists():
        with log.open("rb") as file:
            head = file.read(_WAL_HEADER_BYTES)
    return found.st_size, found.st_mtime_ns, head
