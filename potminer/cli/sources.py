"""What a dashboard looks at: a daemon behind its socket. (A recording: ``cli/recording.py``.)"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from potminer.cli.trusted import Examiner
from potminer.wire.answers import DayView, EarningsDetail, LogLevel, LogTail, NetworkView, SettingsView
from potminer.wire.control import Command, Snapshot, TaskDetail, UnitOutcome
from potminer.wire.proven import ProvenView
from potminer.world.api.address import Address
from potminer.world.api.attach import Client

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
