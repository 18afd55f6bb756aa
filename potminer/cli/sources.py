"""What a dashboard looks at: a daemon behind its socket, or a recording."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

from potminer.base.errors import Malformed, NotPermitted, UsageError
from potminer.cli.trusted import Examiner
from potminer.wire.answers import DayView, EarningsDetail, LogLevel, LogTail, NetworkView, SettingsView
from potminer.wire.control import SNAPSHOT_BYTES, Command, Snapshot, TaskDetail, UnitOutcome, from_json
from potminer.wire.proven import ProvenView
from potminer.world.api.address import Address
from potminer.world.api.attach import Client

_LONGEST_WAIT_MS = 2_000

T = TypeVar("T")


class Daemon:
    """A Source that looks for the daemon anew at every question: it may come back elsewhere.
    *address* raises Unreachable where none runs. All rigs of one owner have one *examiner*."""

    def __init__(self, address: Callable[[], Address], examiner: Examiner) -> None:
        self._address = address
        self._examiner = examiner

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        async with Client(self._address()) as node, aclosing(node.watch()) as photographs:
            async for photograph in photographs:
                yield photograph

    async def snapshot(self) -> Snapshot:
        return await self._ask(lambda node: node.snapshot())

    async def command(self, command: Command) -> None:
        await self._ask(lambda node: node.command(command))

    async def task(self, task: str) -> TaskDetail:
        return await self._ask(lambda node: node.task(task))

    async def units(self, *, last: int) -> tuple[UnitOutcome, ...]:
        return await self._ask(lambda node: node.units(last=last))

    async def network(self) -> NetworkView:
        return await self._ask(lambda node: node.network())

    async def earnings(self, *, units: int) -> EarningsDetail:
        return await self._ask(lambda node: node.earnings(units=units))

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        return await self._ask(lambda node: node.log(after=after, last=last, level=level))

    async def settings(self) -> SettingsView:
        return await self._ask(lambda node: node.settings())

    async def day(self) -> DayView:
        return await self._ask(lambda node: node.day())

    async def prove(self, photograph: Snapshot, detail: EarningsDetail | None) -> ProvenView:
        return await self._ask(lambda node: self._examiner.examine(node, photograph, detail, exact=True))

    async def _ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        async with Client(self._address()) as node:
            return await question(node)


class Recording:
    """A Source that shows a file of photographs, one JSON a line, at the pace they were taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._newest: Snapshot | None = None

    def check(self) -> None:
        """UsageError where the file does not begin with a photograph."""
        try:
            with self._path.open("rb") as file:
                self._read(file.readline(SNAPSHOT_BYTES))
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read: {error.strerror}", "Check the path.") from error

    def _read(self, line: bytes) -> Snapshot:
        try:
            photograph: Snapshot = from_json(Snapshot, line, max_bytes=SNAPSHOT_BYTES)
        except Malformed as error:
            hint = "`potminer status --watch --json > FILE` writes one."
            raise UsageError(f"{self._path} is not a recording: {error}", hint) from error
        return photograph

    def now_ms(self) -> int:
        return 0 if self._newest is None else self._newest.taken_ms

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        with self._path.open("rb") as file:
            while line := await asyncio.to_thread(file.readline, SNAPSHOT_BYTES):
                photograph = self._read(line)
                wait = photograph.taken_ms - self.now_ms() if self._newest is not None else 0
                await asyncio.sleep(max(0, min(wait, _LONGEST_WAIT_MS)) / 1000)
                self._newest = photograph
                yield photograph
        await asyncio.Event().wait()

    async def snapshot(self) -> Snapshot:
        if self._newest is None:
            raise NotPermitted("the recording has not begun")
        return self._newest

    async def command(self, command: Command) -> None:
        raise NotPermitted("this is a recording", "Attach to a daemon to give orders.")

    async def task(self, task: str) -> TaskDetail:
        raise _not_recorded()

    async def units(self, *, last: int) -> tuple[UnitOutcome, ...]:
        raise _not_recorded()

    async def network(self) -> NetworkView:
        raise _not_recorded()

    async def earnings(self, *, units: int) -> EarningsDetail:
        raise _not_recorded()

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        raise _not_recorded()

    async def settings(self) -> SettingsView:
        raise _not_recorded()

    async def day(self) -> DayView:
        raise _not_recorded()

    async def prove(self, photograph: Snapshot, detail: EarningsDetail | None) -> ProvenView:
        raise _not_recorded()


def _not_recorded() -> NotPermitted:
    return NotPermitted("a recording holds photographs only")
