"""Asking at a pace: nobody outruns an honest server, and several sources carry together."""

from __future__ import annotations

import heapq

from potminer.core.asking import BACKOFF_CAP_MS, BACKOFF_MS, TIMEOUT_MS, Pace, Patience
from potminer.core.machine import MessageArrived, PeerUp, Send, SetTimer, TimerFired
from potminer.core.sync.machine import TIMER, ReadBlocks, Sync
from potminer.core.sync.proof import Tip
from potminer.core.sync.requests import READS_PER_WINDOW, WINDOW_MS
from potminer.wire.block import CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.registry import pack, unpack
from potminer.wire.sync import BlocksWanted, Busy
from tests.unit.test_sync_machine import CHAIN, COMMITTEE, C, Node, asked, build, offences, reply, root

LONG = build(160)


class Pair:
    """A node that is behind and the honest ones it asks: the same machine on the other side, *way_ms* apart."""

    def __init__(self, peers: int, blocks: list[CertifiedBlock], *, way_ms: int) -> None:
        self.blocks, self.way_ms = blocks, way_ms
        self.node = Node()
        self.servers = {bytes([200 + n]) * 32: Sync(CHAIN, COMMITTEE, self.tip(len(blocks))) for n in range(peers)}
        for server in self.servers.values():
            server.handle(PeerUp(C, outbound=False), 0)
        self.asked: dict[bytes, int] = dict.fromkeys(self.servers, 0)
        self.most_at_once = self.busy = 0

    def tip(self, height: int) -> Tip:
        return Tip(height, block_digest(self.blocks[height - 1].block.header), root(height))

    def run(self, *, count: int, until_ms: int) -> None:
        """Every answer brings *count* blocks at most."""
        way: list[tuple[int, int, bytes, Wire]] = []
        node, tie = self.node, 0
        waiting = node.meets(*self.servers, height=len(self.blocks))
        while node.now < until_ms and node.sync.tip.height < len(self.blocks):
            for peer, first, wanted in asked(waiting):
                self.asked[peer] += 1
                for told in self.servers[peer].handle(MessageArrived(C, BlocksWanted(first, wanted)), node.now):
                    tie += 1
                    read = isinstance(told, ReadBlocks)
                    answer = reply(self.blocks, first, min(count, wanted)) if read else getattr(told, "message", None)
                    self.busy += isinstance(answer, Busy)
                    heapq.heappush(way, (node.now + 2 * self.way_ms, tie, peer, answer))
            self.most_at_once = max(self.most_at_once, len({peer for _, _, peer, _ in way}))
            timers = [e.delay_ms for e in waiting if isinstance(e, SetTimer)]
            if way and (not timers or way[0][0] <= node.now + min(timers)):
                at, _, peer, answer = heapq.heappop(way)
                node.now = max(node.now, at)
                waiting = node.execute(node.hears(peer, answer))
            else:
                node.now += min(timers, default=1_000)
                waiting = node.execute(node.does(TimerFired(TIMER)))


def test_a_server_is_never_outrun_by_who_keeps_to_the_pace() -> None:
    """One block an answer, as large ones come: 160 questions where a crowd of 60 is allowed at once."""
    pair = Pair(1, LONG, way_ms=2)
    pair.run(count=1, until_ms=60_000)
    assert pair.node.sync.tip.height == len(LONG)
    assert not offences(pair.node.effects)
    assert not pair.busy
    assert pair.node.now >= (len(LONG) - 2 * READS_PER_WINDOW) * WINDOW_MS // READS_PER_WINDOW


def test_several_are_asked_at_once_and_each_its_share() -> None:
    pair = Pair(4, LONG, way_ms=50)
    pair.run(count=4, until_ms=60_000)
    assert pair.node.sync.tip.height == len(LONG)
    assert pair.most_at_once > 1
    assert sum(pair.asked.values()) <= len(LONG) // 4 + 4, "no block twice"
    assert max(pair.asked.values()) <= len(LONG) // 8, "no source carries it alone"
    assert pair.node.now <= len(LONG) // 4 * 100 * 2 // 3, "one source takes its round trips one after the other"
    assert not offences(pair.node.effects)


def test_a_pace_is_exact_and_opens_when_it_says() -> None:
    pace, now = Pace(60, 10_000), 10**12
    assert [pace.take(now) for _ in range(61)] == [True] * 60 + [False]
    assert pace.used(now) == 60
    for _ in range(600):
        now = pace.opens_ms(now)
        assert not pace.take(now - 1)
        assert pace.take(now)
    assert 99_990 <= now - 10**12 <= 100_010, "six a second from there on"
    assert Pace(60, 10_000).opens_ms(5) == 5


BACK_MS = 3_600_000


def test_a_clock_that_is_set_back_an_hour_stops_neither_who_asks_nor_who_answers() -> None:
    """The network's clock is the machine's: somebody sets it right while blocks are fetched."""
    now = 10**12
    pace = Pace(60, 10_000)
    while pace.take(now):
        pass
    now -= BACK_MS
    assert pace.opens_ms(now) <= now + 10_000
    assert pace.take(now + 10_000)
    patience = Patience(Pace(60, 10_000))
    for _ in range(9):
        patience.rest(now + BACK_MS)
    assert patience.free_ms(now) <= now + BACKOFF_CAP_MS


def test_what_a_busy_server_says_can_be_read_whatever_its_clock_did() -> None:
    pair, now = Pair(1, LONG, way_ms=1), 10**12
    (server,) = pair.servers.values()
    for at in (now, now - BACK_MS):
        told = [each for _ in range(200) for each in server.handle(MessageArrived(C, BlocksWanted(1, 1)), at)]
        busy = [each.message for each in told if isinstance(each, Send)]
        assert busy
        assert all(unpack(38, pack(each)[1]) == each for each in busy)


def test_a_question_put_before_the_clock_was_set_back_is_put_again() -> None:
    node = Node()
    node.now = 10**12
    assert len(asked(node.meets(C, height=20))) == 1
    node.now -= BACK_MS
    node.does(TimerFired(TIMER))
    node.now += TIMEOUT_MS + BACKOFF_MS
    assert asked(node.does(TimerFired(TIMER)))
