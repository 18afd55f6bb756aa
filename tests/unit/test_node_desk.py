"""Who reads much from our disk makes neither votes nor others wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from potminer.node.desk import REST_S, WAITING, Desk


class Room:
    """A desk whose answers take as long as *takes_s* of a clock of its own."""

    def __init__(self, takes_s: float = 0.1) -> None:
        self.now, self.takes_s = 0.0, takes_s
        self.said, self.rests, self.under_way, self.most = list[bytes](), list[float](), 0, 0
        self.desk = Desk(lambda: self.now, self._rest)
        self.tasks: list[asyncio.Future[None]] = []

    async def _rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    def spawn(self, work: Awaitable[None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    def answer(self, peer: bytes) -> Callable[[], Awaitable[None]]:
        async def read() -> None:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0)
            self.now += self.takes_s
            self.under_way -= 1
            self.said.append(peer)

        return read

    def ask(self, peer: bytes, *, member: bool = False) -> bool:
        return self.desk.ask(peer, self.answer(peer), member=member, spawn=self.spawn)

    async def done(self) -> None:
        while self.tasks:
            await self.tasks.pop()


async def test_one_at_a_time_and_nobodys_crowd_before_another_question() -> None:
    room = Room()
    assert [room.ask(b"crowd") for _ in range(WAITING + 3)] == [True] * WAITING + [False] * 3
    assert room.ask(b"one")
    assert room.ask(b"member", member=True)
    await room.done()
    assert room.said == [b"member", b"crowd", b"one", *[b"crowd"] * (WAITING - 1)]
    assert room.most == 1


async def test_the_disk_rests_as_long_as_a_stranger_took_and_never_for_members() -> None:
    room = Room()
    room.ask(b"stranger")
    room.ask(b"member", member=True)
    await room.done()
    assert room.rests == [pytest.approx(0.1)]
    room.takes_s = 60
    room.ask(b"stranger")
    await room.done()
    assert room.rests[-1] == REST_S


async def test_who_is_gone_is_not_read_for() -> None:
    room = Room()
    for peer in (b"gone", b"here"):
        room.ask(peer)
        room.ask(peer)
    room.desk.gone(b"gone")
    await room.done()
    assert room.said == [b"here", b"here"]


async def test_an_answer_that_fails_ends_nobody_elses() -> None:
    room = Room()

    async def broken() -> None:
        raise OSError("the disk")

    room.desk.ask(b"a", broken, member=False, spawn=room.spawn)
    room.ask(b"b")
    with pytest.raises(OSError, match="the disk"):
        await room.tasks.pop()
    room.ask(b"c")
    await room.done()
    assert room.said == [b"b", b"c"]
