"""A citizen: the node's own engine with its own machines, on hands that reach a simulated world.

Nothing of the node is rewritten: the engine, its inbox, the ledger, PBFT, sync, gossip, rounds
and the steward are those that ship. Only ``Hands`` is ours: links are the simulated network's,
the disk is one that fails, and time is the loop's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from potminer.base import limits
from potminer.base.digest import Domain, digest
from potminer.base.errors import PotminerError
from potminer.core.gossip import events as gossip
from potminer.core.gossip.machine import Gossip
from potminer.core.leap.machine import Leap
from potminer.core.ledger.beacon import Onion, Onions
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import State, restored
from potminer.core.misbehave import Censoring
from potminer.core.pbft.application import Application, Head, Timers
from potminer.core.pbft.machine import Replica
from potminer.core.pbft.memory import SINCE, Memory
from potminer.core.pbft.terse import Terse
from potminer.core.rounds.machine import Rounds
from potminer.core.steward import Steward
from potminer.core.sync.machine import Sync
from potminer.core.sync.proof import Tip
from potminer.node.application import LedgerApplication
from potminer.node.engine import Engine, Hands, Machines, StoredBlock
from potminer.node.gaps import Gaps
from potminer.node.history import History
from potminer.node.inbox import Inbox, To
from potminer.node.leaping import Leaper, LightJudge, Snapshots, recalled
from potminer.node.outbox import Outbox
from potminer.node.past import Past
from potminer.node.seats import Seats
from potminer.sim.adversary import Adversary, Fault
from potminer.sim.disk import Disk, DiskFault
from potminer.sim.ledger import GENESIS_MS
from potminer.sim.shelf import Drawer, Shelf
from potminer.wire.block import Block, Certificate
from potminer.wire.codec import Wire, decode
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.hello import Hello
from potminer.wire.leap import Chunk, Manifest
from potminer.wire.seal import SigningKey
from potminer.wire.trainer import Job, Report
from potminer.wire.tx import SignedTransaction
from potminer.world.store.snapshots import Landing

CHECKPOINT_BLOCKS = 3
FAR_BLOCKS = 3
"""Few, so that whoever was away for some seconds leaps."""
SILENT_MS = 15_000
WRITE_MS = 3
"""How long a commit takes: the disks that were measured do three hundred a second."""


async def _kept_nowhere(entries: Sequence[tuple[bytes, bytes | None]]) -> None:
    """A citizen is no rig: it has no earnings to be mistaken about."""


class NoRoom(PotminerError):
    """The disk refused: the node stops, as it does for the store's own error."""


class Town(Protocol):
    """What a citizen needs of the world around it."""

    def send(self, citizen: Citizen, peer: bytes, message: Wire) -> bool: ...
    def now(self) -> int: ...
    def began(self, citizen: Citizen) -> None: ...
    def ended(self, citizen: Citizen) -> None: ...
    def executed(self, citizen: Citizen, head: Head, block: Block, certificate: Certificate, state: State) -> None: ...
    def landed(self, citizen: Citizen, landing: Landing) -> None: ...
    def broke(self, citizen: Citizen, error: BaseException | str) -> None: ...


