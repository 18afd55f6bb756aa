"""Where photographs come from and letters go: a daemon, a recording, or a test's script."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from potminer.wire.control import Command, Snapshot


class Source(Protocol):
    def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Photographs until the node goes away: then it ends, or raises PotminerError. May be called again."""
        ...

    async def command(self, command: Command) -> None:
        """Post a letter; PotminerError where it is refused."""
        ...
