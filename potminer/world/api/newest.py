"""A place for one value: who comes late gets the newest, and nothing queues up."""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """One writer, one reader. A slow reader misses values; a fast writer never waits."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._filled = asyncio.Event()

    def put(self, value: T) -> None:
        self._value = value
        self._filled.set()

    async def take(self) -> T:
        """The newest value not taken yet."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            value, self._value = self._value, None
            if value is not None:
                return value
