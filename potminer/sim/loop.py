"""An asyncio loop whose clock is virtual: time passes only while everybody waits, and then at once.

No threads, no sockets, no real clock; what runs on it runs in one order, the same every time. The
node's own engine runs on it unchanged (``town.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class VirtualLoop(asyncio.BaseEventLoop):
    """``asyncio.Runner(loop_factory=VirtualLoop)`` runs a program in it."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._selector = self
        """What the base class asks for events; there are none here but the timers that it keeps itself."""

    def time(self) -> float:
        return self._seconds

    def select(self, timeout: float | None) -> list[object]:
        """Called when nothing is ready: jumps to the next timer."""
        if timeout is None:
            raise AssertionError("everybody waits, and no timer runs: nothing will ever happen")
        self._seconds += timeout
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread, so nobody need be woken."""


class LoopClock:
    """The loop's time in whole milliseconds, with the simulator's way of planning things."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.steps = 0

    @property
    def now(self) -> int:
        return round(self._loop.time() * 1_000)

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        self._loop.call_later(delay_ms / 1_000, self._do, action, arguments)

    def _do(self, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.steps += 1
        action(*arguments)
