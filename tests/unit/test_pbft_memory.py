"""What a key signed before its disk began is never contradicted: above what it may have signed it speaks again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from potminer.core.machine import Broadcast, Executed, MessageArrived, Persist, TimerFired
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.events import Effect, Started
from potminer.core.pbft.machine import Replica
from potminer.core.pbft.memory import LOST, SILENT_MS, SINCE, START_MS, TRUE, WHOLE, Memory
from potminer.core.pbft.repair import STATUS
from potminer.sim.ledger import GENESIS_MS, Chain, TinyApplication, genesis
from potminer.wire.pbft import Status
from tests.unit.pbft_bench import CHAIN, KEYS, committee_of

SINCE_MS = GENESIS_MS + 1_000_000


def at(time_ms: int, height: int = 9) -> Head:
    return Head(height, bytes(32), time_ms, bytes(32))


@pytest.mark.parametrize(
    ("memory", "time_ms", "speaks"),
    [
        (WHOLE, 0, True),
        (Memory(SINCE_MS), 0, True),
        (Memory(SINCE_MS, lost=True), SINCE_MS + SILENT_MS, False),
        (Memory(SINCE_MS, lost=True, heard=True), 0, False),
        (Memory(SINCE_MS, lost=True, heard=True), SINCE_MS + SILENT_MS - 1, False),
        (Memory(SINCE_MS, lost=True, heard=True), SINCE_MS + SILENT_MS, True),
        (Memory(SINCE_MS, lost=True, heard=True, true_ms=SINCE_MS + 9), SINCE_MS + SILENT_MS, False),
        (Memory(SINCE_MS, lost=True, heard=True, silent_ms=0), SINCE_MS, True),
    ],
)
def test_a_memory_reaches_as_far_as_its_disk(memory: Memory, time_ms: int, speaks: bool) -> None:
    assert memory.reaches(at(time_ms)) is speaks


def test_a_chain_older_than_the_disk_shows_that_the_disk_is_not_the_first() -> None:
    fresh = Memory(SINCE_MS)
    assert fresh.met(SINCE_MS - START_MS) == (fresh, [])
    lost, written = fresh.met(SINCE_MS - START_MS - 1)
    assert lost.lost
    assert written == [Persist(LOST, (SINCE_MS - START_MS - 1).to_bytes(8, "big"))]


def test_it_survives_a_restart() -> None:
    for memory in (Memory(SINCE_MS), Memory(SINCE_MS, lost=True)):
        assert Memory.of(dict(memory.begun())) == memory
    assert Memory.of({}) == WHOLE, "a journal of before this was written"
    assert SINCE != LOST


def says(effects: list[Effect]) -> bool:
    return any(isinstance(effect, Broadcast) for effect in effects)


def wiped(chain: Chain, memory: Memory) -> Replica:
    return Replica(
        key=KEYS[0], chain=CHAIN, application=TinyApplication(chain), head=chain.head, persisted={},
        parameters=Timers(), memory=memory,
    )  # fmt: skip


def clocks(one: Replica, now: int, *ahead_ms: int) -> list[Effect]:
    """The others say their clocks, as each is ahead of ours."""
    return [
        effect
        for seat, ahead in enumerate(ahead_ms, 1)
        for effect in one.handle(MessageArrived(KEYS[seat].public, Status(one.height, 0, now + ahead)), now)
    ]


def test_a_wiped_replica_follows_and_says_nothing_until_the_chain_is_younger_than_its_disk() -> None:
    chain = Chain(head=genesis(CHAIN), committee=committee_of(4), counts_turns=False)
    one = wiped(chain, Memory(SINCE_MS, lost=True))
    late = SINCE_MS + SILENT_MS
    assert one.silent_until_ms == late
    assert not says(one.handle(Started(), SINCE_MS))
    clocks(one, late, 0, 0)
    for height, time_ms in ((1, GENESIS_MS + 5), (2, SINCE_MS), (3, late - 1)):
        one.handle(Executed(height, bytes([height]) * 32, bytes(32), time_ms), late)
        assert not says(one.handle(TimerFired(STATUS), late + height))
    assert Persist(LOST, None) in one.handle(Executed(4, bytes([4]) * 32, bytes(32), late), late)
    assert one.height == 5
    assert one.silent_until_ms is None
    assert says(one.handle(TimerFired(STATUS), late + 1_000))


HOUR_MS = 3_600_000


@pytest.mark.parametrize("ahead_ms", [(HOUR_MS, HOUR_MS), (HOUR_MS, HOUR_MS, -HOUR_MS), (HOUR_MS, HOUR_MS, 0)])
def test_a_wiped_machine_whose_clock_is_an_hour_behind_takes_no_block_of_before_for_one_of_after(
    ahead_ms: tuple[int, ...]
) -> None:
    """What its key said at that height, before its disk and the battery of its clock were changed, it would have
    contradicted; what the third says may be a lie."""
    true = SINCE_MS + HOUR_MS
    one = wiped(Chain(head=genesis(CHAIN), committee=committee_of(4), counts_turns=False), Memory(SINCE_MS, lost=True))
    one.handle(Started(), SINCE_MS)
    one.handle(Executed(1, bytes([1]) * 32, bytes(32), true - 1), SINCE_MS + 500)
    assert not says(one.handle(TimerFired(STATUS), SINCE_MS + 600)), "before anybody was heard"
    told = clocks(one, SINCE_MS + 700, *ahead_ms)
    assert [effect.key for effect in told if isinstance(effect, Persist)] == [TRUE], "another life knows it too"
    assert not says(one.handle(TimerFired(STATUS), SINCE_MS + 1_600))
    one.handle(Executed(2, bytes([2]) * 32, bytes(32), true + SILENT_MS - 1), SINCE_MS + SILENT_MS)
    assert not says(one.handle(TimerFired(STATUS), SINCE_MS + SILENT_MS))
    one.handle(Executed(3, bytes([3]) * 32, bytes(32), true + SILENT_MS), SINCE_MS + SILENT_MS)
    assert says(one.handle(TimerFired(STATUS), SINCE_MS + SILENT_MS + 1))


def test_where_no_block_comes_without_it_a_replica_speaks_as_soon_as_it_has_heard() -> None:
    """It began again while the others wait for its vote: the clocks are heard, and no block will be."""
    head = at(SINCE_MS + SILENT_MS)
    one = wiped(Chain(head=head, committee=committee_of(4), counts_turns=False), Memory(SINCE_MS, lost=True))
    now = head.time_ms + 9
    assert not says(one.handle(Started(), now))
    assert not says(one.handle(TimerFired(STATUS), now)), "too few were heard"
    clocks(one, now, 0)
    assert not says(one.handle(TimerFired(STATUS), now)), "one of them may lie"
    clocks(one, now, 0, 0)
    assert says(one.handle(TimerFired(STATUS), now))


def test_no_third_keeps_a_wiped_replica_silent_by_its_clock() -> None:
    one = wiped(Chain(head=genesis(CHAIN), committee=committee_of(4), counts_turns=False), Memory(SINCE_MS, lost=True))
    clocks(one, SINCE_MS, 10**12, 0, 0)
    one.handle(Executed(1, bytes([1]) * 32, bytes(32), SINCE_MS + SILENT_MS), SINCE_MS)
    assert says(one.handle(TimerFired(STATUS), SINCE_MS))


def test_a_clock_that_was_set_right_does_not_make_a_disk_older_again() -> None:
    told, written = Memory(SINCE_MS, lost=True).told(HOUR_MS)
    assert written == [Persist(TRUE, (SINCE_MS + HOUR_MS).to_bytes(8, "big"))]
    again = Memory.of({**dict(told.begun()), TRUE: written[0].value or b""})
    for behind_ms in (0, HOUR_MS, HOUR_MS + 1):
        assert again.told(behind_ms) == (replace(again, heard=True), [])
    assert not again.told(0)[0].reaches(at(SINCE_MS + HOUR_MS + SILENT_MS - 1))
    assert again.told(0)[0].reaches(at(SINCE_MS + HOUR_MS + SILENT_MS))


@pytest.mark.parametrize("ahead_ms", [-27_000, -HOUR_MS])
def test_who_began_with_a_clock_that_was_ahead_is_not_taken_for_one_that_forgot(ahead_ms: int) -> None:
    """A new member of a new network. The chain needed its vote and it waited for the chain: both for ever."""
    one = wiped(Chain(head=genesis(CHAIN), committee=committee_of(4), counts_turns=False), Memory(SINCE_MS))
    first = SINCE_MS + ahead_ms + 5_000
    one.handle(Executed(1, bytes([1]) * 32, bytes(32), first), SINCE_MS + 5_100)
    assert not says(one.handle(TimerFired(STATUS), SINCE_MS + 6_000)), "it may have been here before, by its clock"
    clocks(one, SINCE_MS + 6_000, ahead_ms)
    assert not says(one.handle(TimerFired(STATUS), SINCE_MS + 6_001)), "no quorum was heard"
    assert Persist(LOST, None) in clocks(one, SINCE_MS + 6_002, ahead_ms, ahead_ms)
    assert says(one.handle(TimerFired(STATUS), SINCE_MS + 7_000))


def test_nor_is_who_began_with_a_clock_that_was_set_back_since() -> None:
    """seed 3100018 of the towns."""
    one = wiped(Chain(head=genesis(CHAIN), committee=committee_of(4), counts_turns=False), Memory(SINCE_MS + 27_000))
    one.handle(Executed(1, bytes([1]) * 32, bytes(32), SINCE_MS + 1_000), SINCE_MS + 28_000)
    told = one.handle(TimerFired(STATUS), SINCE_MS + 4_000)
    assert Persist(SINCE, (SINCE_MS + 4_000).to_bytes(8, "big")) in told
    clocks(one, SINCE_MS + 4_001, 0, 0)
    assert says(one.handle(TimerFired(STATUS), SINCE_MS + 5_000))


def test_no_third_makes_an_old_chain_look_young() -> None:
    """Nor a clock that is set back: what is older than the disk by the quorum's clock is older."""
    one = wiped(Chain(head=genesis(CHAIN), committee=committee_of(4), counts_turns=False), Memory(SINCE_MS))
    one.handle(Executed(1, bytes([1]) * 32, bytes(32), SINCE_MS - HOUR_MS), SINCE_MS + 100)
    clocks(one, SINCE_MS + 200, -(10**12), 0, 0)
    assert not says(one.handle(TimerFired(STATUS), SINCE_MS + 1_000))
    for _ in range(2):
        clocks(one, SINCE_MS - HOUR_MS, HOUR_MS, HOUR_MS)
    assert not says(one.handle(TimerFired(STATUS), SINCE_MS - HOUR_MS + 1))
