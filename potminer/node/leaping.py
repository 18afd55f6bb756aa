"""Snapshots of this node: made at checkpoints, served, and landed on after a leap."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Final, Protocol

from potminer.base import limits
from potminer.base.errors import Malformed
from potminer.core import chunks, trie
from potminer.core.committee import Committee, committee_of
from potminer.core.gossip.events import Offended
from potminer.core.leap import events as leap
from potminer.core.leap.events import Begin, Install, Kept
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.state import State
from potminer.core.light import epochs, header
from potminer.core.light.flaw import Flaw
from potminer.core.light.trust import Terms, Trust
from potminer.core.machine import Executed, Offence
from potminer.core.sync.machine import Held, Moved, ReadBlocks
from potminer.core.sync.proof import Tip
from potminer.node.desk import BUSY_MS, Desk
from potminer.node.gaps import Gaps
from potminer.node.inbox import To
from potminer.node.past import HEADER, MODELS, OUTCOMES, STEP, Past
from potminer.wire.block import Block, Certificate, CertifiedBlock
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.leap import (
    CHUNK_MESSAGE_BYTES,
    OFFER_BYTES,
    STEPS_PER_OFFER,
    Chunk,
    Items,
    Manifest,
    Pruned,
    SnapshotOffer,
)
from potminer.wire.proof import PROOF_BYTES, CertifiedHeader, Shown
from potminer.wire.record import CommitteeRecord
from potminer.wire.sync import Asked, Blocks, Busy
from potminer.world.store.snapshots import Landing, Snapshot

CHECKPOINT_BLOCKS: Final = 100
"""As the replica's: spec/pbft.md §8."""
PRUNED_AT_ONCE: Final = 256
ROUNDS_KEPT: Final = 512
"""Of each task, models that can still be proven by who forgets."""
EMPTY: Final = trie.root(None)
NO_CLOCK_MS: Final = 2**62
Question = ReadBlocks | leap.Answering
Read = Callable[[int, int, int], Awaitable[list[tuple[bytes, bytes]]]]
"""(block, certificate) from a height on: at most so many, at most so many bytes."""


class Archive(Protocol):
    """The part of the store that snapshots need (``world/store/store.py``)."""

    async def keep_chunk(self, digest: bytes, body: bytes) -> None: ...
    async def keep_snapshot(self, snapshot: Snapshot, empty: bytes) -> bool: ...
    async def snapshots(self) -> list[Snapshot]: ...
    async def chunk(self, digest: bytes) -> bytes | None: ...
    async def aim(self, snapshot: Snapshot) -> None: ...
    async def give_up(self) -> None: ...
    async def target(self) -> tuple[Snapshot, dict[bytes, bytes]] | None: ...
    async def land(self, landing: Landing, empty: bytes) -> None: ...
    async def lowest(self) -> int: ...
    async def prune(self, below: int, most: int, outcomes: str) -> int: ...
    async def forget(self, below: int, headers: str, series: str, most: int) -> None: ...
    async def proof(self, kind: str, number: int) -> bytes | None: ...


class LightJudge:
    """A light client that begins at our own head. It begins with one committee, the next block's: the step to each
    later one is fetched and kept, for light clients of ours who begin at the genesis."""

    def __init__(self, trust: Trust, terms: Terms) -> None:
        self._trust, self._terms = trust, terms
        self._steps: list[Shown] = []

    @staticmethod
    def at_head(ledger: Ledger) -> LightJudge:
        state = ledger.state
        trust = Trust(
            state.chain, state.parameters.epoch_blocks, state.head.height, ledger.head, state.head.time_ms,
            (_seated(state.committee),),
        )  # fmt: skip
        # Who executes blocks does not ask its clock whether they may be; a rig whose battery died has to come back too.
        return LightJudge(trust, Terms(drift_ms=NO_CLOCK_MS))

    @property
    def newest_epoch(self) -> int:
        return self._trust.newest_epoch

    @property
    def steps(self) -> tuple[Shown, ...]:
        return tuple(self._steps)

    def learn(self, step: Shown, *, now: int) -> str | None:
        moved = epochs.learn(self._trust, step, self._terms, now_ms=now)
        if isinstance(moved, Flaw):
            return moved
        if moved.newest_epoch > self._trust.newest_epoch:
            self._steps.append(step)
        self._trust = moved
        return None

    def flaw(self, certified: CertifiedHeader, *, now: int) -> str | None:
        return header.flaw_in(certified, self._trust, self._terms, now_ms=now)

    def seats(self, epoch: int) -> tuple[tuple[bytes, ...], tuple[int, ...]] | None:
        committee = self._trust.committee(epoch)
        return None if committee is None else (committee.members, committee.powers)


def _seated(record: CommitteeRecord) -> Committee:
    return Committee(record.epoch, record.members, record.powers)


def read_snapshot(kept: Snapshot) -> tuple[CertifiedHeader, Manifest]:
    """Malformed where the disk gave back something else."""
    certified = decode(CertifiedHeader, kept.certified, max_bytes=PROOF_BYTES)
    return certified, Manifest(kept.height, kept.depths, kept.digests)


