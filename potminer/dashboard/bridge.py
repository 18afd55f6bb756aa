"""Keeps the newest photograph at hand and the line to the node alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from enum import StrEnum

from potminer.base.errors import PotminerError
from potminer.dashboard.source import Source
from potminer.view.history import History
from potminer.wire.control import Snapshot

_FIRST_RETRY_S = 1
_LONGEST_RETRY_S = 10


class Link(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


LEGAL_MOVES = {
    Link.CONNECTING: frozenset({Link.LIVE, Link.LOST}),
    Link.LIVE: frozenset({Link.LOST}),
    Link.LOST: frozenset({Link.CONNECTING}),
}


class Bridge:
    """Follows a Source for ever. *news* is called when the link moves or the first photograph is there;
    photographs between are only kept, newest wins, and painted at the screen's own pace."""

    def __init__(self, source: Source, news: Callable[[], None]) -> None:
        self._source = source
        self._news = news
        self.link = Link.CONNECTING
        self.newest: Snapshot | None = None
        self.history = History()
        self.trouble: PotminerError | None = None

    async def follow(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            try:
                await self._recall()
                async with aclosing(self._source.watch()) as photographs:
                    async for photograph in photographs:
                        retry_s = _FIRST_RETRY_S
                        self._keep(photograph)
                trouble = PotminerError("the node closed the connection")
            except PotminerError as error:
                trouble = error
            self.trouble = trouble
            self._move(Link.LOST)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
            self._move(Link.CONNECTING)

    async def _recall(self) -> None:
        """The day as the node saw it, before anybody looked."""
        try:
            self.history = self.history.join((await self._source.day()).points)
        except PotminerError:
            return

    def _keep(self, photograph: Snapshot) -> None:
        self.newest = photograph
        self.history = self.history.remember(photograph)
        if self.link is not Link.LIVE:
            self.trouble = None
            self._move(Link.LIVE)

    def _move(self, link: Link) -> None:
        if link not in LEGAL_MOVES[self.link]:
            raise AssertionError(f"link cannot move from {self.link} to {link}")
        self.link = link
        self._news()
