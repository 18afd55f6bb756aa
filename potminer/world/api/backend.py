"""What a node offers to its faces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from potminer.wire.answers import DayView, EarningsDetail, LogLevel, LogTail, NetworkView, SettingsView
from potminer.wire.control import (
    AccountView,
    Command,
    ReceiptView,
    Snapshot,
    TaskDetail,
    TaskView,
    UnitOutcome,
)
from potminer.wire.tx import SignedTransaction


class Backend(Protocol):
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

    async def submit(self, transaction: SignedTransaction) -> bytes:
        """Hand a transaction to the mempool and gossip; its digest."""
        ...

    async def receipt(self, transaction: bytes) -> ReceiptView | None:
        """What became of the transaction of that digest; None: never heard of it."""
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
