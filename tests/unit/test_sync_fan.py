"""Fresh blocks on their way to many who follow: nobody uploads them to all, and all have them soon."""

from __future__ import annotations

import heapq
from collections import Counter

from potminer.base.draw import below, shuffled, words
from potminer.core.machine import (
    Execute,
    Executed,
    MessageArrived,
    Offence,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.core.sync.fan import FRESH, STEP_MS, WIDTH, Fan
from potminer.core.sync.machine import Event, ReadBlocks, Sync
from potminer.wire.block import CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.sync import Asked, Blocks, BlocksWanted, Busy
from tests.unit.test_sync_machine import CHAIN, CHAIN_OF_20, COMMITTEE, GENESIS, KEYS, Node, build, reply, root

BLOCK_MS = 1_000


def name(n: int) -> bytes:
    return b"peer" + n.to_bytes(28, "big")


# ---- the fan ----------------------------------------------------------------------------


def test_a_fresh_block_goes_to_a_few_at_once_and_then_to_one_at_a_time() -> None:
    fan = Fan()
    waits = [fan.wait_ms(10, name(n), tip=10, now=0) for n in range(WIDTH + 3)]
    assert waits == [0] * WIDTH + [STEP_MS] * 3
    assert fan.wait_ms(10, name(0), tip=10, now=1) == 0, "who had it may have lost it: it takes nobody's place"
    assert fan.wait_ms(10, name(WIDTH), tip=10, now=STEP_MS) == 0
    assert fan.wait_ms(10, name(WIDTH + 1), tip=10, now=STEP_MS) == STEP_MS
    assert fan.wait_ms(11, name(WIDTH + 1), tip=11, now=STEP_MS) == 0, "every block has its own few"


def test_what_is_not_fresh_goes_to_whoever_asks_and_nothing_is_kept_of_it() -> None:
    fan = Fan()
    for height in range(1, 101):
        fan.rose(height)
        for n in range(3 * WIDTH):
            fan.wait_ms(height, name(n), tip=height, now=0)
    assert len(fan._sent) == FRESH
    assert all(fan.wait_ms(100 - FRESH, name(n), tip=100, now=0) == 0 for n in range(3 * WIDTH))


def test_a_clock_that_is_set_back_an_hour_lets_nobody_wait_an_hour() -> None:
    fan = Fan()
    for n in range(2 * WIDTH):
        fan.wait_ms(5, name(n), tip=5, now=3_600_000)
    assert fan.wait_ms(5, name(99), tip=5, now=0) == STEP_MS


def test_members_of_the_committee_are_never_put_off() -> None:
    node = Node()
    members = [key.public for key in KEYS]
    node.meets(*members, *(name(n) for n in range(WIDTH + 1)), height=5)
    node.execute(node.hears(members[0], reply(CHAIN_OF_20, 1, 5)))
    for n in range(WIDTH):
        assert node.hears(name(n), BlocksWanted(5, 1)) == [ReadBlocks(name(n), 5, 1)]
    assert node.hears(name(WIDTH), BlocksWanted(5, 1))[0] == Send(name(WIDTH), Busy(Asked.BLOCKS, STEP_MS))
    for member in members:
        assert node.hears(member, BlocksWanted(5, 1)) == [ReadBlocks(member, 5, 1)]


# ---- many who follow ---------------------------------------------------------------------


class Town:
    """A member that decides a block a second, and *followers*: all linked with it, and with *links* of each other."""

    def __init__(self, followers: int, links: int, chain: list[CertifiedBlock], *, seed: bytes = b"town") -> None:
        self.chain, self.chance, self.now, self.order = chain, words(seed, b"sync"), 0, 0
        self.member = KEYS[0].public
        self.nodes = {each: Sync(CHAIN, COMMITTEE, GENESIS) for each in (self.member, *map(name, range(followers)))}
        self.queue: list[tuple[int, int, bytes, Event]] = []
        self.sent: Counter[bytes] = Counter()
        """Blocks that each node uploaded."""
        self.late_ms: list[int] = []
        self.offences: list[Offence] = []
        for n in range(followers):
            others = [name(other) for other in range(followers) if other != n]
            for other in (self.member, *shuffled(self.chance, others)[:links]):
                self.later(name(n), PeerUp(other, outbound=True), 0)
                self.later(other, PeerUp(name(n), outbound=False), 0)
        for certified in chain:
            header = certified.block.header
            done = Executed(header.height, block_digest(header), root(header.height), header.time_ms)
            self.later(self.member, done, BLOCK_MS * header.height)

    def later(self, node: bytes, event: Event, delay: int) -> None:
        self.order += 1
        heapq.heappush(self.queue, (self.now + delay, self.order, node, event))

    def say(self, sender: bytes, receiver: bytes, message: Wire) -> None:
        self.later(receiver, MessageArrived(sender, message), 20 + below(self.chance, 60))

    def run(self, milliseconds: int) -> None:
        while self.queue and self.queue[0][0] <= milliseconds:
            self.now, _, node, event = heapq.heappop(self.queue)
            for effect in self.nodes[node].handle(event, self.now):
                self.perform(node, effect)

    def perform(self, node: bytes, effect: object) -> None:
        match effect:
            case Send():
                self.say(node, effect.peer, effect.message)
            case SetTimer(timer, delay):
                self.later(node, TimerFired(timer), delay)
            case ReadBlocks(peer, first, count):
                self.sent[node] += count
                self.say(node, peer, Blocks(tuple(self.chain[first - 1 : first - 1 + count])))
            case Execute(block, _):
                header = block.header
                self.late_ms.append(self.now - BLOCK_MS * header.height)
                self.later(
                    node, Executed(header.height, block_digest(header), root(header.height), header.time_ms), 10
                )
            case Penalize():
                self.offences.append(effect.offence)


def test_a_members_upload_does_not_grow_with_those_who_follow_and_nobody_lags() -> None:
    chain = build(12)
    for followers in (16, 48):
        town = Town(followers, 4, chain)
        town.run(BLOCK_MS * len(chain) + 5_000)
        assert {sync.tip.height for sync in town.nodes.values()} == {len(chain)}
        assert town.sent[town.member] <= 12 * len(chain), "of each block a few copies"
        assert max(town.late_ms) < 2_000
        assert not town.offences


def test_those_who_follow_and_know_nobody_else_have_all_blocks_from_the_member() -> None:
    chain = build(12)
    town = Town(32, 0, chain)
    town.run(BLOCK_MS * len(chain) + 10_000)
    assert {sync.tip.height for sync in town.nodes.values()} == {len(chain)}
    assert town.sent[town.member] == 32 * len(chain)
    assert not town.offences