def spoilt(message: Wire) -> Wire:
    """What a false server says instead: half of a chunk, and the manifest of nothing at odd heights."""
    match message:
        case Chunk() if message.items:
            return Chunk(message.height, message.index, message.items[: len(message.items) // 2])
        case Manifest() if message.height % 2:
            return Manifest(message.height, b"\x00", bytes(32))
        case _:
            return message


class Doorway(Inbox):
    """An inbox whose reader may be stopped: what arrives waits, as it does for a stopped process."""

    def __init__(self, note: Callable[[str, str], None]) -> None:
        super().__init__(on_blob=lambda peer, message: None, on_link_down=lambda peer: None, note=note)
        self.awake = asyncio.Event()
        self.awake.set()

    async def take(self) -> tuple[To, object]:
        taken = await super().take()
        await self.awake.wait()
        return taken


class Citizen:
    """One member's computer. *life* is the process that runs on it, or None."""

    def __init__(
        self, town: Town, genesis: Genesis, key: SigningKey, onion: Onion, *, name: int, member: int, skew_ms: int,
        honest: bool, forgetful: bool, false_server: bool, fault: Fault | None, victims: frozenset[bytes],
        make: type[Engine],
    ) -> None:
        self.make = make
        self.town, self.genesis, self.key, self.onion = town, genesis, key, onion
        self.name, self.member, self.skew_ms = name, member, skew_ms
        self.honest, self.forgetful, self.fault, self.victims = honest, forgetful, fault, victims
        self.disk, self.shelf = Disk(), Shelf(genesis)
        self.life: Life | None = None
        self.fuse: int | None = None
        self.lives = self.stops = self.highest_view = 0
        self.false_server = false_server
        self.spoke = False
        """A replica with this key has lived: known wherever the key is."""

    # ---- what chaos looks at and does (chaos.Struck) --------------------------------------

    @property
    def height(self) -> int:
        return self.shelf.head.height

    @property
    def replica(self) -> Replica | None:
        return None if self.life is None else self.life.replica

    @property
    def leader(self) -> int | None:
        """The seat that leads as this citizen sees it."""
        if self.life is None:
            return None
        replica = self.life.replica
        return self.life.ledger.committee.primary(height=replica.height, view=replica.view)

    def start(self) -> None:
        if self.life is not None:
            return
        try:
            self.life = Life(self, self.disk.read())
        except DiskFault:
            self.stops += 1
            return
        self.lives += 1
        self.town.began(self)

    def crash(self) -> None:
        life, self.life, self.fuse = self.life, None, None
        if life is not None:
            life.task.cancel()
            self.town.ended(self)
        self.disk.lose()

    def crash_within(self, effects: int) -> None:
        self.fuse = effects

    def wipe(self) -> None:
        self.crash()
        self.disk.wipe()
        self.shelf = Shelf(self.genesis)

    def freeze(self) -> None:
        if self.life is not None:
            self.life.inbox.awake.clear()

    def thaw(self) -> None:
        if self.life is not None:
            self.life.inbox.awake.set()

    def burn(self) -> None:
        """One more effect; the last one of a fuse is the crash."""
        if self.fuse is not None:
            if self.fuse == 0:
                self.crash()
            else:
                self.fuse -= 1


class Life:
    """One process: machines put together as ``node/build.py`` does, from what the disk holds."""

    def __init__(self, citizen: Citizen, journal: dict[bytes, bytes]) -> None:
        self.citizen, self.town = citizen, citizen.town
        key, genesis, shelf = citizen.key, citizen.genesis, citizen.shelf
        chain, head = chain_id(genesis), shelf.head
        state = restored(chain, genesis.parameters, shelf.ledger.items())
        if state.root != head.state_root:
            self.town.broke(citizen, "the stored ledger does not have the root of its head")
        self.ledger = Ledger(state, head=head.digest, onions=Onions(citizen.onion))
        seats = Seats(self.ledger)
        application: Application = LedgerApplication(self.ledger)
        if citizen.victims:
            application = Censoring(application, citizen.victims)
        self.replica = Terse(
            key=key, chain=chain, application=application, head=head, persisted=journal,
            parameters=Timers(checkpoint_blocks=CHECKPOINT_BLOCKS), memory=self._memory(journal),
        )
        self.inbox = Doorway(self._note)
        past, drawer = Past(state), Drawer(shelf, self._write, lambda landing: self.town.landed(citizen, landing))
        snapshots = Snapshots(
            drawer, self._note, epoch_blocks=genesis.parameters.epoch_blocks, every=CHECKPOINT_BLOCKS,
            keep_blocks=1,
        )
        history = History(key.public)
        gaps = Gaps(key.public, history, _kept_nowhere, saved=None, head=head.height)
        machines = Machines(
            ledger=self.ledger,
            replica=self.replica,
            gossip=Gossip(key.public, chain, digest(Domain.DRAW, b"gossip", key.public)),
            sync=Sync(chain, seats.committee, Tip(head.height, head.digest, head.state_root), decides=True),
            leap=Leap(
                head.height, lambda: LightJudge.at_head(self.ledger), far=FAR_BLOCKS, kept=recalled(drawer.found())
            ),
            leaper=Leaper(self.ledger, past, snapshots, gaps, self._note),
            rounds=Rounds(key=key.public, payout=None, validator=True, salt_secret=bytes(32), persisted=journal),
            outbox=Outbox(key, self.ledger),
            history=history,
            steward=Steward(renew_below=0, persisted=journal),
            past=past,
        )
        hands = Hands(
            send=self._send,
            dial=self._dial,
            ban=lambda peer, seconds: None,
            fetch=self._fetch,
            keep=lambda blobs: None,
            excerpt=self._no_excerpt,
            work=self._work,
            cancel=lambda job: None,
            persist=self._persist,
            store_block=self._store_block,
            read_blocks=self._read_blocks,
            clock=lambda: GENESIS_MS + self.town.now() + citizen.skew_ms,
            changed=self._changed,
            note=self._note,
            next_onion=self._next_onion,
            witness=self._witness,
            transform=self._transform,
        )
        self.inbox.post(To.GOSSIP, gossip.Seek(seats.peers_of(key.public)))
        self.engine = citizen.make(machines, hands, self.inbox, own=key.public, seats=seats)
        self.task = asyncio.get_running_loop().create_task(self.engine.run())
        self.task.add_done_callback(self._done)

    def _memory(self, journal: dict[bytes, bytes]) -> Memory:
        """As the node has it: its disk's age, and whether its key is older (a mark that lies with the keys)."""
        citizen = self.citizen
        if SINCE not in journal and not citizen.shelf.head.height:
            now = GENESIS_MS + self.town.now() + citizen.skew_ms
            for key, value in Memory(now, citizen.spoke).begun():
                journal[key] = value
                citizen.disk.write(key, value)
            citizen.disk.sync()
        citizen.spoke = True
        return Memory.of(journal, silent_ms=SILENT_MS)

    def submit(self, signed: SignedTransaction) -> None:
        self.engine.submit([signed])

    def link_up(self, peer: bytes, *, outbound: bool, height: int) -> None:
        self.inbox.link_up(peer, Hello("simulated", 0, height), outbound, (peer.hex()[:12], 1))

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, NoRoom):
            self.citizen.stops += 1
        elif error is not None:
            self.town.broke(self.citizen, error)
        if self.citizen.life is self:
            self.citizen.crash()

    # ---- hands ---------------------------------------------------------------------------

    def _lives(self) -> bool:
        return self.citizen.life is self

    def _burn(self) -> None:
        """Another effect is about to be performed: it is not, where this was the process's last."""
        if self._lives():
            self.citizen.burn()
        if not self._lives():
            raise asyncio.CancelledError

    def _send(self, peer: bytes, message: Wire) -> bool:
        self._burn()
        return self.town.send(self.citizen, peer, spoilt(message) if self.citizen.false_server else message)

    async def _persist(self, entries: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Durable on return. A crash meanwhile loses all of it, or what the tear leaves."""
        self._burn()
        disk = self.citizen.disk
        for key, value in entries:
            disk.write(key, value)
        await asyncio.sleep(WRITE_MS / 1_000)
        if not self._lives():
            raise asyncio.CancelledError
        try:
            disk.sync()
        except DiskFault as fault:
            raise NoRoom(str(fault), "There is no more room.") from fault

    async def _write(self) -> None:
        """A commit to the store, as long as it takes."""
        self._burn()
        await asyncio.sleep(WRITE_MS / 1_000)
        if not self._lives():
            raise asyncio.CancelledError
        if self.citizen.disk.full:
            raise NoRoom("no room in the store", "There is no more room.")

    async def _store_block(self, stored: StoredBlock) -> None:
        await self._write()
        block = decode(Block, stored.block, max_bytes=limits.BLOCK_MESSAGE_BYTES)
        certificate = decode(Certificate, stored.certificate, max_bytes=limits.VIEW_CHANGE_BYTES)
        self.town.executed(self.citizen, self.citizen.shelf.head, block, certificate, self.ledger.state)
        self.citizen.shelf.append(stored, block)

    async def _read_blocks(self, first: int, count: int, max_bytes: int) -> list[tuple[bytes, bytes]]:
        return self.citizen.shelf.read(first, count, max_bytes)

    async def _dial(self, host: str, port: int, expected: bytes | None) -> NoReturn:
        raise PotminerError(f"nobody answers at {host}", "Links of this world stand by themselves.")

    async def _no_excerpt(self, blob: bytes, size: int, ranges: Sequence[tuple[int, int]]) -> bytes | None:
        return None

    async def _fetch(self, blob: bytes, max_bytes: int) -> bool:
        return False

    async def _work(self, job: Job) -> Report:
        raise PotminerError("no worker here", "Validators of this world have no task.")

    async def _next_onion(self, revealed: bytes) -> Onion:
        return self.citizen.onion

    async def _witness(self, height: int, body: bytes) -> None:
        """Statements for forensics are not this world's: evidence goes to the ledger."""

    def _transform(self, effects: Sequence[object]) -> list[object]:
        fault = self.citizen.fault
        return list(effects) if fault is None else fault.transform(effects)

    def hear(self, message: Wire) -> None:
        if isinstance(self.citizen.fault, Adversary):
            self.citizen.fault.hear(message)

    def _changed(self) -> None:
        self.citizen.highest_view = max(self.citizen.highest_view, self.replica.view)

    def _note(self, level: str, line: str) -> None:
        if level == "error" and " failed: " in line:
            self.town.broke(self.citizen, line)
