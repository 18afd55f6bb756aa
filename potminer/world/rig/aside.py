"""Aside: blocking calls off the event loop, one at a time, with a deadline.

A driver call can hang for ever (a GPU that fell off the bus). The thread is a daemon, so it
never keeps the process from ending; while it hangs, further calls are refused instead of
piling up threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """No answer before the deadline, or an earlier call has still not come back."""


class Aside(Generic[T]):
    """One blocking *call*, named for its thread."""

    def __init__(self, name: str, call: Callable[[], T]) -> None:
        self._name = name
        self._call = call
        self._running: threading.Thread | None = None

    async def ask(self, *, deadline_ms: int) -> T:
        """The call's result; its exceptions come through. Stuck after *deadline_ms*."""
        if self._running is not None and self._running.is_alive():
            raise Stuck(f"{self._name} has not come back yet")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._running = threading.Thread(target=self._work, args=(loop, answer), name=self._name, daemon=True)
        self._running.start()
        try:
            async with asyncio.timeout(deadline_ms / 1_000):
                return await answer
        except TimeoutError:
            raise Stuck(f"{self._name} did not answer within {deadline_ms} ms") from None

    def _work(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T]) -> None:
        outcome: tuple[T | None, Exception | None]
        try:
            outcome = (self._call(), None)
        except (OSError, ValueError, RuntimeError) as error:
            outcome = (None, error)
        try:
            loop.call_soon_threadsafe(_deliver, answer, *outcome)
        except RuntimeError:
            return  # the loop closed while we hung: nobody waits any more


def _deliver(answer: asyncio.Future[T], value: T, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)
