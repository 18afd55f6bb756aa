"""The engine: one task that hands events to the machines and performs what they ask.

Machines are touched here and nowhere else, so none of them needs a lock. Effects are performed
in list order; ``Persist`` is durable before the next one. What an effect causes at once (a block
executed) is handled before anything newer from outside.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from potminer.base.errors import Malformed, PotminerError
from potminer.core import machine as words
from potminer.core.gossip import events as gossip
from potminer.core.gossip.machine import Gossip
from potminer.core.leap import events as leap
from potminer.core.leap.machine import Leap
from potminer.core.ledger.beacon import Onion
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.refusal import Refusal
from potminer.core.pbft import events as pbft
from potminer.core.pbft.machine import Replica
from potminer.core.rounds import events as rounds
from potminer.core.rounds.machine import Rounds
from potminer.core.steward import RenewOnion, SayEvidence, SeatSeen, Steward
from potminer.core.sync import machine as sync
from potminer.core.sync.machine import Sync
from potminer.node import evidence
from potminer.node.history import Fact, History
from potminer.node.inbox import Inbox, To
from potminer.node.leaping import Leaper
from potminer.node.outbox import Outbox
from potminer.node.outlook import held_seen, hidden_blobs, remade_line, task_seen
from potminer.node.past import Past
from potminer.node.seats import Seats
from potminer.wire import record as records
from potminer.wire.block import Block, Certificate
from potminer.wire.codec import Wire, encode
from potminer.wire.control import Standing
from potminer.wire.gossip import Item, Topic
from potminer.wire.proof import CertifiedHeader
from potminer.wire.record import Validator
from potminer.wire.trainer import Job, Report
from potminer.wire.tx import Body, RegisterValidator, SignedTransaction, decode_signed
from potminer.world.store.takings import Row as TakingsRow

SHUNNED_S = 86_400


@dataclass(frozen=True, slots=True)
class Hands:
    """What the engine reaches the world with. Every field is complete from the start."""

    send: Callable[[bytes, Wire], bool]
    dial: Callable[[str, int, bytes | None], Awaitable[None]]
    """Raises PotminerError where nobody answers."""
    ban: Callable[[bytes, int], None]
    fetch: Callable[[bytes, int], Awaitable[bool]]
    keep: Callable[[frozenset[bytes]], None]
    """These blobs must stay on the disk, and of earlier calls no others."""
    excerpt: Callable[[bytes, int, Sequence[tuple[int, int]]], Awaitable[bytes | None]]
    """The blob that holds the ranges of a blob of so many bytes; None where nobody has them."""
    work: Callable[[Job], Awaitable[Report]]
    cancel: Callable[[int], None]
    persist: Callable[[Sequence[tuple[bytes, bytes | None]]], Awaitable[None]]
    store_block: Callable[[StoredBlock], Awaitable[None]]
    witness: Callable[[int, bytes], Awaitable[None]]
    """Keep what was signed at a height as evidence."""
    read_blocks: Callable[[int, int, int], Awaitable[list[tuple[bytes, bytes]]]]
    clock: Callable[[], int]
    """Unix milliseconds."""
    changed: Callable[[], None]
    """Something a face may want to see has changed."""
    note: Callable[[str, str], None]
    """(level, line) for the log."""
    next_onion: Callable[[bytes], Awaitable[Onion]]
    """The onion to follow the one that this is a layer of."""
    transform: Callable[[Sequence[object]], list[object]]
    """Identity, but for a devnet's faulty validators."""


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """One executed block with all that must become durable in one transaction."""

    height: int
    digest: bytes
    state_root: bytes
    time_ms: int
    block: bytes
    certificate: bytes
    changes: tuple[tuple[bytes, bytes | None], ...]
    receipts: tuple[tuple[bytes, int, str, str], ...]
    facts: list[Fact]
    takings: tuple[TakingsRow, ...]
    proofs: tuple[tuple[str, int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Machines:
    ledger: Ledger
    replica: Replica | None
    gossip: Gossip
    sync: Sync
    leap: Leap
    leaper: Leaper
    rounds: Rounds
    outbox: Outbox
    history: History
    steward: Steward
    past: Past


class Engine:
    """``run`` in one task for ever; everything reaches it through its inbox."""

    def __init__(self, machines: Machines, hands: Hands, inbox: Inbox, *, own: bytes, seats: Seats) -> None:
        self._m = machines
        self._hands = hands
        self._inbox = inbox
        self._own = own
        self._seats = seats
        self._soon: deque[tuple[To, object]] = deque()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._commit_ms: deque[int] = deque(maxlen=512)
        self.outgrown = asyncio.Event()
        """Our key may be elected, and there is no replica here: the node has to begin again."""
        self._work_told = False
        """The replica has a word of new transactions waiting that it has not read: one is enough."""

    # ---- asked by faces -------------------------------------------------------------------

    def submit(self, transactions: Sequence[SignedTransaction]) -> list[Refusal | None]:
        """Transactions of a client of ours: into the mempool and out to everybody, each by itself."""
        refusals = [self._m.ledger.submit(signed) for signed in transactions]
        self._publish([signed for signed, refusal in zip(transactions, refusals, strict=True) if refusal is None])
        return refusals

    def say(self, body: Body) -> None:
        """A transaction of our own."""
        self._publish(self._m.outbox.submit(body))

    @property
    def commit_ms(self) -> tuple[int, ...]:
        """From block time to execution here, of recent blocks, oldest first."""
        return tuple(self._commit_ms)

    @property
    def view(self) -> int:
        return self._m.replica.view if self._m.replica is not None else 0

    @property
    def standing(self) -> Standing:
        return self._seats.standing(self._own)

    # ---- the loop -------------------------------------------------------------------------

    async def run(self) -> None:
        if self._m.replica is not None:
            self._soon.append((To.REPLICA, pbft.Started()))
        self._soon.append((To.GOSSIP, gossip.Started()))
        self._see_tasks()
        await self._see_seat()
        try:
            while True:
                to, event = self._soon.popleft() if self._soon else await self._inbox.take()
                await self._perform(self._handle(to, event))
        finally:
            for timer in self._timers.values():
                timer.cancel()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _handle(self, to: To, event: object) -> Sequence[object]:
        now = self._hands.clock()
        match to:
            case To.REPLICA:
                replica = self._m.replica
                event = self._read_work() if isinstance(event, pbft.WorkArrived) else event
                return [] if replica is None else self._hands.transform(replica.handle(event, now))  # type: ignore[arg-type]
            case To.GOSSIP:
                return self._m.gossip.handle(event, now)  # type: ignore[arg-type]
            case To.SYNC:
                if isinstance(event, words.PeerDown):
                    self._m.leaper.desk.gone(event.peer)
                ours = [] if isinstance(event, leap.Leapt) else self._m.sync.handle(event, now)  # type: ignore[arg-type]
                return [*ours, *self._m.leap.handle(event, now)]  # type: ignore[arg-type]
            case To.ROUNDS:
                return self._m.rounds.handle(event, now)  # type: ignore[arg-type]

    async def _perform(self, effects: Sequence[object]) -> None:
        """Effects in order. Neighbouring ``Persist`` share a commit; anything else waits for it."""
        unwritten: list[tuple[bytes, bytes | None]] = []
        for effect in effects:
            if isinstance(effect, words.Persist):
                unwritten.append((effect.key, effect.value))
                continue
            if unwritten:
                await self._hands.persist(unwritten)
                unwritten = []
            await self._perform_one(effect)
        if unwritten:
            await self._hands.persist(unwritten)

    async def _perform_one(self, effect: object) -> None:
        match effect:
            case words.Send(peer, message):
                self._hands.send(peer, message)
            case words.Broadcast(message):
                for member in self._seats.committee.members:
                    if member != self._own:
                        self._hands.send(member, message)
            case words.SetTimer(name, delay_ms):
                self._set_timer(name, delay_ms)
            case words.CancelTimer(name):
                self._cancel_timer(name)
            case words.Execute(block, certificate):
                await self._execute(block, certificate)
            case words.Penalize(peer, offence, detail):
                self._hands.note("warning", f"peer {peer.hex()[:12]} penalised: {offence} ({detail})")
                self._soon.append((To.GOSSIP, gossip.Offended(peer, offence)))
            case gossip.Validate() | gossip.Deliver() | gossip.Dial() | gossip.Ban():
                self._perform_gossip(effect)
            case sync.ReadBlocks() | leap.Offer() | leap.SendManifest() | leap.SendChunk():
                of_us, hands = self._seats.wanted(effect.peer), self._hands
                self._m.leaper.asked(effect, hands.read_blocks, hands.send, member=of_us, spawn=self._spawn)
            case leap.Begin() | leap.KeepChunk() | leap.Install() | leap.GiveUp() | leap.Hold() | leap.Shun():
                await self._perform_leap(effect)
            case rounds.Fetch() | rounds.FetchExcerpt() | rounds.StartJob() | rounds.CancelJob() | rounds.Submit():
                self._perform_rounds(effect)
            case pbft.DoubleVote():
                self._note_double(effect)
                await self._perform(self._m.steward.accuse(effect))
            case _:
                self._perform_note(effect)

    def _perform_gossip(self, effect: gossip.Validate | gossip.Deliver | gossip.Dial | gossip.Ban) -> None:
        match effect:
            case gossip.Validate(items):
                verdicts = tuple((item_id, self._validate(item)) for item_id, item in items)
                self._soon.append((To.GOSSIP, gossip.Validated(verdicts)))
            case gossip.Deliver():
                self._work_arrived()
            case gossip.Dial(host, port, key):
                self._spawn(self._dial(host, port, key))
            case gossip.Ban(peer, seconds):
                self._ban(peer, seconds)

    def _ban(self, peer: bytes, seconds: int) -> None:
        """Gossip shuns *peer*; its links are cut, unless it is of the committee: a slow or clumsy member
        is still a vote, and what it can do to us is bounded by the rates of its link."""
        if self._seats.wanted(peer):
            self._hands.note("error", f"committee member {peer.hex()[:12]} misbehaves in gossip")
        else:
            self._hands.ban(peer, seconds)

    def _perform_rounds(self, effect: rounds.Errand) -> None:
        match effect:
            case rounds.Fetch(blob, max_bytes):
                self._spawn(self._fetch(blob, max_bytes))
            case rounds.FetchExcerpt():
                self._spawn(self._fetch_excerpt(effect))
            case rounds.StartJob(job):
                self._spawn(self._work(job))
            case rounds.CancelJob(job_id):
                self._hands.cancel(job_id)
            case rounds.Submit(body):
                self.say(body)

    def _perform_note(self, effect: object) -> None:
        """What consensus wants known, and whom it wants to follow."""
        match effect:
            case pbft.Behind(height):
                self._soon.append((To.SYNC, sync.Behind(height)))
            case pbft.Witnessed(height, message):
                self._spawn(self._hands.witness(height, evidence.pack(message)))
            case pbft.ProposalRefused(height, view, reason):
                self._hands.note("warning", f"a proposal for {height} in view {view} was refused: {reason}")
            case pbft.ViewEntered(height, view, changing):
                if view:
                    self._hands.note("info", f"height {height}: view {view} {'asked for' if changing else 'entered'}")
                self._hands.changed()
            case pbft.Offer(peer, transactions):
                self._offered(peer, transactions)
            case pbft.ClockOff(ahead_ms):
                self._note_clock(ahead_ms)
            case pbft.CheckpointStable(height):
                self._hands.note("info", f"checkpoint {height} is stable")
            case rounds.Remade():
                self._hands.note(*remade_line(effect))
            case _:
                raise AssertionError(f"nobody performs {effect!r}")

    def _note_clock(self, ahead_ms: int) -> None:
        if not ahead_ms:
            self._hands.note("info", "this clock agrees with the committee's again")
            return
        text = f"this clock is {abs(ahead_ms) / 1_000:.1f} s {'behind' if ahead_ms > 0 else 'ahead of'} the committee's"
        self._hands.note("warning", f"{text}, whose time it goes by. Let the system keep it: timedatectl set-ntp true")

    def _note_double(self, found: pbft.DoubleVote) -> None:
        for vote in evidence.votes(found, self._seats.committee):
            self._spawn(self._hands.witness(found.height, evidence.pack(vote)))
        place = f"{found.purpose.name} at {found.height}/{found.view}"
        self._hands.note("error", f"{found.signer.hex()[:12]} signed twice: {place}")

    # ---- timers ---------------------------------------------------------------------------

    def _set_timer(self, name: str, delay_ms: int) -> None:
        self._cancel_timer(name)
        to = {"pbft": To.REPLICA, "gossip": To.GOSSIP, "sync": To.SYNC}[name.partition("/")[0]]
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(delay_ms / 1000, self._ring, to, name)

    def _ring(self, to: To, name: str) -> None:
        del self._timers[name]
        self._inbox.post(to, words.TimerFired(name))

    def _cancel_timer(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    # ---- blocks ---------------------------------------------------------------------------

    async def _execute(self, block: Block, certificate: Certificate) -> None:
        """Ledger, one database transaction, then everybody is told. A block that sync and consensus
        both bring is executed once."""
        ledger, header = self._m.ledger, block.header
        if header.height != ledger.state.head.height + 1:
            return
        open_before = ledger.state.head.open_tasks
        applied = ledger.execute(block)
        now, certified = self._hands.clock(), CertifiedHeader(header, certificate)
        proofs = self._m.past.follow(applied, certified)
        facts = self._m.history.fold(applied.events, height=header.height, time_ms=header.time_ms)
        await self._hands.store_block(
            StoredBlock(
                header.height,
                ledger.head,
                applied.state.root,
                header.time_ms,
                block.encoded,
                encode(certificate),
                applied.changes,
                tuple((r.transaction, r.index, r.refusal or "", "") for r in applied.receipts),
                facts,
                self._m.history.takings.drain(),
                proofs,
            )
        )
        self._commit_ms.append(max(0, now - header.time_ms))
        if (making := self._m.leaper.snapshots.after(applied.state, certified)) is not None:
            self._spawn(making)
        executed = words.Executed(header.height, ledger.head, applied.state.root, header.time_ms, len(block.encoded))
        if self._seats.look():
            self._epoch_began(header.height)
        self._soon.append((To.REPLICA, executed))
        self._soon.append((To.SYNC, executed))
        self._soon.append((To.GOSSIP, gossip.Settled(tuple(each.encoded for each in block.transactions))))
        self._see_tasks(ended=open_before)
        await self._see_seat()
        for each in applied.events:
            self._hands.note("debug", f"block {header.height}: {type(each).__name__}")
        self._hands.changed()

    def _epoch_began(self, height: int) -> None:
        """From the next height on another committee decides. The replica asks the ledger itself."""
        committee = self._seats.committee
        sits = self._seats.sits(self._own)
        self._hands.note("info", f"epoch {committee.epoch}: {len(committee.members)} members, us among them: {sits}")
        self._soon.append((To.SYNC, sync.CommitteeKnown(height + 1, committee)))
        self._soon.append((To.ROUNDS, rounds.SeatChanged(sits)))
        peers = self._seats.peers_of(self._own)
        self._inbox.post(To.GOSSIP, gossip.Follow(peers) if self._m.replica is None else gossip.Seek(peers))

    async def _see_seat(self) -> None:
        """What a validator owes the ledger beside its votes; to be one, where its key became a candidate."""
        if self._m.replica is None:
            if self.standing not in (Standing.NONE, Standing.SLASHED):
                self.outgrown.set()
            return
        ledger = self._m.ledger
        state, own = ledger.state, ledger.state.get(Validator, records.validator_key(self._own))
        left = None if own is None else ledger.onions.left(own.onion_in(state.committee.epoch))
        seat = SeatSeen(state.head.height, state.committee.epoch, own, left, ledger.is_slashed)
        for wish in self._m.steward.look(seat):
            match wish:
                case SayEvidence(evidence):
                    self.say(evidence)
                case words.Persist():
                    await self._perform([wish])
                case RenewOnion() if own is not None:
                    self._spawn(self._renew_onion(own.onion_in(state.committee.epoch)))

    async def _renew_onion(self, revealed: bytes) -> None:
        onion = await self._hands.next_onion(revealed)
        self.say(RegisterValidator(onion.outside, 0))

    def _see_tasks(self, ended: tuple[bytes, ...] = ()) -> None:
        state = self._m.ledger.state
        for task in dict.fromkeys((*state.head.open_tasks, *ended)):
            self._soon.append((To.ROUNDS, task_seen(state, task, own=self._own, committee=self._seats.committee)))
        self._hands.keep(hidden_blobs(state, own=self._own))
        self._soon.append((To.ROUNDS, held_seen(state, own=self._own)))

    async def _perform_leap(self, effect: leap.Doing) -> None:
        """Where the ledger stands elsewhere after it, everybody is told as after any block."""
        self._soon.extend(await self._m.leaper.perform(effect))
        if isinstance(effect, leap.Shun):
            self._ban(effect.peer, SHUNNED_S)
        if isinstance(effect, leap.Install):
            if self._seats.look():
                self._epoch_began(self._m.ledger.state.head.height)
            self._see_tasks()
            await self._see_seat()
            self._hands.changed()

    # ---- transactions ---------------------------------------------------------------------

    def _validate(self, item: Item) -> gossip.Verdict:
        """Worth forwarding? Only what no honest node would ever send is a reason to punish."""
        try:
            signed = decode_signed(item.body)
        except Malformed:
            return gossip.Verdict.REJECT
        refusal = self._m.ledger.submit(signed)
        if refusal is None:
            return gossip.Verdict.ACCEPT
        forged = refusal in (Refusal.BAD_SIGNATURE, Refusal.WRONG_CHAIN)
        return gossip.Verdict.REJECT if forged else gossip.Verdict.IGNORE

    def _offered(self, peer: bytes, transactions: Sequence[SignedTransaction]) -> None:
        """A member relays what blocks leave out: perhaps gossip never brought it here."""
        refusals = [self._m.ledger.submit(signed) for signed in transactions]
        if any(refusal in (Refusal.BAD_SIGNATURE, Refusal.WRONG_CHAIN) for refusal in refusals):
            self._soon.append((To.GOSSIP, gossip.Offended(peer, words.Offence.FORGED)))
        if None in refusals:
            self._work_arrived()

    def _publish(self, signed: list[SignedTransaction]) -> None:
        if signed:
            items = tuple(Item(Topic.TRANSACTION, each.encoded) for each in signed)
            self._inbox.post(To.GOSSIP, gossip.Publish(items))
            self._work_arrived()

    def _work_arrived(self) -> None:
        if self._m.replica is not None and not self._work_told:
            self._work_told = True
            self._inbox.post(To.REPLICA, pbft.WorkArrived())

    def _read_work(self) -> pbft.WorkArrived:
        """How much there is when the replica gets to hear of it. Only who leads asks whether a phase is complete, and
        only while it collects."""
        self._work_told = False
        ledger, replica = self._m.ledger, self._m.replica
        collects = replica is not None and replica.collects
        return pbft.WorkArrived(full=ledger.is_full or (collects and ledger.completes(self._hands.clock())))

    # ---- things that take time ------------------------------------------------------------

    async def _dial(self, host: str, port: int, key: bytes | None) -> None:
        try:
            await self._hands.dial(host, port, key)
        except PotminerError:
            self._inbox.post(To.GOSSIP, gossip.DialFailed(host, port))

    async def _fetch(self, blob: bytes, max_bytes: int) -> None:
        try:
            found = await self._hands.fetch(blob, max_bytes)
        except PotminerError as error:
            self._hands.note("error", f"blob {blob.hex()[:12]}: {error.what}")
            found = False
        self._inbox.post(To.ROUNDS, rounds.BlobFetched(blob, found))

    async def _fetch_excerpt(self, wanted: rounds.FetchExcerpt) -> None:
        excerpt = await self._hands.excerpt(wanted.update, wanted.size, wanted.ranges)
        self._inbox.post(To.ROUNDS, rounds.ExcerptFetched(wanted.update, wanted.index, excerpt))

    async def _work(self, job: Job) -> None:
        began = self._hands.clock()
        report = await self._hands.work(job)
        taken = self._hands.clock() - began
        self._hands.note("debug", f"job {job.job}: {type(job).__name__} answered {type(report).__name__} in {taken} ms")
        self._inbox.post(To.ROUNDS, rounds.Reported(report))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._hands.note("error", f"{task.get_coro()!r} failed: {task.exception()!r}")
