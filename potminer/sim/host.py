"""One host: the real replica, a tiny ledger, a disk that survives, and timers on the virtual clock.

It performs effects as a node does, in list order, and can crash between any two of them. The
node's own engine runs in ``town.py``; this host is what thousands of seeds can afford.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from potminer.core.committee import certificate_holds
from potminer.core.machine import (
    Broadcast,
    CancelTimer,
    Execute,
    Executed,
    MessageArrived,
    Persist,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.core.misbehave import Censoring
from potminer.core.pbft.application import Application, Head, Timers
from potminer.core.pbft.events import Behind, DoubleVote, Event, Offer, Started, Witnessed, WorkArrived
from potminer.core.pbft.machine import Replica
from potminer.node import evidence
from potminer.sim.adversary import Adversary, Fault
from potminer.sim.disk import Disk, DiskFault
from potminer.sim.ledger import BLOCK_TRANSACTIONS, GENESIS_MS, Book, Chain, genesis
from potminer.sim.notary import Notary
from potminer.wire import sync
from potminer.wire.block import Block, Certificate, CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.seal import Purpose, SigningKey
from potminer.wire.tx import SignedTransaction

BROKEN = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a replica that is broken raises; its host stops, and the witnesses are told."""
SYNC = frozenset({sync.Head, sync.BlocksWanted, sync.Blocks})
FROZEN_MOST = 20_000
"""Messages that wait for a stopped process; the oldest give way."""


class World(Protocol):
    """What a host needs of the world around it."""

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None: ...
    def after(self, delay_ms: int, action: Callable[..., None], *arguments: Any) -> None: ...
    def now(self) -> int: ...
    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None: ...
    def reached(self, host: Host) -> None: ...
    def broke(self, host: Host, error: Exception) -> None: ...
    def any_peer(self, host: Host) -> bytes: ...


@dataclass(slots=True)
class Host:
    """*name* is unique; *member* is the committee seat, which twins share."""

    name: int
    member: int
    key: SigningKey
    chain_id: bytes
    parameters: Timers
    world: World
    chain: Chain
    skew_ms: int = 0
    honest: bool = True
    """Its software keeps every rule. Whether its disk kept everything is *forgetful*."""
    forgetful: bool = False
    fault: Fault | None = None
    victims: frozenset[bytes] = frozenset()
    """Senders whose transactions it leaves out of its blocks."""
    notary: Notary = field(default_factory=Notary)
    block_transactions: int = BLOCK_TRANSACTIONS
    disk: Disk = field(default_factory=Disk)
    kept: dict[bytes, int] = field(default_factory=dict)
    """Evidence, packed, and its height; on disk like everything a node keeps."""
    replica: Replica | None = None
    mempool: Book | None = None
    fuse: int | None = None
    """Effects left until the crash."""
    make: Callable[..., Replica] = Replica
    """Which replica runs here; tests put a broken one."""
    lives: int = 0
    stops: int = 0
    """How often it stopped by itself, or did not start, because of its disk."""
    highest_view: int = 0
    _timers: dict[str, int] = field(default_factory=dict)
    _armed: int = 0
    _inbox: deque[Event] = field(default_factory=deque)
    _frozen: deque[tuple[Callable[..., None], tuple[Any, ...]]] | None = None

    @property
    def height(self) -> int:
        return self.chain.head.height

    @property
    def leader(self) -> int | None:
        """The seat that leads as this host sees it."""
        if self.replica is None:
            return None
        return self.chain.committee.primary(height=self.replica.height, view=self.replica.view)

    # ---- life ----------------------------------------------------------------------------

    def start(self) -> None:
        """A process start: nothing is known but the disk and the chain. A disk that lies is not started on."""
        if self.replica is not None:
            return
        try:
            persisted = self.disk.read()
        except DiskFault:
            self.stops += 1
            return
        self.lives += 1
        self.mempool = self.chain.open(self.notary.holds, self.block_transactions)
        application: Application = self.mempool
        if self.victims:
            application = Censoring(self.mempool, self.victims)
        self.replica = self.make(
            key=self.key,
            chain=self.chain_id,
            application=application,
            head=self.chain.head,
            persisted=persisted,
            parameters=self.parameters,
        )
        self.handle(Started())

    def crash(self) -> None:
        self.replica = self.mempool = self.fuse = self._frozen = None
        self.disk.lose()
        self._timers.clear()
        self._inbox.clear()

    def crash_within(self, effects: int) -> None:
        """Crashes after *effects* more effects: anywhere, also between writing and speaking."""
        self.fuse = effects

    def wipe(self) -> None:
        """The disk is lost: journal and chain."""
        self.crash()
        self.disk.wipe()
        self.chain = self.chain.anew(genesis(self.chain_id))

    def freeze(self) -> None:
        if self.replica is not None and self._frozen is None:
            self._frozen = deque(maxlen=FROZEN_MOST)

    def thaw(self) -> None:
        """What waited is handled at once, in its order."""
        waiting, self._frozen = self._frozen, None
        for action, arguments in waiting or ():
            action(*arguments)

    # ---- events --------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Feeds the replica *event* and whatever its effects answer with, in order."""
        replica, inbox = self.replica, self._inbox
        if replica is None:
            return
        inbox.append(event)
        if len(inbox) > 1:
            return
        while inbox and replica is not None:
            try:
                effects = replica.handle(inbox[0], GENESIS_MS + self.world.now() + self.skew_ms)
            except BROKEN as error:
                self.world.broke(self, error)
                self.crash()
                return
            done: Sequence[object] = effects if self.fault is None else self.fault.transform(effects)
            if effects and replica.view > self.highest_view:  # a view is never entered in silence
                self.highest_view = replica.view
            if done:
                self._perform(done)
                replica = self.replica
            if inbox:
                inbox.popleft()

    def receive(self, peer: bytes, message: Wire) -> None:
        self.hear(MessageArrived(peer, message))

    def hear(self, event: MessageArrived) -> None:
        """Whoever hears one message may be told by one event."""
        if self._frozen is not None:
            self._frozen.append((self.hear, (event,)))
            return
        message = event.message
        if self.fault is not None and isinstance(self.fault, Adversary):
            self.fault.hear(message)
        if type(message) in SYNC:
            self._sync(event.peer, message)
        else:
            self.handle(event)

    def _sync(self, peer: bytes, message: Wire) -> None:
        match message:
            case sync.Head():
                if message.height > self.height:
                    self._ask(peer)
            case sync.BlocksWanted():
                first = message.first - 1
                found = tuple(self.chain.blocks[first : first + message.count])
                if found:
                    self._perform([Send(peer, sync.Blocks(blocks=found))])
            case sync.Blocks():
                self._catch_up(message)

    def submit(self, signed: SignedTransaction) -> None:
        if self._frozen is not None:
            self._frozen.append((self.submit, (signed,)))
        elif self.mempool is not None and self.mempool.submit(signed):
            self.handle(WorkArrived(full=self.mempool.full))

    # ---- effects -------------------------------------------------------------------------

    def _perform(self, effects: Sequence[object]) -> None:
        """In order, as the node's engine does: neighbouring ``Persist`` are one commit, durable before what follows."""
        unsynced, disk = False, self.disk
        try:
            for effect in effects:
                if self.fuse is not None:
                    if self.fuse == 0:
                        self.crash()
                        return
                    self.fuse -= 1
                if type(effect) is Persist:
                    disk.write(effect.key, effect.value)
                    unsynced = True
                    continue
                if unsynced:
                    disk.sync()
                    unsynced = False
                self._perform_one(effect)
            if unsynced:
                disk.sync()
        except DiskFault:
            self.stops += 1
            self.crash()

    def _perform_one(self, effect: object) -> None:
        match effect:
            case Broadcast():
                self.world.send(self, effect.message, to=None)
            case SetTimer():
                self._arm(effect.name, effect.delay_ms)
            case CancelTimer():
                self._timers.pop(effect.name, None)
            case Send():
                self.world.send(self, effect.message, to=effect.peer)
            case Execute(block, certificate):
                self._execute(block, certificate)
            case Witnessed(height, message):
                self.kept[evidence.pack(message)] = height
            case DoubleVote():
                for vote in evidence.votes(effect, self.chain.committee):
                    self.kept[evidence.pack(vote)] = vote.height
            case Offer(_, transactions):
                for signed in transactions:
                    self.submit(signed)
            case Behind():
                self._ask(self.world.any_peer(self))
            case _:
                pass  # notes and penalties: nothing to do in a world without bans

    def _arm(self, name: str, delay_ms: int) -> None:
        self._armed = ticket = self._armed + 1
        self._timers[name] = ticket
        self.world.after(delay_ms, self._ring, name, ticket)

    def _ring(self, name: str, ticket: int) -> None:
        if self._timers.get(name) != ticket:
            return
        if self._frozen is not None:
            self._frozen.append((self._ring, (name, ticket)))
            return
        del self._timers[name]
        self.handle(TimerFired(name))

    def _execute(self, block: Block, certificate: Certificate) -> None:
        if block.header.height != self.height + 1:
            return  # sync was faster
        certified = CertifiedBlock(block=block, certificate=certificate)
        self.world.executed(self, head=self.chain.head, certified=certified)
        self.chain.apply(certified)
        if self.mempool is not None:
            self.mempool.forget_executed()
        head = self.chain.head
        self.world.reached(self)
        self.handle(Executed(head.height, head.digest, head.state_root, head.time_ms))

    # ---- catching up ---------------------------------------------------------------------

    def _ask(self, peer: bytes) -> None:
        self.world.send(self, sync.BlocksWanted(first=self.height + 1, count=16), to=peer)

    def _catch_up(self, message: sync.Blocks) -> None:
        for certified in message.blocks:
            header, proof = certified.block.header, certified.certificate
            if header.height != self.height + 1 or self.replica is None:
                continue
            proven = (proof.purpose, proof.height, proof.digest) == (
                Purpose.COMMIT,
                header.height,
                block_digest(header),
            )
            if not proven or not certificate_holds(proof, self.chain.committee, chain=self.chain_id):
                return
            self._execute(certified.block, proof)
