"""The tables of schema version 4. A change here is a new version and a step in migrate.py."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

METADATA = MetaData()

SCHEMA = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))

BLOCKS = Table(
    "blocks",
    METADATA,
    Column("height", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("state_root", LargeBinary(32), nullable=False),
    Column("time_ms", BigInteger, nullable=False),
    Column("block", LargeBinary, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
)
"""Height 0 is the genesis: a state without a block, so its block and certificate are empty."""

LEDGER = Table(
    "ledger",
    METADATA,
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""The state after the last block: written in the transaction that writes the block."""

META = Table(
    "meta",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""What the chain needs to be read: ``rules`` is the version of the ledger's rules that it was made by."""

PROOFS = Table(
    "proofs",
    METADATA,
    Column("kind", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("value", LargeBinary, nullable=False),
)
"""What only one past state could prove, kept for those who ask later: by height, or by round of a task."""

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("role", String(8), primary_key=True),
    Column("height", BigInteger, primary_key=True, autoincrement=False),
    Column("certified", LargeBinary, nullable=False),
    Column("depths", LargeBinary, nullable=False),
    Column("digests", LargeBinary, nullable=False),
)
"""The state after a checkpoint, cut into chunks: our own newest two, and the one that is being fetched."""

CHUNKS = Table(
    "chunks",
    METADATA,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)

STATEMENTS = Table(
    "statements",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("height", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("body", LargeBinary, nullable=False),
    Index("statements_by_height", "height"),
)
"""What replicas signed at heights where agreement took more than one view: who broke it, if anybody did."""

RECEIPTS = Table(
    "receipts",
    METADATA,
    Column("tx_digest", LargeBinary(32), primary_key=True),
    Column("height", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("code", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    sqlite_with_rowid=False,
)

JOURNAL = Table(
    "journal",
    METADATA,
    Column("key", LargeBinary, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""What a machine asked to be made durable before it spoke."""

TAKINGS = Table(
    "takings",
    METADATA,
    Column("day_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("task", LargeBinary(32), primary_key=True),
    Column("bus", String(40), primary_key=True),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("earned", "released", "kept", "lost", "forfeited", "accepted", "refused", "by_units")
    ),
)
"""What this rig earned: sums, written in the transaction that writes the block."""

ADDRESSES = Table(
    "addresses",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
)

FACTS = Table(
    "facts",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Index("facts_by_kind", "kind", "number"),
)
