"""Aside: blocking calls off the event loop, one at a time, with a deadline.

A driver call can hang for ever (a GPU that fell off the bus). The thread is a daemon, so it
never keeps the process from ending; while it hangs, further calls are refused instead of
piling up threads.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """No answer before the deadline, or an earlier call has still not come back."""


class Aside(Generic[T]):
    """One blocking *call*, named for its thread."""

    def __init__(self, name: str, call: Callable[[], T]) -> None:
        self._name = name
        self._call = call
        self._away = False

    async def ask(self, *, deadline_ms: int) -> T:
        """The call's result; its exceptions come through. Stuck after *deadline_ms*."""
        if self._away:
            raise Stuck(f"{self._name} has not come back yet")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        threading.Thread(target=self._work, args=(loop, answer), name=self._name, daemon=True).start()
        self._away = True
        try:
            async with asyncio.timeout(deadline_ms / 1_000):
                return await answer
        except TimeoutError:
            raise Stuck(f"{self._name} did not answer within {deadline_ms} ms") from None

    def _work(self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T]) -> None:
        settle: Callable[[], None] = partial(answer.set_exception, RuntimeError(f"{self._name} failed"))
        try:
            settle = partial(answer.set_result, self._call())
        except (OSError, ValueError, RuntimeError) as error:
            settle = partial(answer.set_exception, error)
        finally:  # whatever it was: it can be asked again
            with suppress(RuntimeError):  # the loop closed while we hung: nobody waits any more
                loop.call_soon_threadsafe(self._deliver, answer, settle)

    def _deliver(self, answer: asyncio.Future[T], settle: Callable[[], None]) -> None:
        self._away = False
        if not answer.done():
            settle()
