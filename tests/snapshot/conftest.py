"""Photographs to look at: whole Snapshots as a node would send them, and a source that plays them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from potminer.base.errors import PotminerError
from potminer.wire.answers import DayView, EarningsDetail, LogLevel, LogTail, NetworkView, SettingsView
from potminer.wire.control import SNAPSHOT_BYTES, Command, Snapshot, TaskDetail, UnitOutcome, from_json
from potminer.wire.proven import ProvenView
from tests.snapshot import answers

PHOTOGRAPHS = Path(__file__).parent / "photographs"


class Scripted:
    """A Source that shows *photographs*, then keeps the line open; or fails with *trouble*.

    It proves *proof*; without one it is asked in vain. It answers as ``tests/snapshot/answers.py`` says; *hostile*
    text stands wherever a peer could have put it.
    """

    def __init__(
        self, *photographs: Snapshot, trouble: PotminerError | None = None, priced: bool = False, hostile: str = "",
        proof: ProvenView | None = None,
    ) -> None:
        self.photographs = photographs
        self.trouble = trouble
        self.letters: list[Command] = []
        self.asked: list[str] = []
        self.priced = priced
        self.hostile = hostile
        self.proof = proof

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        for photograph in self.photographs:
            yield photograph
        if self.trouble is not None:
            raise self.trouble
        await asyncio.Event().wait()

    async def command(self, command: Command) -> None:
        self._ask("command")
        self.letters.append(command)

    async def snapshot(self) -> Snapshot:
        self._ask("snapshot")
        return self.photographs[-1]

    async def task(self, task: str) -> TaskDetail:
        self._ask("task")
        return answers.task_detail(self.hostile or "digits-cnn")

    async def units(self, *, last: int) -> tuple[UnitOutcome, ...]:
        self._ask("units")
        return answers.units(self.hostile or "digits-cnn")[:last]

    async def network(self) -> NetworkView:
        self._ask("network")
        return answers.network(self.hostile or "potminer/0.1.0", self.hostile or "198.51.100.7")

    async def earnings(self, *, units: int) -> EarningsDetail:
        self._ask("earnings")
        return answers.earnings(priced=self.priced, name=self.hostile or "digits-cnn")

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        self._ask("log")
        tail = answers.log(self.hostile)
        return LogTail(boot_ms=tail.boot_ms, lines=tuple(line for line in tail.lines if line.number > after)[-last:])

    async def settings(self) -> SettingsView:
        self._ask("settings")
        return answers.settings(self.hostile or "rig-07")

    async def day(self) -> DayView:
        self._ask("day")
        return answers.day()

    async def prove(self, photograph: Snapshot, detail: EarningsDetail | None) -> ProvenView:
        if self.proof is None:
            await asyncio.Event().wait()
        assert self.proof is not None
        return self.proof

    def _ask(self, what: str) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.asked.append(what)


@pytest.fixture
def photograph() -> Callable[[str], Snapshot]:
    def load(name: str) -> Snapshot:
        found: Snapshot = from_json(
            Snapshot, (PHOTOGRAPHS / f"{name}.json").read_bytes(), max_bytes=SNAPSHOT_BYTES
        )
        return found

    return load


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted
