"""The grid published for the other implementation of Proof of Training, on shaped links, in virtual time.

Published (README of github.com/P-HOW/proof-of-training, 2023): seconds until a batch of
transactions is agreed on, for three bandwidths and several sizes, on one host with emulated links.
The emulated latency is "10 % to 100 % of the given value", which is not given; here it is drawn
from 35 to 350 ms for every message. Their times do not grow with the number of nodes, so a
bandwidth is a link's, not a node's; --shared shapes each node's whole uplink instead, which is
harder.

Here: one client hands the batch to the validator whose turn it is (theirs goes to the one primary); the time
ends when the last node has executed the last transaction. At every member the node's own gossip, sync and replica
(a bare ledger under it); real messages, cut into real frames; a line carries one frame at a time, of the most urgent
channel first, does not queue what consensus repeats, and deflates frames while it is behind, as a link does
(world/net); 60 bytes of headers a message. A committee has at most 31 members, so of 50 nodes 19 only follow: each is
linked with eight validators and asks for blocks with the node's own sync. Computing takes no virtual time; what it
takes is in the column of CPU seconds, for all nodes together.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

from clients import BLOCK_TRANSACTIONS, SENDERS
from record import Figures, finish, parser

from potminer.base.digest import Domain, digest, number
from potminer.core.gossip import events as gossip
from potminer.core.gossip.machine import Gossip
from potminer.core.machine import (
    CancelTimer,
    Execute,
    Executed,
    MessageArrived,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.core.pbft.application import Timers
from potminer.core.pbft.events import Behind, WorkArrived
from potminer.core.pbft.terse import Terse
from potminer.core.sync import machine as sync_machine
from potminer.core.sync.machine import ReadBlocks, Sync
from potminer.core.sync.proof import Tip
from potminer.sim.host import Host
from potminer.sim.ledger import Chain, genesis
from potminer.sim.network import Action, Network, Way
from potminer.sim.notary import NotedKey
from potminer.sim.plan import Plan
from potminer.sim.world import CHAIN, World
from potminer.wire import sync
from potminer.wire.block import Block, Certificate, CertifiedBlock
from potminer.wire.codec import Wire, encode
from potminer.wire.deflate import LEAST_BYTES, Deflater
from potminer.wire.frame import encode_frame, fragments
from potminer.wire.gossip import Item, Topic
from potminer.wire.registry import Channel, pack
from potminer.wire.tx import (
    SignedTransaction,
    Transaction,
    Transfer,
    decode_signed,
    sign_transaction,
    transaction_digest,
)
from potminer.world.net.link import BEHIND_S
from potminer.world.net.outbox import LONG_BYTES

PUBLISHED_S: dict[tuple[int, int], tuple[float | None, float, float]] = {
    (100, 10): (8.609, 1.494, 1.497),
    (100, 30): (8.707, 1.685, 1.755),
    (1_000, 30): (73.536, 1.682, 1.833),
    (100, 50): (8.697, 1.842, 1.752),
    (200, 50): (15.984, 1.908, 1.893),
    (5_000, 50): (37.532, 1.767, 1.678),
    (10_000, 50): (None, 7.215, 2.074),
}
"""(transactions, nodes): seconds at 0.1, 30 and 125 Mbit/s."""
MBIT = (0.1, 30.0, 125.0)
LEAST_MS, MOST_MS = 35, 350
MESSAGE_BYTES = 60
BEHIND_BYTES = 48 * 1024
"""What waits on a link before its line counts as behind: what the kernel and the transport take unsent."""
COMMITTEE = 31
PEERS = 8
"""Links of a node that only follows: as many as a node dials."""
FOLLOWER = 100
BEGIN_MS = 1_000
PATIENCE_MS = 600_000
REPLY_BYTES = 3 * 1024 * 1024
"""Of blocks in one answer (spec/sync.md)."""


@dataclass(slots=True)
class Line(Way):
    """A way that knows whose it is."""

    ends: tuple[int, int] = (0, 0)


@dataclass(slots=True)
class Said:
    """A message that is sent: its kind, its channel and its frames."""

    kind: str
    lane: Channel
    frames: list[bytes]
    body: bytes


@dataclass(slots=True)
class Sending:
    """One message on one line: the frames that are still to go, and what happens once it is there."""

    said: Said
    ends: tuple[int, int]
    arrive: Callable[[], None]
    gone: int = 0


@dataclass(slots=True)
class Queue:
    """What waits for a line, by channel, the more urgent first; one frame at a time is on it (world/net/outbox.py)."""

    lanes: dict[Channel, deque[Sending]] = field(default_factory=lambda: {channel: deque() for channel in Channel})
    bodies: set[bytes] = field(default_factory=set)
    """Long messages of consensus that wait: they are not queued again."""
    waiting_bytes: int = 0
    busy: bool = False
    behind_until: int = -1
    spent_ms: float = 0.0
    deflater: Deflater = field(default_factory=Deflater)


class Shaped(Network):
    """Every frame takes its bytes' time on its link (or its node's uplink), then a drawn latency."""

    mbit: float
    shared: bool
    chance: Random
    said: Said
    queues: dict[tuple[int, int], Queue]
    sent: Counter[tuple[str, int, int]]
    """Bytes: kind, from whom, to whom."""

    def way(self, source: int, target: int) -> Line:
        line = self._ways.get((source, target))
        if not isinstance(line, Line):
            line = self._ways[source, target] = Line(self.chance.random, ends=(source, target))
        return line

    def carry_on(self, way: Way, deliver: Action, arguments: tuple[Any, ...]) -> None:
        if not isinstance(way, Line):
            raise AssertionError("a way of another network")
        (source, target), said = way.ends, self.said
        key = (source, -1 if self.shared else target)
        queue = self.queues.get(key) or self.queues.setdefault(key, Queue())
        if not self.shared and said.lane is Channel.CONSENSUS and len(said.body) >= LONG_BYTES:
            if said.body in queue.bodies:
                return
            queue.bodies.add(said.body)
        queue.lanes[said.lane].append(Sending(said, way.ends, partial(deliver, *arguments)))
        queue.waiting_bytes += sum(map(len, said.frames))
        self.carried += 1
        if not queue.busy:
            self._next(queue)

    def _next(self, queue: Queue) -> None:
        """The next frame of the most urgent channel goes onto the line."""
        lane = next((lane for lane in queue.lanes.values() if lane), None)
        queue.busy = lane is not None
        if lane is None:
            return
        sending = lane[0]
        frame = sending.said.frames[sending.gone]
        queue.waiting_bytes -= len(frame)
        if queue.waiting_bytes > BEHIND_BYTES:
            queue.behind_until = self.clock.now + int(BEHIND_S * 1_000)
        if self.clock.now < queue.behind_until and len(frame) >= LEAST_BYTES:
            frame = queue.deflater.shell(frame)
        size = len(frame) + (0 if sending.gone else MESSAGE_BYTES)
        self.sent[(sending.said.kind, *sending.ends)] += size
        sending.gone += 1
        done = sending.gone == len(sending.said.frames)
        if done:
            queue.bodies.discard(lane.popleft().said.body)
        # Whole milliseconds of the clock, and what is left of one for the next frame.
        exact = queue.spent_ms + size * 8 / (self.mbit * 1_000)
        queue.spent_ms = exact - int(exact)
        self.clock.after(int(exact), self._sent, queue, sending.arrive if done else None)

    def _sent(self, queue: Queue, arrive: Callable[[], None] | None) -> None:
        if arrive is not None:
            self.clock.after(self.chance.randint(LEAST_MS, MOST_MS), arrive)
        self._next(queue)


def said(message: Wire) -> Said:
    row, body = pack(message)
    frames = [encode_frame(fragment) for fragment in fragments(row, body)]
    return Said(row.type.__name__, row.channel, frames, body)


class Syncing:
    """The node's own sync (core/sync) at *name*, linked to *peers* by key."""

    def __init__(self, grid: Grid, name: int, key: bytes, chain: Chain, *, follows: bool = True) -> None:
        self.name, self.key, self.chain = name, key, chain
        self.peers: dict[bytes, Syncing] = {}
        self._grid = grid
        tip = Tip(0, chain.head.digest, chain.head.state_root)
        self._sync = Sync(CHAIN, chain.committee, tip, follows=follows, decides=not follows)
        self._timer = 0
        self.blamed = 0
        """How often an answer came after its time."""

    def start(self) -> None:
        for peer in self.peers:
            self.hear(PeerUp(peer, outbound=True))

    def hear(self, event: sync_machine.Event) -> None:
        for effect in self._sync.handle(event, self._grid.clock.now):
            match effect:
                case Send(peer, message):
                    self._say(peer, message)
                case ReadBlocks(peer, first, count):
                    self._say(peer, sync.Blocks(tuple(self._read(first, count))))
                case Execute(block, certificate):
                    self.execute(block, certificate)
                case SetTimer(name, delay_ms):
                    self._timer += 1
                    self._grid.after(delay_ms, self._ring, name, self._timer)
                case CancelTimer():
                    self._timer += 1
                case Penalize():
                    self.blamed += 1

    def execute(self, block: Block, certificate: Certificate) -> None:
        self.chain.apply(CertifiedBlock(block, certificate))
        self.executed()

    def executed(self) -> None:
        head = self.chain.head
        self._grid.after(0, self.hear, Executed(head.height, head.digest, head.state_root, head.time_ms))

    def _read(self, first: int, count: int) -> Iterator[CertifiedBlock]:
        """As a node reads them: one at least, and then no more than a reply holds."""
        size = 0
        for certified in self.chain.blocks[first - 1 : first - 1 + count]:
            size += len(certified.block.encoded) + len(encode(certified.certificate))
            if size > REPLY_BYTES and certified.block.header.height > first:
                return
            yield certified

    def _say(self, peer: bytes, message: Wire) -> None:
        other, self._grid.shaped.said = self.peers[peer], said(message)
        self._grid.network.carry(self.name, other.name, other.hear, MessageArrived(self.key, message))

    def _ring(self, name: str, ticket: int) -> None:
        if ticket == self._timer:
            self.hear(TimerFired(name))