def read_chunk(body: bytes) -> Items:
    return decode(Items, body, max_bytes=CHUNK_MESSAGE_BYTES)


def recalled(found: tuple[Snapshot, dict[bytes, bytes]] | None) -> Kept | None:
    """What an earlier life was fetching, as the store says; None where there is nothing that can be read."""
    if found is None:
        return None
    try:
        certified, manifest = read_snapshot(found[0])
        return Kept(certified, manifest, {digest: read_chunk(body) for digest, body in found[1].items()})
    except Malformed:
        return None


class Snapshots:
    """Ours: *every* so many blocks one is made, of the state that the next header proves. *keep_blocks* is how many
    blocks below the head stay at least, 0 for all; who *forgets* lets go with them what became of their
    transactions, and proofs of models of long ago."""

    def __init__(
        self, archive: Archive, note: Callable[[str, str], None], *, epoch_blocks: int,
        every: int = CHECKPOINT_BLOCKS, keep_blocks: int = 0, forgets: bool = False,
    ) -> None:
        self._archive, self._note, self._epoch_blocks = archive, note, epoch_blocks
        self._every, self._keep_blocks, self._forgets = every, keep_blocks, forgets
        self._due: State | None = None
        self._making = False
        self._held: dict[int, Snapshot] | None = None
        self.made = 0

    # ---- made -----------------------------------------------------------------------------

    def after(self, state: State, certified: CertifiedHeader) -> Coroutine[None, None, None] | None:
        """After a block that led to *state*: the making of a snapshot of the state before it, where one is due. The
        header of this block proves it."""
        due, self._due = self._due, state if state.head.height % self._every == 0 else None
        if due is None or due.head.height + 1 != certified.header.height or self._making:
            return None
        self._making = True
        return self._make(due, certified)

    async def _make(self, state: State, certified: CertifiedHeader) -> None:
        """A chunk at a time, and each waits for the disk: nothing else of the node waits for long. Chunks that stay
        the same are kept already."""
        height = state.head.height
        try:
            parts: list[tuple[int, bytes]] = []
            for depth, node in chunks.cut(state.tree):
                parts.append((depth, trie.root(node)))
                if node is not None:
                    await self._archive.keep_chunk(trie.root(node), encode(chunks.items_of(node)))
                else:
                    await asyncio.sleep(0)
            told = chunks.manifest(height, parts)
            snapshot = Snapshot(height, encode(certified), told.depths, told.digests)
            if await self._archive.keep_snapshot(snapshot, EMPTY):
                self._held = None
                self.made += 1
                self._note("info", f"snapshot after block {height}: {len(parts)} chunks")
                await self._prune(height)
        except chunks.TooLarge as error:
            self._note("error", f"no snapshot after block {height}: {error}")
        finally:
            self._making = False

    async def _prune(self, head: int) -> None:
        """Blocks older than the setting, and never those above our oldest snapshot: whoever lands on it needs them."""
        held = await self._snapshots()
        if self._keep_blocks and held:
            below = min(head - self._keep_blocks, min(held)) + 1
            while await self._archive.prune(below, PRUNED_AT_ONCE, OUTCOMES) == PRUNED_AT_ONCE:
                pass
            if self._forgets:
                await self._archive.forget(below, HEADER, MODELS, ROUNDS_KEPT)

    # ---- served ---------------------------------------------------------------------------

    async def lowest(self) -> int:
        """The first block that this node still has."""
        return await self._archive.lowest()

    async def offer(self, epoch: int) -> SnapshotOffer:
        """Steps from *epoch* on, of epochs that are over, and our newest snapshot."""
        held = await self._snapshots()
        newest = None if not held else decode(CertifiedHeader, held[max(held)].certified, max_bytes=PROOF_BYTES)
        steps, room = list[Shown](), OFFER_BYTES - (0 if newest is None else len(encode(newest))) - 64
        for number in range(epoch + 1, epoch + 1 + STEPS_PER_OFFER):
            stored = await self._archive.proof(STEP, number * self._epoch_blocks)
            if stored is None or len(stored) > room:
                break
            room -= len(stored)
            steps.append(decode(Shown, stored, max_bytes=PROOF_BYTES))
        return SnapshotOffer(tuple(steps), newest)

    async def manifest(self, height: int) -> Manifest:
        held = (await self._snapshots()).get(height)
        return Manifest(height, b"", b"") if held is None else Manifest(height, held.depths, held.digests)

    async def chunk(self, height: int, index: int) -> Chunk:
        held = (await self._snapshots()).get(height)
        if held is None or index >= len(held.depths):
            return Chunk(height, index, ())
        body = await self._archive.chunk(held.digests[32 * index : 32 * index + 32])
        return Chunk(height, index, () if body is None else read_chunk(body))

    async def _snapshots(self) -> dict[int, Snapshot]:
        if self._held is None:
            self._held = {each.height: each for each in await self._archive.snapshots()}
        return self._held

    # ---- fetched --------------------------------------------------------------------------

    async def begin(self, effect: Begin) -> None:
        told = effect.manifest
        await self._archive.aim(Snapshot(told.height, encode(effect.certified), told.depths, told.digests))

    async def keep(self, digest: bytes, items: Items) -> None:
        await self._archive.keep_chunk(digest, encode(items))

    async def give_up(self) -> None:
        await self._archive.give_up()

    async def land(self, effect: Install, state: State) -> None:
        """Durable on return: the store begins with this state now, as after any block."""
        told, certified = effect.manifest, effect.certified
        # Steps of later epochs come with their own blocks.
        known = [step for step in effect.steps if step.certified.header.height <= told.height]
        steps = tuple((STEP, step.certified.header.height, encode(step)) for step in known)
        snapshot = Snapshot(told.height, encode(certified), told.depths, told.digests)
        parent = certified.header.parent
        await self._archive.land(Landing(snapshot, parent, state.root, state.head.time_ms, steps), EMPTY)
        self._held = None


