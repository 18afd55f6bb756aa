"""Photographs to look at: whole Snapshots as a node would send them, and a source that plays them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

from potminer.base.errors import PotminerError
from potminer.wire.control import SNAPSHOT_BYTES, Command, Snapshot, from_json

PHOTOGRAPHS = Path(__file__).parent / "photographs"


class Scripted:
    """A Source that shows *photographs*, then keeps the line open; or fails with *trouble*."""

    def __init__(self, *photographs: Snapshot, trouble: PotminerError | None = None) -> None:
        self.photographs = photographs
        self.trouble = trouble
        self.letters: list[Command] = []

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        for photograph in self.photographs:
            yield photograph
        if self.trouble is not None:
            raise self.trouble
        await asyncio.Event().wait()

    async def command(self, command: Command) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.letters.append(command)


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