class Deciding(Syncing):
    """The same at a member: what consensus decides there, others are told, and what it did not is asked for."""

    def __init__(self, grid: Grid, host: Host) -> None:
        super().__init__(grid, host.name, host.key.public, host.chain, follows=False)
        self._host = host

    def execute(self, block: Block, certificate: Certificate) -> None:
        self._host._execute(block, certificate)


class Member(Host):
    """A host whose sync is the node's."""

    __slots__ = ()

    def _sync(self, peer: bytes, message: Wire) -> None:
        self.grid.syncing[self.key.public].hear(MessageArrived(peer, message))

    def _perform_one(self, effect: object) -> None:
        if isinstance(effect, Behind):
            self.grid.syncing[self.key.public].hear(sync_machine.Behind(effect.height))
        else:
            super()._perform_one(effect)

    @property
    def grid(self) -> Grid:
        if not isinstance(self.world, Grid):
            raise AssertionError("a member of another world")
        return self.world


class Telling:
    """The node's own gossip (core/gossip) at a member, linked with all others; what it accepts is for the mempool."""

    def __init__(self, grid: Grid, host: Host) -> None:
        self._grid, self._host = grid, host
        self._gossip = Gossip(host.key.public, CHAIN, digest(Domain.DRAW, b"gossip", host.key.public))

    def start(self) -> None:
        others = [host.key.public for host in self._grid.hosts if host is not self._host]
        self.hear(gossip.Seek(frozenset(others)))
        for other in others:
            self.hear(PeerUp(other, outbound=other < self._host.key.public))
        self._grid.after(self._grid.shaped.chance.randrange(700), self.hear, gossip.Started())

    def hear(self, event: gossip.Event) -> None:
        soon = deque([event])
        while soon:
            for effect in self._gossip.handle(soon.popleft(), self._grid.clock.now):
                match effect:
                    case Send(peer, message):
                        self._say(peer, message)
                    case SetTimer(name, delay_ms):
                        self._grid.after(delay_ms, self.hear, TimerFired(name))
                    case gossip.Validate(items):
                        soon.append(gossip.Validated(tuple((each, gossip.Verdict.ACCEPT) for each, _ in items)))
                    case gossip.Deliver(items):
                        bodies = (decode_signed(item.body) for item in items)
                        _submit_all(self._host, [self._grid.batch.setdefault(each.leaf, each) for each in bodies])

    def executed(self) -> None:
        block = self._host.chain.blocks[-1].block
        self.hear(gossip.Settled(tuple(signed.encoded for signed in block.transactions)))

    def _say(self, peer: bytes, message: Wire) -> None:
        other, self._grid.shaped.said = self._grid.telling[peer], said(message)
        heard = MessageArrived(self._host.key.public, message)
        self._grid.network.carry(self._host.name, other._host.name, other.hear, heard)