class Leaper:
    """Performs what a leap asks for: disk, answers, and the ledger that is set down."""

    def __init__(
        self, ledger: Ledger, past: Past, snapshots: Snapshots, gaps: Gaps, note: Callable[[str, str], None]
    ) -> None:
        self._ledger, self._past, self._gaps, self._note = ledger, past, gaps, note
        self.snapshots = snapshots
        self.desk = Desk()

    async def perform(self, effect: leap.Doing) -> list[tuple[To, object]]:
        """What everybody is to hear of it, in order."""
        match effect:
            case leap.Begin(certified):
                await self.snapshots.begin(effect)
                self._note("info", f"leaping to block {certified.header.height - 1}")
            case leap.KeepChunk(digest, items):
                await self.snapshots.keep(digest, items)
            case leap.GiveUp(why):
                await self.snapshots.give_up()
                self._note("warning", f"no leap: {why}")
            case leap.Hold(on):
                return [(To.SYNC, Held(on))]
            case leap.Shun(peer, why):
                self._note("warning", f"peer {peer.hex()[:12]} sent {why}")
                return [(To.GOSSIP, Offended(peer, Offence.FORGED))]
            case leap.Install():
                return await self._land(effect)
        return []

    async def _land(self, effect: Install) -> list[tuple[To, object]]:
        ledger, header = self._ledger, effect.certified.header
        state = State(ledger.state.chain, ledger.state.parameters, effect.tree)
        head = state.head
        if state.root != header.state_root or head.height != header.height - 1:
            raise AssertionError("a leap ends where its header says")
        if head.height <= ledger.state.head.height:
            return [(To.SYNC, leap.Leapt(ledger.state.head.height))]
        await self._gaps.open(ledger.state.head.height + 1, head.height)
        await self.snapshots.land(effect, state)
        ledger.adopt(state, header.parent)
        self._gaps.settle(state)
        self._past.begin(state)
        self._note("info", f"leapt to block {head.height}")
        return [
            (To.SYNC, Moved(Tip(head.height, header.parent, state.root), committee_of(state.committee))),
            (To.SYNC, leap.Leapt(head.height)),
            (To.REPLICA, Executed(head.height, header.parent, state.root, head.time_ms)),
        ]

    def asked(
        self, question: Question, read: Read, send: Callable[[bytes, Wire], bool], *, member: bool,
        spawn: Callable[[Awaitable[None]], None],
    ) -> None:
        """Answer from the disk in its turn; ``Busy`` to who has too many questions waiting."""
        if isinstance(question, ReadBlocks):
            kind, answer = Asked.BLOCKS, partial(self._send_blocks, question, read, send)
        else:
            kind, answer = Asked.SNAPSHOT, partial(self._send, question, send)
        if not self.desk.ask(question.peer, answer, member=member, spawn=spawn):
            send(question.peer, Busy(kind, BUSY_MS))

    async def _send_blocks(self, asked: ReadBlocks, read: Read, send: Callable[[bytes, Wire], bool]) -> None:
        found = await read(asked.first, asked.count, limits.BLOCKS_BYTES)
        if not found:
            send(asked.peer, Pruned(await self.snapshots.lowest()))
            return
        blocks = tuple(
            CertifiedBlock(
                decode(Block, block, max_bytes=limits.BLOCK_MESSAGE_BYTES),
                decode(Certificate, certificate, max_bytes=limits.VIEW_CHANGE_BYTES),
            )
            for block, certificate in found
        )
        send(asked.peer, Blocks(blocks))

    async def _send(self, asked: leap.Answering, send: Callable[[bytes, Wire], bool]) -> None:
        match asked:
            case leap.Offer(peer, epoch):
                send(peer, await self.snapshots.offer(epoch))
            case leap.SendManifest(peer, height):
                send(peer, await self.snapshots.manifest(height))
            case leap.SendChunk(peer, height, index):
                send(peer, await self.snapshots.chunk(height, index))
