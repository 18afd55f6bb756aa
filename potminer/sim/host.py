"""One host: the real replica, a tiny ledger, a disk that survives, and timers on the virtual clock.

It performs effects as a node does, in list order, and can crash between any two of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from potminer.core.committee import Committee, certificate_holds
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
from potminer.core.misbehave import Censoring, Kind, Misbehaviour
from potminer.core.pbft.application import Application, Head, Timers
from potminer.core.pbft.events import Behind, Event, Started, WorkArrived
from potminer.core.pbft.machine import Replica
from potminer.sim.ledger import GENESIS_MS, Chain, TinyApplication
from potminer.wire import sync
from potminer.wire.block import Block, Certificate, CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.seal import Purpose, SigningKey
from potminer.wire.tx import SignedTransaction


class World(Protocol):
    """What a host needs of the world around it."""

    def send(self, host: Host, message: Wire, *, to: bytes | None) -> None: ...
    def after(self, delay_ms: int, action: Callable[[], None]) -> None: ...
    def now(self) -> int: ...
    def executed(self, host: Host, *, head: Head, certified: CertifiedBlock) -> None: ...
    def broke(self, host: Host, error: AssertionError) -> None: ...
    def any_peer(self, host: Host) -> bytes: ...


@dataclass(slots=True)
class Host:
    """*name* is unique; *member* is the committee seat, which twins share."""

    name: int
    member: int
    key: SigningKey
    chain_id: bytes
    committee: Committee
    parameters: Timers
    world: World
    chain: Chain
    skew_ms: int = 0
    honest: bool = True
    fault: Misbehaviour | None = None
    victims: frozenset[bytes] = frozenset()
    disk: dict[bytes, bytes] = field(default_factory=dict)
    replica: Replica | None = None
    mempool: TinyApplication | None = None
    fuse: int | None = None
    """Effects left until the crash."""
    make: type[Replica] = Replica
    """Which replica runs here; tests put a broken one."""
    lives: int = 0
    highest_view: int = 0
    _timers: dict[str, int] = field(default_factory=dict)
    _armed: int = 0
    _inbox: deque[Event] = field(default_factory=deque)

    @property
    def height(self) -> int:
        return self.chain.head.height

    # ---- life ----------------------------------------------------------------------------

    def start(self) -> None:
        """A process start: nothing is known but the disk and the chain."""
        if self.replica is not None:
            return
        self.lives += 1
        self.mempool = TinyApplication(self.chain, members=self.committee.members, epoch=self.committee.epoch)
        application: Application = self.mempool
        if self.fault is not None and self.fault.kind is Kind.CENSOR:
            application = Censoring(self.mempool, self.victims)
        self.replica = self.make(
            key=self.key,
            chain=self.chain_id,
            committee=self.committee,
            application=application,
            head=self.chain.head,
            persisted=dict(self.disk),
            parameters=self.parameters,
        )
        self.handle(Started())

    def crash(self) -> None:
        self.replica = self.mempool = self.fuse = None
        self._timers.clear()
        self._inbox.clear()

    def crash_within(self, effects: int) -> None:
        """Crashes after *effects* more effects: anywhere, also between writing and speaking."""
        self.fuse = effects

    # ---- events --------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """Feeds the replica *event* and whatever its effects answer with, in order."""
        if self.replica is None:
            return
        self._inbox.append(event)
        if len(self._inbox) > 1:
            return
        while self._inbox and self.replica is not None:
            try:
                effects = self.replica.handle(self._inbox[0], GENESIS_MS + self.world.now() + self.skew_ms)
            except AssertionError as error:
                self.world.broke(self, error)
                self.crash()
                return
            self.highest_view = max(self.highest_view, self.replica.view)
            self._perform(self.fault.transform(effects) if self.fault is not None else list(effects))
            if self._inbox:
                self._inbox.popleft()

    def receive(self, peer: bytes, message: Wire) -> None:
        match message:
            case sync.Head():
                if message.height > self.height:
                    self._ask(peer)
            case sync.BlocksWanted():
                first = message.first - 1
                found = tuple(self.chain.blocks[first : first + message.count])
                if found:
                    self.world.send(self, sync.Blocks(blocks=found), to=peer)
            case sync.Blocks():
                self._catch_up(message)
            case _:
                self.handle(MessageArrived(peer, message))

    def submit(self, signed: SignedTransaction) -> None:
        if self.mempool is not None and self.mempool.submit(signed):
            self.handle(WorkArrived())

    # ---- effects -------------------------------------------------------------------------

    def _perform(self, effects: list[object]) -> None:
        for effect in effects:
            if self.fuse is not None:
                if self.fuse == 0:
                    self.crash()
                    return
                self.fuse -= 1
            self._perform_one(effect)

    def _perform_one(self, effect: object) -> None:
        match effect:
            case Persist(key, None):
                self.disk.pop(key, None)
            case Persist(key, bytes() as value):
                self.disk[key] = value
            case Broadcast(message):
                self.world.send(self, message, to=None)
            case Send(peer, message):
                self.world.send(self, message, to=peer)
            case SetTimer(name, delay_ms):
                self._arm(name, delay_ms)
            case CancelTimer(name):
                self._timers.pop(name, None)
            case Execute(block, certificate):
                self._execute(block, certificate)
            case Behind():
                self._ask(self.world.any_peer(self))
            case _:
                pass  # notes and penalties: nothing to do in a world without bans

    def _arm(self, name: str, delay_ms: int) -> None:
        self._armed += 1
        ticket = self._timers[name] = self._armed

        def ring() -> None:
            if self._timers.get(name) == ticket:
                del self._timers[name]
                self.handle(TimerFired(name))

        self.world.after(delay_ms, ring)

    def _execute(self, block: Block, certificate: Certificate) -> None:
        if block.header.height != self.height + 1:
            return  # sync was faster
        certified = CertifiedBlock(block=block, certificate=certificate)
        self.world.executed(self, head=self.chain.head, certified=certified)
        self.chain.apply(certified)
        if self.mempool is not None:
            self.mempool.forget_executed()
        head = self.chain.head
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
            if not proven or not certificate_holds(proof, self.committee, chain=self.chain_id):
                return
            self._execute(certified.block, proof)
