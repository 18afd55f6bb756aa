"""Snapshots of the ledger's state in chunks, the one being fetched, and blocks that are let go. Each function runs
inside a transaction.

Chunks are kept under the digest of their subtree: what did not change between two snapshots is kept once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, func, insert, select

from potminer.base.errors import ConfigError
from potminer.wire.codec import decode
from potminer.wire.leap import CHUNK_MESSAGE_BYTES, Items
from potminer.world.store.rows import remove_rows, replace_rows
from potminer.world.store.tables import BLOCKS, CHUNKS, LEDGER, PROOFS, RECEIPTS, SNAPSHOTS

KEPT: Final = 2
"""The newest two: whoever began to fetch the older one can finish."""
OWN: Final = "own"
TARGET: Final = "target"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after block *height*, as the next header proves it. *digests* are its chunks' in their order."""

    height: int
    certified: bytes
    depths: bytes
    digests: bytes

    def chunks(self) -> list[bytes]:
        return [self.digests[at : at + 32] for at in range(0, len(self.digests), 32)]


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a leap ends: the *snapshot*, its block's *digest*, root and time; *proofs* as in ``Applied``."""

    snapshot: Snapshot
    digest: bytes
    state_root: bytes
    time_ms: int
    proofs: Sequence[tuple[str, int, bytes]]


def keep_chunk(connection: Connection, digest: bytes, body: bytes) -> None:
    if connection.execute(select(CHUNKS.c.digest).where(CHUNKS.c.digest == digest)).first() is None:
        connection.execute(insert(CHUNKS).values(digest=digest, body=body))


def keep(connection: Connection, snapshot: Snapshot, empty: bytes) -> bool:
    """A snapshot of our own; older ones but KEPT go, and chunks that nothing names. False, and nothing is done, where
    not all of its chunks are kept: a leap may have swept them away. *empty* is the digest of one without records."""
    held = set(map(bytes, connection.execute(select(CHUNKS.c.digest)).scalars()))
    if not held.issuperset(digest for digest in snapshot.chunks() if digest != empty):
        return False
    _write(connection, OWN, snapshot)
    for old in own(connection)[:-KEPT]:
        _drop(connection, OWN, old.height)
    _sweep(connection)
    return True


def own(connection: Connection) -> list[Snapshot]:
    """Oldest first."""
    return _read(connection, OWN)


def aim(connection: Connection, snapshot: Snapshot) -> None:
    """What is being fetched from now on. Chunks of what was given up go; a snapshot that is being made meanwhile
    may lose some of its own, and is then not kept."""
    give_up(connection)
    _write(connection, TARGET, snapshot)
    _sweep(connection)


def give_up(connection: Connection) -> None:
    """Its chunks are swept with those of the next snapshot that is kept."""
    for old in _read(connection, TARGET):
        _drop(connection, TARGET, old.height)


def target(connection: Connection) -> tuple[Snapshot, dict[bytes, bytes]] | None:
    """What was being fetched, with those of its chunks that came."""
    found = _read(connection, TARGET)
    if not found:
        return None
    chunks = {digest: read_chunk(connection, digest) for digest in found[0].chunks()}
    return found[0], {digest: body for digest, body in chunks.items() if body is not None}


def read_chunk(connection: Connection, digest: bytes) -> bytes | None:
    return connection.execute(select(CHUNKS.c.body).where(CHUNKS.c.digest == digest)).scalar_one_or_none()


def land(connection: Connection, landing: Landing, empty: bytes) -> None:
    """The ledger is the snapshot's, and the head its block, of which nothing else is known. Blocks before it are
    let go: they no longer lead anywhere. *empty* is the digest of chunks without records."""
    snapshot = landing.snapshot
    connection.execute(delete(LEDGER))
    for digest in snapshot.chunks():
        if digest == empty:
            continue
        body = read_chunk(connection, digest)
        if body is None:
            raise ConfigError("a chunk of the snapshot is gone from the disk", "Check the disk; start the node again.")
        replace_rows(connection, LEDGER, list(decode(Items, body, max_bytes=CHUNK_MESSAGE_BYTES)))
    connection.execute(delete(BLOCKS).where(BLOCKS.c.height > 0))
    row = {"digest": landing.digest, "state_root": landing.state_root, "time_ms": landing.time_ms}
    connection.execute(insert(BLOCKS).values(height=snapshot.height, **row, block=b"", certificate=b""))
    replace_rows(connection, PROOFS, list(landing.proofs))
    give_up(connection)
    keep(connection, snapshot, empty)


def lowest(connection: Connection) -> int:
    """The first block that is kept; one above the head where none is."""
    held = BLOCKS.c.height > 0
    found = connection.execute(select(func.min(BLOCKS.c.height)).where(held, func.length(BLOCKS.c.block) > 0)).scalar()
    if found is not None:
        return int(found)
    return int(connection.execute(select(func.max(BLOCKS.c.height))).scalar() or 0) + 1


def prune(connection: Connection, below: int, most: int, outcomes: str) -> int:
    """Let up to *most* blocks below *below* go, the oldest first, with what proved their *outcomes*; how many."""
    chosen = select(BLOCKS.c.height).where(BLOCKS.c.height > 0, BLOCKS.c.height < below)
    heights = list(connection.execute(chosen.order_by(BLOCKS.c.height).limit(most)).scalars())
    if heights:
        remove_rows(connection, BLOCKS, heights)
        between = PROOFS.c.number.between(heights[0], heights[-1])
        connection.execute(delete(PROOFS).where(PROOFS.c.kind == outcomes, between))
    return len(heights)


def forget(connection: Connection, below: int, headers: str, series: str, most: int) -> None:
    """Let go what pruned blocks left behind: receipts and proofs of kind *headers* of heights below *below*, and of
    every kind that begins with *series* all but the *most* newest."""
    connection.execute(delete(RECEIPTS).where(RECEIPTS.c.height < below))
    connection.execute(delete(PROOFS).where(PROOFS.c.kind == headers, PROOFS.c.number < below))
    newest = select(PROOFS.c.kind, func.max(PROOFS.c.number)).where(PROOFS.c.kind.startswith(series))
    for kind, number in connection.execute(newest.group_by(PROOFS.c.kind)).all():
        connection.execute(delete(PROOFS).where(PROOFS.c.kind == kind, PROOFS.c.number <= number - most))


def _read(connection: Connection, role: str) -> list[Snapshot]:
    rows = connection.execute(select(SNAPSHOTS).where(SNAPSHOTS.c.role == role).order_by(SNAPSHOTS.c.height))
    return [Snapshot(row.height, bytes(row.certified), bytes(row.depths), bytes(row.digests)) for row in rows]


def _write(connection: Connection, role: str, snapshot: Snapshot) -> None:
    row = (role, snapshot.height, snapshot.certified, snapshot.depths, snapshot.digests)
    replace_rows(connection, SNAPSHOTS, [row])


def _drop(connection: Connection, role: str, height: int) -> None:
    connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.role == role, SNAPSHOTS.c.height == height))


def _sweep(connection: Connection) -> None:
    """Chunks that no snapshot names any more."""
    named = {digest for role in (OWN, TARGET) for each in _read(connection, role) for digest in each.chunks()}
    held = connection.execute(select(CHUNKS.c.digest)).scalars()
    remove_rows(connection, CHUNKS, [digest for digest in map(bytes, held) if digest not in named])