class Grid(World):
    """A world on shaped links, with followers."""

    host = Member

    def __init__(self, count: int, nodes: int, mbit: float, *, shared: bool) -> None:
        plan = Plan(name="grid", seed=nodes, powers=(1,) * min(nodes, COMMITTEE), transactions=0)
        super().__init__(plan, parameters=Timers())
        self.count = count
        names = tuple(host.name for host in self.hosts)
        self.network = shaped = Shaped(self.clock, "grid", plan.weather, names)
        shaped.mbit, shaped.shared, shaped.chance, shaped.queues = mbit, shared, Random(nodes), {}
        shaped.sent = Counter()
        self.shaped = shaped
        self.telling = {host.key.public: Telling(self, host) for host in self.hosts}
        self.batch: dict[bytes, SignedTransaction] = {}
        """Every transaction once, however many hold it."""
        self.syncing = {host.key.public: Deciding(self, host) for host in self.hosts}
        for key, each in self.syncing.items():
            each.peers.update((other, peer) for other, peer in self.syncing.items() if other != key)
        self.followers = [self._follower(index) for index in range(nodes - len(self.hosts))]
        for host in self.hosts:
            host.block_transactions = BLOCK_TRANSACTIONS
            host.make = partial(Terse, busy=partial(self._is_behind, host))

    def _is_behind(self, host: Host, peer: bytes) -> bool:
        queue = self.shaped.queues.get((host.name, -1 if self.shaped.shared else self.syncing[peer].name))
        return queue is not None and queue.waiting_bytes > 0

    def _follower(self, index: int) -> Syncing:
        key = NotedKey(digest(Domain.DRAW, b"follower", number(index)), self.notary).public
        chain = Chain(head=genesis(CHAIN), committee=self.committee)
        follower = Syncing(self, FOLLOWER + index, key, chain)
        for step in range(PEERS):
            member = self.syncing[self.hosts[(index + step * 4) % len(self.hosts)].key.public]
            follower.peers[member.key], member.peers[key] = member, follower
        return follower

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None:
        self.shaped.said = said(message)
        super().send(host, message, to=to)

    def reached(self, host: Host) -> None:
        """*host* executed a block, and has it."""
        super().reached(host)
        self.syncing[host.key.public].executed()
        self.telling[host.key.public].executed()

    def submit_all(self) -> None:
        """The client's batch reaches one validator, whose gossip tells the others."""
        door = self.hosts[self.committee.primary(height=1, view=0)]
        senders = [NotedKey(digest(Domain.DRAW, b"sender", number(index)), self.notary) for index in range(SENDERS)]
        batch = [_transfer(senders[serial % SENDERS], serial) for serial in range(self.count)]
        for signed in batch:
            self.witnesses.submitted(transaction_digest(signed.transaction))
        items = tuple(Item(Topic.TRANSACTION, signed.encoded) for signed in batch)
        self.telling[door.key.public].hear(gossip.Publish(items))
        _submit_all(door, batch)

    def megabytes(self) -> Figures:
        """By kind, the largest first."""
        kinds: Counter[str] = Counter()
        for (kind, _, _), size in self.shaped.sent.items():
            kinds[kind] += size
        return {kind: size / 1e6 for kind, size in kinds.most_common()}

    def seconds(self) -> float | None:
        """From the client's batch to the last node's last transaction."""
        for host in self.hosts:
            host.start()
        parts: list[Telling | Syncing] = [*self.telling.values(), *self.syncing.values(), *self.followers]
        for part in parts:
            part.start()
        self.clock.after(BEGIN_MS, self.submit_all)
        nodes: list[Host | Syncing] = [*self.hosts, *self.followers]
        while self.clock.step(PATIENCE_MS):
            if all(len(node.chain.executed) == self.count for node in nodes):
                if self.witnesses.violations:
                    raise SystemExit(f"a promise was broken: {self.witnesses.violations}")
                return (self.clock.now - BEGIN_MS) / 1_000
        return None


