"""What a node offers to its faces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from potminer.wire.answers import (
    ChainStatus,
    DayView,
    EarningsDetail,
    HandedIn,
    LogLevel,
    LogTail,
    NetworkView,
    SettingsView,
)
from potminer.wire.control import (
    AccountView,
    Command,
    ReceiptView,
    Snapshot,
    TaskDetail,
    TaskView,
    UnitOutcome,
    Until,
)
from potminer.wire.proof import Epochs, Headers, Shown
from potminer.wire.tx import SignedTransaction


class ChainBackend(Protocol):
    """What clients check themselves."""

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        """Hand a transaction to the mempool and gossip, and wait up to *wait_ms* for what *until* says."""
        ...

    async def submit_all(self, transactions: Sequence[SignedTransaction]) -> HandedIn:
        """Hand many to the mempool and gossip; none waits for another."""
        ...

    async def receipt(self, transaction: bytes, *, wait_ms: int, until: Until) -> ReceiptView | None:
        """What became of the transaction of that digest, with its proof; None: never heard of it."""
        ...

    async def genesis(self) -> bytes:
        """Canonical bytes of the Genesis."""
        ...

    async def chain(self) -> ChainStatus: ...

    async def headers(self, first: int, count: int) -> Headers:
        """Certified headers from *first* on, at most *count*."""
        ...

    async def epochs(self, first: int, count: int) -> Epochs:
        """Steps from committee to committee, at most *count*, from epoch *first* on."""
        ...

    async def model(self, task: bytes, round: int) -> Shown | None:
        """Proof of a task's record as it was when *round* rounds had closed; None where none is kept."""
        ...

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        """Proofs of records after block *height*, None for the newest; UsageError where it is too long ago."""
        ...


class Backend(ChainBackend, Protocol):
    """Implemented by the node. A PotminerError raised here reaches the face as a typed refusal."""

    async def snapshot(self) -> Snapshot:
        """The newest photograph."""
        ...

    def watch(self) -> AsyncIterator[Snapshot]:
        """The newest photograph at once, then newer ones: at most 4 a second, newest wins."""
        ...

    async def command(self, command: Command) -> None:
        """Take a letter; returns when it is accepted, not when it is done."""
        ...

    async def account(self, key: bytes) -> AccountView:
        """The account of a public key; one that was never used is all zeros."""
        ...

    async def tasks(self) -> tuple[TaskView, ...]:
        """Open tasks and the newest closed ones, newest first."""
        ...

    async def task(self, task: bytes) -> TaskDetail | None: ...

    async def units(self, task: bytes | None, last: int) -> tuple[UnitOutcome, ...]:
        """This rig's *last* units, newest first, of one task or of all."""
        ...

    async def unit(self, task: bytes, *, round: int, slot: int) -> UnitOutcome | None:
        """Anybody's unit."""
        ...

    async def network(self) -> NetworkView:
        """Links, committee, and how long recent blocks took."""
        ...

    async def earnings(self, units: int) -> EarningsDetail:
        """Days, tasks and this rig's newest *units*."""
        ...

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        """The newest *last* lines numbered above *after*, of *level* and graver."""
        ...

    async def settings(self) -> SettingsView: ...

    async def day(self) -> DayView: ...

    async def put_blob(self, chunks: AsyncIterator[bytes]) -> bytes:
        """Store a stream as a blob; its id."""
        ...

    async def blob_path(self, blob: bytes) -> Path | None:
        """Where a blob that is here whole lies."""
        ...
