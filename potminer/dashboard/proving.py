"""What is proven of every rig that is looked at: asked behind the picture, now and then, one rig at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from potminer.base.errors import PotminerError
from potminer.dashboard.source import Berth
from potminer.view.proven import LOUD
from potminer.wire.answers import EarningsDetail
from potminer.wire.control import Snapshot
from potminer.wire.proven import Backing, ProvenView

EVERY_S = 15.0
"""Between two looks at the rig that is shown; others are looked at a quarter as often."""
OTHERS_S = 60.0
REST = 10
"""After a look it rests at least so many times as long as that took: large tasks and slow lines are asked less."""
LOOK_S = 1.0
PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Subject:
    """Rig *at*, as it is painted: what it says on the screen is what is compared with proofs."""

    at: int
    photograph: Snapshot
    detail: EarningsDetail | None = None
    shown: bool = True


class Proving:
    """*news* is called where something is known anew. A daemon that was once found to lie stays accused until the
    dashboard is closed, whatever it says and proves afterwards."""

    def __init__(self, berths: Sequence[Berth], clock: Callable[[], int], news: Callable[[], None]) -> None:
        self._berths = tuple(berths)
        self._clock = clock
        self._news = news
        self._newest: dict[int, ProvenView] = {}
        self._accused: dict[int, ProvenView] = {}
        self._due: dict[int, float] = {}
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Somebody may be worth a look who was not a moment ago."""
        self._woken.set()

    def of(self, at: int) -> ProvenView | None:
        """What is known of rig *at*: its newest lie, where it ever told one."""
        return self._accused.get(at) or self._newest.get(at)

    async def run(self, wanted: Callable[[], Iterable[Subject]]) -> None:
        """For ever: of the *wanted* rigs the first whose time has come."""
        loop = asyncio.get_running_loop()
        while True:
            subject = next((each for each in wanted() if self._due.get(each.at, 0.0) <= loop.time()), None)
            if subject is None:
                self._woken.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._woken.wait()
                continue
            began = loop.time()
            self._take(subject.at, await self._look(subject))
            took = loop.time() - began
            self._due[subject.at] = loop.time() + max(EVERY_S if subject.shown else OTHERS_S, REST * took)

    async def _look(self, subject: Subject) -> ProvenView:
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self._berths[subject.at].source.prove(subject.photograph, subject.detail)
        except TimeoutError:
            why = f"no answer for {PATIENCE_S:.0f} s"
        except PotminerError as error:
            why = error.what[:200]
        return ProvenView(backing=Backing.WORD, why=why, taken_ms=self._clock(), key=subject.photograph.node)

    def _take(self, at: int, view: ProvenView) -> None:
        self._newest[at] = view
        if view.backing in LOUD:
            self._accused[at] = view
        self._news()