def _submit_all(host: Host, push: list[SignedTransaction]) -> None:
    """As a node does it: what came together is one event."""
    if host.mempool is not None and any([host.mempool.submit(signed) for signed in push]):
        host.handle(WorkArrived(full=host.mempool.full))


def _transfer(sender: NotedKey, serial: int) -> SignedTransaction:
    transaction = Transaction(
        chain=CHAIN, sender=sender.public, nonce=serial // SENDERS, fee=1_000, expiry=2**32,
        body=Transfer(to=sender.public, amount=serial),
    )
    return sign_transaction(transaction, sender)


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--shared", action="store_true", help="shape every node's uplink instead of every link")
    made.add_argument("--only", help="one cell, as in 5000x50@0.1")
    made.add_argument("--most", type=int, default=10_000, help="leave out batches above this")
    options = made.parse_args()
    figures: Figures = {"shared": options.shared}
    for (count, nodes), published in PUBLISHED_S.items():
        if count > options.most:
            continue
        for mbit, theirs in zip(MBIT, published, strict=True):
            name = f"{count}x{nodes}@{mbit:g}"
            if options.only not in (None, name):
                continue
            began = time.process_time()
            world = Grid(count, nodes, mbit, shared=options.shared)
            took = world.seconds()
            figures[name] = {
                "s": took, "published_s": theirs, "blocks": max(host.height for host in world.hosts),
                "mbytes": sum(world.shaped.sent.values()) / 1e6,
                "mbytes_of": world.megabytes(),
                "late_answers": sum(each.blamed for each in world.followers),
                "cpu_s": time.process_time() - began,
            }
            if not options.json:
                print(name, figures[name], flush=True)  # noqa: T201
    finish("pot_grid", figures, options, note="virtual time; latency 35 to 350 ms; committee of at most 31")


if __name__ == "__main__":
    main()
