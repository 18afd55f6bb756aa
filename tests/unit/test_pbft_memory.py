"""What a key signed before its disk began is never contradicted: above what it may have signed it speaks again."""

from __future__ import annotations

import pytest

from potminer.core.machine import Broadcast, Executed, Persist, TimerFired
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.events import Effect, Started
from potminer.core.pbft.machine import Replica
from potminer.core.pbft.memory import LOST, SILENT_MS, SINCE, START_MS, WHOLE, Memory
from potminer.core.pbft.repair import STATUS
from potminer.sim.ledger import GENESIS_MS, Chain, TinyApplication, genesis
from tests.unit.pbft_bench import CHAIN, KEYS, committee_of

SINCE_MS = GENESIS_MS + 1_000_000


def at(time_ms: int, height: int = 9) -> Head:
    return Head(height, bytes(32), time_ms, bytes(32))


@pytest.mark.parametrize(
    ("memory", "time_ms", "speaks"),
    [
        (WHOLE, 0, True),
        (Memory(SINCE_MS), 0, True),
        (Memory(SINCE_MS, lost=True), 0, False),
        (Memory(SINCE_MS, lost=True), SINCE_MS + SILENT_MS - 1, False),
        (Memory(SINCE_MS, lost=True), SINCE_MS + SILENT_MS, True),
        (Memory(SINCE_MS, lost=True, silent_ms=0), SINCE_MS, True),
    ],
)
def test_a_memory_reaches_as_far_as_its_disk(memory: Memory, time_ms: int, speaks: bool) -> None:
    assert memory.reaches(at(time_ms)) is speaks


def test_a_chain_older_than_the_disk_shows_that_the_disk_is_not_the_first() -> None:
    fresh = Memory(SINCE_MS)
    assert fresh.met(SINCE_MS - START_MS) == (fresh, [])
    lost, written = fresh.met(SINCE_MS - START_MS - 1)
    assert lost.lost
    assert written == [Persist(LOST, b"\x01")]


def test_it_survives_a_restart() -> None:
    for memory in (Memory(SINCE_MS), Memory(SINCE_MS, lost=True)):
        assert Memory.of(dict(memory.begun())) == memory
    assert Memory.of({}) == WHOLE, "a journal of before this was written"
    assert SINCE != LOST


def says(effects: list[Effect]) -> bool:
    return any(isinstance(effect, Broadcast) for effect in effects)


def test_a_wiped_replica_follows_and_says_nothing_until_the_chain_is_younger_than_its_disk() -> None:
    chain = Chain(head=genesis(CHAIN), committee=committee_of(4), counts_turns=False)
    one = Replica(
        key=KEYS[0], chain=CHAIN, application=TinyApplication(chain), head=chain.head, persisted={},
        parameters=Timers(), memory=Memory(SINCE_MS, lost=True),
    )
    late = SINCE_MS + SILENT_MS
    assert not says(one.handle(Started(), SINCE_MS))
    for height, time_ms in ((1, GENESIS_MS + 5), (2, SINCE_MS), (3, late - 1)):
        one.handle(Executed(height, bytes([height]) * 32, bytes(32), time_ms), late)
        assert not says(one.handle(TimerFired(STATUS), late + height))
    one.handle(Executed(4, bytes([4]) * 32, bytes(32), late), late)
    assert one.height == 5
    assert says(one.handle(TimerFired(STATUS), late + 1_000))
