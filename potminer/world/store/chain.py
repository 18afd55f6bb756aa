"""Blocks, the ledger's state and receipts. Each function runs inside a transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from potminer.world.store import takings
from potminer.world.store.journal import Fact, forget, write_facts
from potminer.world.store.rows import remove_rows, replace_rows
from potminer.world.store.tables import BLOCKS, LEDGER, META, PROOFS, RECEIPTS
from potminer.world.store.takings import Row


@dataclass(frozen=True, slots=True)
class Head:
    """The last stored block; *state_root* is the root after it."""

    height: int
    digest: bytes
    state_root: bytes
    time_ms: int


@dataclass(frozen=True, slots=True)
class Applied:
    """One block and everything it changed: stored whole or not at all.

    The first record of a store is the genesis: height 0, empty block and certificate, and
    the whole initial state as *changes*. *receipts* are (transaction digest, position in the
    block, code, detail). *journal_forget* are journal keys that the block makes pointless,
    *facts* what happened in it, for people; *takings* what this rig earned by it. *proofs* are (kind, number, value),
    found again by kind and number.
    *rules* is said once, with the genesis: the version of the ledger's rules.
    """

    height: int
    digest: bytes
    state_root: bytes
    time_ms: int
    block: bytes
    certificate: bytes
    changes: Sequence[tuple[bytes, bytes | None]] = ()
    receipts: Sequence[tuple[bytes, int, str, str]] = ()
    journal_forget: Sequence[bytes] = ()
    facts: Sequence[Fact] = ()
    takings: Sequence[Row] = ()
    proofs: Sequence[tuple[str, int, bytes]] = ()
    rules: int = 0


def append(connection: Connection, record: Applied) -> None:
    """AssertionError where *record* does not follow the head: somebody skipped a block."""
    last = head(connection)
    expected = 0 if last is None else last.height + 1
    if record.height != expected:
        raise AssertionError(f"block {record.height} stored where block {expected} is due")
    connection.execute(
        insert(BLOCKS).values(
            height=record.height,
            digest=record.digest,
            state_root=record.state_root,
            time_ms=record.time_ms,
            block=record.block,
            certificate=record.certificate,
        )
    )
    _write_state(connection, dict(record.changes))
    _write_receipts(connection, record)
    if record.proofs:
        rows = [{"kind": kind, "number": number, "value": value} for kind, number, value in record.proofs]
        connection.execute(insert(PROOFS), rows)
    if last is None:
        connection.execute(insert(META).values(name="rules", value=record.rules))
    forget(connection, record.journal_forget)
    takings.add(connection, record.takings)
    if record.facts:
        write_facts(connection, tuple(record.facts))


def head(connection: Connection) -> Head | None:
    columns = (BLOCKS.c.height, BLOCKS.c.digest, BLOCKS.c.state_root, BLOCKS.c.time_ms)
    row = connection.execute(select(*columns).order_by(BLOCKS.c.height.desc()).limit(1)).one_or_none()
    return None if row is None else Head(row.height, row.digest, row.state_root, row.time_ms)


def genesis_digest(connection: Connection) -> bytes | None:
    return connection.execute(select(BLOCKS.c.digest).where(BLOCKS.c.height == 0)).scalar_one_or_none()


def rules(connection: Connection) -> int | None:
    return connection.execute(select(META.c.value).where(META.c.name == "rules")).scalar_one_or_none()


def read_proof(connection: Connection, kind: str, number: int) -> bytes | None:
    chosen = select(PROOFS.c.value).where(PROOFS.c.kind == kind, PROOFS.c.number == number)
    return connection.execute(chosen).scalar_one_or_none()


def digests(connection: Connection) -> dict[int, bytes]:
    return {row.height: row.digest for row in connection.execute(select(BLOCKS.c.height, BLOCKS.c.digest))}


def read_certificate(connection: Connection, height: int) -> bytes | None:
    chosen = select(BLOCKS.c.certificate).where(BLOCKS.c.height == height, BLOCKS.c.height > 0)
    return connection.execute(chosen).scalar_one_or_none()


def read_proofs(connection: Connection, kind: str) -> list[bytes]:
    """Everything of *kind*, by number."""
    chosen = select(PROOFS.c.value).where(PROOFS.c.kind == kind).order_by(PROOFS.c.number)
    return list(connection.execute(chosen).scalars())


def state_roots(connection: Connection) -> dict[int, bytes]:
    """Root after every stored block, by height."""
    return {row.height: row.state_root for row in connection.execute(select(BLOCKS.c.height, BLOCKS.c.state_root))}


def read_state(connection: Connection) -> dict[bytes, bytes]:
    return {row.key: row.value for row in connection.execute(select(LEDGER).order_by(LEDGER.c.key))}


def read_blocks(connection: Connection, first: int, count: int, max_bytes: int) -> list[tuple[bytes, bytes]]:
    """Up to *count* (block, certificate) from *first*, within *max_bytes* but at least one.

    The genesis is no block and is never among them. Nothing where the first of them was let go.
    """
    first, last = max(first, 1), first + count - 1
    columns = (BLOCKS.c.height, BLOCKS.c.block, BLOCKS.c.certificate)
    chosen = select(*columns).where(BLOCKS.c.height.between(first, last))
    found: list[tuple[bytes, bytes]] = []
    size = 0
    with connection.execute(chosen.order_by(BLOCKS.c.height)) as rows:
        for height, block, certificate in rows:
            size += len(block) + len(certificate)
            if height != first + len(found) or not block or (found and size > max_bytes):
                break
            found.append((block, certificate))
    return found


def read_receipt(connection: Connection, tx_digest: bytes) -> tuple[int, int, str, str] | None:
    """(height, position, code, detail) of a transaction's latest inclusion."""
    row = connection.execute(select(RECEIPTS).where(RECEIPTS.c.tx_digest == tx_digest)).one_or_none()
    return None if row is None else (row.height, row.position, row.code, row.detail)


def _write_state(connection: Connection, changes: Mapping[bytes, bytes | None]) -> None:
    replace_rows(connection, LEDGER, [(key, value) for key, value in changes.items() if value is not None])
    remove_rows(connection, LEDGER, [key for key, value in changes.items() if value is None])


def _write_receipts(connection: Connection, record: Applied) -> None:
    """A refused transaction may come again in a later block: its newest receipt is the one kept. They are written in
    the order in which they lie, so that each page of the table is touched once."""
    rows = {
        digest: (digest, record.height, position, code, detail) for digest, position, code, detail in record.receipts
    }
    replace_rows(connection, RECEIPTS, [rows[digest] for digest in sorted(rows)])
