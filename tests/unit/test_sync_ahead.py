"""Who follows asks for the next block before it exists: it comes in one way, and no liar delays it long."""

from __future__ import annotations

from typing import ClassVar

from potminer.core.asking import TIMEOUT_MS
from potminer.core.machine import Executed, Offence, PeerDown, PeerUp, Send, SetTimer, TimerFired
from potminer.core.sync.fan import STEP_MS, WIDTH
from potminer.core.sync.machine import SOON, TIMER, Effect, ReadBlocks, Sync
from potminer.core.sync.requests import GRACE_MS
from potminer.wire.block import block_digest
from potminer.wire.sync import Asked, Busy, Head, NextWanted
from tests.unit.test_sync_fan import BLOCK_MS, Town, name
from tests.unit.test_sync_machine import (
    CHAIN,
    CHAIN_OF_20,
    COMMITTEE,
    GENESIS,
    A,
    B,
    C,
    Node,
    asked,
    build,
    offences,
    reply,
    root,
)


class Following(Sync):
    def __init__(self, *arguments: object) -> None:
        super().__init__(CHAIN, COMMITTEE, GENESIS, follows=True)


class Follower(Node):
    make: ClassVar[type[Sync]] = Following


def ahead(effects: list[Effect]) -> list[tuple[bytes, int]]:
    return [(e.peer, e.message.height) for e in effects if isinstance(e, Send) and isinstance(e.message, NextWanted)]


def following() -> Follower:
    """At block 5, linked with A and B; A told first of it, and was asked for block 6."""
    node = Follower()
    node.does(PeerUp(A, outbound=True))
    node.does(PeerUp(B, outbound=True))
    node.hears(A, Head(5, b"?" * 32))
    node.hears(B, Head(5, b"?" * 32))
    node.execute(node.hears(A, reply(CHAIN_OF_20, 1, 1)))
    effects = node.execute(node.hears(B, reply(CHAIN_OF_20, 2, 4)))
    assert node.sync.tip.height == 5
    assert ahead(effects) == [(A, 6)], "who was quick, once"
    node.effects.clear()
    return node


def test_the_next_block_comes_unasked_by_then_and_the_one_after_it_is_asked_for() -> None:
    node = following()
    node.hears(A, Head(6, b"?" * 32))
    effects = node.execute(node.hears(A, reply(CHAIN_OF_20, 6, 1)))
    assert node.sync.tip.height == 6
    assert ahead(effects) == [(A, 7)]
    assert not asked(node.effects)


def test_who_was_asked_ahead_and_says_nothing_costs_half_a_second_and_is_not_blamed() -> None:
    node = following()
    effects = node.hears(B, Head(6, b"?" * 32))
    assert not asked(effects), "it may be on its way"
    assert effects == [SetTimer(TIMER, GRACE_MS)]
    node.now += GRACE_MS
    assert asked(node.does(TimerFired(TIMER))) == [(B, 6, 1)]
    effects = node.execute(node.hears(B, reply(CHAIN_OF_20, 6, 1)))
    assert ahead(effects) == [(B, 7)], "the other is not asked ahead while others bring blocks"
    assert not offences(node.effects)


def test_many_words_do_not_prolong_the_grace() -> None:
    node = following()
    node.hears(B, Head(6, b"?" * 32))
    node.now += GRACE_MS - 1
    node.hears(B, Head(6, b"?" * 32))
    node.now += 1
    assert asked(node.does(TimerFired(TIMER))) == [(B, 6, 1)]


def test_who_says_that_it_has_the_block_has_a_questions_time_and_breaks_a_promise_after_it() -> None:
    node = following()
    node.hears(A, Head(6, b"?" * 32))
    node.hears(B, Head(6, b"?" * 32))
    node.now += TIMEOUT_MS
    effects = node.does(TimerFired(TIMER))
    assert offences(effects) == [(A, Offence.WITHHELD)]
    assert asked(effects) == [(B, 6, 1)]


def test_a_lost_link_or_a_busy_peer_is_replaced_at_once() -> None:
    node = following()
    assert ahead(node.does(PeerDown(A))) == [(B, 6)]
    node = following()
    assert ahead(node.hears(A, Busy(Asked.BLOCKS, 250))) == [(B, 6)]
    assert not offences(node.effects)


def test_members_ask_nobody_ahead() -> None:
    node = Node()
    node.meets(A, B, height=5)
    effects = node.execute(node.hears(asked(node.effects)[0][0], reply(CHAIN_OF_20, 1, 5)))
    assert not ahead(effects)


def test_a_few_may_wait_and_are_brought_the_block_before_anybody_asks() -> None:
    node = Node()
    outsiders = [name(n) for n in range(WIDTH + 1)]
    node.meets(C, *outsiders, height=5)
    node.execute(node.hears(C, reply(CHAIN_OF_20, 1, 5)))
    for each in outsiders[:WIDTH]:
        later = node.hears(each, NextWanted(5 + SOON + 1))
        assert later == [Send(each, Busy(Asked.BLOCKS, STEP_MS))], "who waits for what is far away holds no place"
        assert node.hears(each, NextWanted(6)) == []
    assert node.hears(outsiders[0], NextWanted(6)) == [], "again: it takes nobody's place"
    assert node.hears(outsiders[WIDTH], NextWanted(6)) == [Send(outsiders[WIDTH], Busy(Asked.BLOCKS, STEP_MS))]
    node.does(PeerDown(outsiders[1]))
    header = CHAIN_OF_20[5].block.header
    effects = node.does(Executed(6, block_digest(header), root(6), header.time_ms))
    brought = [effect for effect in effects if isinstance(effect, ReadBlocks)]
    assert brought == [ReadBlocks(each, 6, 1) for each in outsiders[:WIDTH] if each != outsiders[1]]
    heads = [n for n, effect in enumerate(effects) if isinstance(effect, Send)]
    assert max(heads) < effects.index(brought[0]), "its head is told before the block"
    assert node.hears(outsiders[0], NextWanted(6)) == [ReadBlocks(outsiders[0], 6, 1)], "what exists is sent at once"
    assert node.hears(b"stranger".ljust(32), NextWanted(7)) == []


def test_many_who_ask_ahead_lag_less_and_a_member_uploads_no_more() -> None:
    chain, median = build(12), list[int]()
    for make in (Sync, Following):
        town = Town(48, 4, chain)
        town.nodes.update((each, make(CHAIN, COMMITTEE, GENESIS)) for each in town.nodes if each != town.member)
        town.run(BLOCK_MS * len(chain) + 5_000)
        assert {sync.tip.height for sync in town.nodes.values()} == {len(chain)}
        assert town.sent[town.member] <= 12 * len(chain)
        assert not town.offences
        median.append(sorted(town.late_ms)[len(town.late_ms) // 2])
    assert median[1] < median[0], median
