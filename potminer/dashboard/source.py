"""Where photographs and answers come from and letters go: a daemon, a recording, or a test's script."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from potminer.wire.answers import DayView, EarningsDetail, LogLevel, LogTail, NetworkView, SettingsView
from potminer.wire.control import Command, Snapshot, TaskDetail, UnitOutcome
from potminer.wire.proven import ProvenView


class Source(Protocol):
    """Every method raises PotminerError where the node is gone, or this source does not know such things."""

    def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Photographs until the node goes away: then it ends, or raises PotminerError. May be called again."""
        ...

    async def snapshot(self) -> Snapshot: ...

    async def command(self, command: Command) -> None:
        """Post a letter; PotminerError where it is refused."""
        ...

    async def task(self, task: str) -> TaskDetail: ...

    async def units(self, *, last: int) -> tuple[UnitOutcome, ...]:
        """This rig's newest units, newest first."""
        ...

    async def network(self) -> NetworkView: ...

    async def earnings(self, *, units: int) -> EarningsDetail: ...

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail: ...

    async def settings(self) -> SettingsView: ...

    async def day(self) -> DayView: ...

    async def prove(self, photograph: Snapshot, detail: EarningsDetail | None) -> ProvenView:
        """How what the node said in *photograph* and *detail* stands with what it can prove. It may take many seconds,
        and holds up nobody."""
        ...


@dataclass(frozen=True, slots=True)
class Berth:
    """One rig of the owner. *name* is what the owner called it, until its photograph says better."""

    name: str
    source: Source
