"""Sixty nodes on a lossy network, in virtual time.

The harness is one event heap: messages take a drawn latency, some are lost, a link to a
banned peer is closed. All chance comes from the scenario's seed, so a failure replays.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest

from potminer.base.draw import below, shuffled, words
from potminer.core.gossip.events import (
    Ban,
    Deliver,
    Effect,
    Event,
    Offended,
    Publish,
    Started,
    Validate,
    Validated,
    Verdict,
)
from potminer.core.gossip.machine import DEFAULTS, Gossip
from potminer.core.gossip.parameters import Parameters
from potminer.core.machine import (
    MessageArrived,
    PeerDown,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.wire.codec import Wire
from potminer.wire.gossip import Item, Push, Topic, item_digest

NODES = 60
OUTBOUND = 8
CHAIN = bytes(32)
EVIL = b"\xee" * 32
INVALID = b"invalid"


def key(n: int) -> bytes:
    return n.to_bytes(32, "big")


def item(text: str) -> Item:
    return Item(Topic.TRANSACTION, text.encode())


def reject(one: Item) -> Verdict:
    return Verdict.REJECT if one.body.startswith(INVALID) else Verdict.ACCEPT


@dataclass
class World:
    """The network and what was observed on it."""

    seed: bytes
    loss_percent: int = 10
    parameters: Parameters = DEFAULTS
    nodes: dict[bytes, Gossip] = field(default_factory=dict)
    now: int = 0
    got: dict[bytes, Counter[bytes]] = field(default_factory=lambda: defaultdict(Counter))
    copies: Counter[bytes] = field(default_factory=Counter)
    forwarded_invalid: list[bytes] = field(default_factory=list)
    bans: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    penalties: Counter[bytes] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = words(self.seed, b"world")
        self._queue: list[tuple[int, int, bytes, Event]] = []
        self._order = 0
        for n in range(NODES):
            self.nodes[key(n)] = Gossip(key(n), CHAIN, self.seed, self.parameters)
            self.later(key(n), Started(), below(self._chance, 700))
        for n in range(NODES):
            others = [key(other) for other in range(NODES) if other != n]
            for other in shuffled(self._chance, others)[:OUTBOUND]:
                self.link(key(n), other)

    def link(self, dialler: bytes, listener: bytes) -> None:
        self.later(dialler, PeerUp(listener, outbound=True, address=("10.0.0.1", 1)), 1)
        self.later(listener, PeerUp(dialler, outbound=False), 1)

    def later(self, node: bytes, event: Event, delay: int) -> None:
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay, self._order, node, event))

    def send(self, sender: bytes, receiver: bytes, message: Wire) -> None:
        if below(self._chance, 100) >= self.loss_percent:
            self.later(receiver, MessageArrived(sender, message), 20 + below(self._chance, 100))

    def run(self, milliseconds: int) -> None:
        until = self.now + milliseconds
        while self._queue and self._queue[0][0] <= until:
            self.now, _, node, event = heapq.heappop(self._queue)
            if node in self.nodes:
                self._observe(node, event)
                for effect in self.nodes[node].handle(event, self.now):
                    self._perform(node, effect)
        self.now = until

    def _observe(self, node: bytes, event: Event) -> None:
        if isinstance(event, MessageArrived) and isinstance(event.message, Push):
            self.copies.update(item_digest(one) for one in event.message.items)

    def _perform(self, node: bytes, effect: Effect) -> None:
        match effect:
            case Send():
                if isinstance(effect.message, Push) and any(i.body.startswith(INVALID) for i in effect.message.items):
                    self.forwarded_invalid.append(node)
                self.send(node, effect.peer, effect.message)
            case SetTimer():
                self.later(node, TimerFired(effect.name), effect.delay_ms)
            case Validate():
                verdicts = tuple((i, reject(one)) for i, one in effect.items)
                self.later(node, Validated(verdicts), 5)
            case Deliver():
                self.got[node].update(item_digest(one) for one in effect.items)
            case Penalize():
                self.penalties[effect.peer] += 1
                self.later(node, Offended(effect.peer, effect.offence), 0)
            case Ban():
                self.bans.append((node, effect.peer, effect.seconds))
                self.later(effect.peer, PeerDown(node), 50)


@pytest.mark.parametrize("seed", [b"1", b"2", b"3"])
def test_everything_reaches_everybody_through_ten_percent_loss(seed: bytes) -> None:
    world = World(seed)
    world.run(3_000)
    items = [item(f"item {n}") for n in range(40)]
    for n, one in enumerate(items):
        world.later(key(n), Publish((one,)), 100 * n)
    world.run(12_000)
    for node in world.nodes:
        others = {item_digest(one) for n, one in enumerate(items) if key(n) != node}
        assert set(world.got[node]) == others, f"seed {seed!r}: a node lacks items"
        assert set(world.got[node].values()) == {1}, f"seed {seed!r}: an item was delivered twice"
    for one in items:
        per_node = world.copies[item_digest(one)] / NODES
        assert per_node < 10, f"seed {seed!r}: {per_node} copies of one item per node"
    assert not world.bans


@pytest.mark.parametrize("seed", [b"1", b"2", b"3"])
def test_a_thin_mesh_loses_items_and_lazy_repair_brings_them_back(seed: bytes) -> None:
    """Mesh of two: pushes alone leave gaps. Announcements, wants and retries close every one."""

    def missing(lazy: int) -> int:
        thin = Parameters(degree=2, degree_low=2, degree_high=3, outbound_least=0, flood_bytes=0, lazy=lazy)
        world = World(seed, parameters=thin)
        world.run(3_000)
        for n in range(20):
            world.later(key(n), Publish((item(f"item {n}"),)), 100 * n)
        world.run(12_000)
        return 20 * (NODES - 1) - sum(len(got) for got in world.got.values())

    assert missing(lazy=0) > 0
    assert missing(lazy=6) == 0


def test_meshes_settle_within_their_bounds() -> None:
    world = World(b"calm", loss_percent=0)
    world.run(10_000)
    sizes = [len(node.mesh(Topic.TRANSACTION)) for node in world.nodes.values()]
    assert min(sizes) >= 6
    assert max(sizes) <= 12


def test_the_same_seed_gives_the_same_run() -> None:
    def trace() -> list[tuple[bytes, ...]]:
        world = World(b"again")
        world.later(key(0), Publish((item("x"),)), 3_000)
        world.run(5_000)
        return [node.mesh(Topic.TRANSACTION) for node in world.nodes.values()]

    assert trace() == trace()


def test_an_invalid_item_dies_at_the_first_hop_and_its_sender_is_banned_until_the_ban_ends() -> None:
    world = World(b"evil", loss_percent=0)
    victims = [key(n) for n in range(10)]
    world.run(3_000)
    for victim in victims:
        world.later(victim, PeerUp(EVIL, outbound=False), 0)
        for n in range(3):
            world.later(victim, MessageArrived(EVIL, Push((Item(Topic.TRANSACTION, INVALID + b"%d" % n),))), 10 + n)
    world.run(5_000)
    assert world.forwarded_invalid == []
    assert sorted(world.bans) == [(victim, EVIL, 600) for victim in victims]
    assert set(world.penalties) == {EVIL}
    assert all(EVIL not in world.nodes[victim].peers() for victim in victims)

    world.later(victims[0], PeerUp(EVIL, outbound=False), 0)
    world.run(1_000)
    assert EVIL not in world.nodes[victims[0]].peers()

    alone = world.nodes[victims[0]]
    after = world.now + 600_000
    alone.handle(PeerUp(EVIL, outbound=False), after)
    assert EVIL in alone.peers()
    redeemed = Push((item("honest at last"),))
    assert any(isinstance(e, Validate) for e in alone.handle(MessageArrived(EVIL, redeemed), after))
