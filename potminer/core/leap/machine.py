"""From far behind to near the head, without executing what lies between (docs/spec/sync.md).

    RESTING     nothing to do, or nobody has anything better   _look
    ASKING      a few peers are asked what they offer          _offered, _choose
    LISTING     a header is proven; its manifest is fetched    _listed
    FETCHING    chunks come from several peers at once         _chunk
    INSTALLING  all are here; the node writes them down        Leapt

Nothing is asked for that is not bounded by its type, and nothing kept that the state root does not prove.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from potminer.core.asking import TIMEOUT_MS
from potminer.core.chunks import Plan
from potminer.core.leap.contents import fault_in_state, grains_in
from potminer.core.leap.events import (
    Begin,
    Effect,
    Event,
    GiveUp,
    Hold,
    Install,
    Judge,
    KeepChunk,
    Kept,
    Leapt,
    Offer,
    SendChunk,
    SendManifest,
    Shun,
)
from potminer.core.leap.need import FAR_BLOCKS, Need
from potminer.core.leap.peers import Peer, Peers, Question
from potminer.core.machine import (
    CancelTimer,
    Executed,
    MessageArrived,
    Offence,
    PeerDown,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.core.trie import Node
from potminer.wire.block import block_digest
from potminer.wire.leap import (
    Chunk,
    ChunkWanted,
    Items,
    Manifest,
    ManifestWanted,
    Pruned,
    SnapshotOffer,
    SnapshotWanted,
)
from potminer.wire.proof import CertifiedHeader
from potminer.wire.sync import Asked, Busy, Head

TIMER: Final = "sync/leap"
PEERS_ASKED: Final = 4
REST_MS: Final = 30_000
HOLD_MS: Final = 300_000
"""So long blocks are not asked for while a snapshot is fetched; then besides, or who sends it slowly holds us up."""
REFUSED_KEPT: Final = 16
OF_CLOCKS: Final = ("future", "expired", "stale")
"""Flaws of light clients (spec/light.md §3) that no forger needs."""


class Stage(StrEnum):
    RESTING = "resting"
    ASKING = "asking"
    LISTING = "listing"
    FETCHING = "fetching"
    INSTALLING = "installing"


LEGAL_MOVES: Final = {
    (Stage.RESTING, Stage.ASKING),
    (Stage.ASKING, Stage.RESTING),
    (Stage.ASKING, Stage.LISTING),
    (Stage.ASKING, Stage.FETCHING),
    (Stage.LISTING, Stage.FETCHING),
    (Stage.LISTING, Stage.RESTING),
    (Stage.FETCHING, Stage.INSTALLING),
    (Stage.FETCHING, Stage.RESTING),
    (Stage.INSTALLING, Stage.RESTING),
}


@dataclass(slots=True)
class Target:
    """The snapshot that is fetched. *left* are the chunks that nobody was asked for, the next one last."""

    certified: CertifiedHeader
    manifest: Manifest
    plan: Plan
    left: list[int]
    nodes: dict[int, Node] = field(default_factory=dict)
    grains: int = 0

    @property
    def height(self) -> int:
        return self.certified.header.height - 1


class Leap:
    """*tip* is the height of the last block executed. *judge* makes a new judge of headers, who begins there."""

    def __init__(
        self, tip: int, judge: Callable[[], Judge], *, far: int = FAR_BLOCKS, kept: Kept | None = None
    ) -> None:
        self._need, self._make_judge, self._kept = Need(tip, far), judge, kept
        self._judge = judge()
        self._stage = Stage.RESTING
        self._peers = Peers()
        self._offers: dict[bytes, CertifiedHeader] = {}
        self._chosen: CertifiedHeader | None = None
        self._target: Target | None = None
        self._refused: dict[bytes, None] = {}
        self._rest_until = 0
        self._hold_until: int | None = None
        self._deadline: int | None = None
        self._out: list[Effect] = []

    @property
    def stage(self) -> Stage:
        return self._stage

    @property
    def progress(self) -> tuple[int, int, int] | None:
        """(height, chunks at hand, of how many) of the snapshot that is fetched."""
        target = self._target
        return None if target is None else (target.height, len(target.nodes), len(target.plan.wanted()))

    def handle(self, event: Event, now: int) -> list[Effect]:
        self._rest_until = min(self._rest_until, now + REST_MS)  # less where the clock was set back
        self._need.look(now)
        self._react(event, now)
        self._look(now)
        self._set_timer(now)
        effects, self._out = self._out, []
        return effects

    def _move(self, stage: Stage) -> None:
        if (self._stage, stage) not in LEGAL_MOVES:
            raise AssertionError(f"a leap does not go from {self._stage} to {stage}")
        self._stage = stage

    # ---- what happens --------------------------------------------------------------------

    def _react(self, event: Event, now: int) -> None:
        match event:
            case PeerUp():
                self._peers.up(event.peer)
            case PeerDown():
                self._lost(event.peer)
                self._peers.down(event.peer)
            case MessageArrived():
                peer = self._peers.get(event.peer)
                if peer is not None:
                    self._message(event.peer, peer, event, now)
            case Executed():
                self._need.rise(event.height, now, size=event.size)
                if self._chosen is not None and self._chosen.header.height - 1 <= self._need.tip:
                    self._rest("blocks came faster", now)
            case Leapt():
                self._need.rise(event.height, now)
                self._chosen = self._target = None
                self._move(Stage.RESTING)
                self._rest_until = now + REST_MS
                self._hold(None)
            case TimerFired():
                if event.name == TIMER:
                    self._deadline = None
                    self._expire(now)

    def _expire(self, now: int) -> None:
        asked = dict(self._peers.open())
        for key in self._peers.expire(now):
            self._back(asked[key])
            self._out.append(Penalize(key, Offence.WITHHELD, "no answer to a question for a snapshot"))

    def _lost(self, key: bytes) -> None:
        peer = self._peers.get(key)
        if peer is not None and peer.question is not None:
            self._back(peer.question)

    def _back(self, question: Question) -> None:
        """A chunk that did not come is asked for elsewhere, before the others."""
        target = self._target
        if target is not None and question.index is not None and question.height == target.height:
            target.left.append(question.index)

    def _message(self, key: bytes, peer: Peer, event: MessageArrived, now: int) -> None:
        question = peer.question
        match event.message:
            case Head():
                peer.claimed, peer.lacks = event.message.height, 0
            case Pruned():
                peer.first = event.message.first
            case SnapshotWanted() | ManifestWanted() | ChunkWanted():
                if peer.asks.take(now):
                    self._serve(key, event.message)
                else:
                    self._out.append(Send(key, Busy(Asked.SNAPSHOT, peer.asks.opens_ms(now) - now)))
            case Busy(Asked.SNAPSHOT) if question is not None:
                self._back(question)
                peer.question = None
                peer.put_off(now, event.message.retry_ms)
            case SnapshotOffer() if question is not None and question.height is None:
                self._offered(key, peer, event.message, now)
            case Manifest() if question is not None and question.index is None:
                if question.height == event.message.height:
                    self._listed(key, peer, event.message, now)
            case Chunk() if question is not None:
                if (question.height, question.index) == (event.message.height, event.message.index):
                    self._chunk(key, peer, event.message, now)
            case _:
                pass  # late, after its time ran out: not worth a penalty, not worth the work

    def _serve(self, key: bytes, wanted: SnapshotWanted | ManifestWanted | ChunkWanted) -> None:
        match wanted:
            case SnapshotWanted():
                self._out.append(Offer(key, wanted.epoch))
            case ManifestWanted():
                self._out.append(SendManifest(key, wanted.height))
            case ChunkWanted():
                self._out.append(SendChunk(key, wanted.height, wanted.index))

    # ---- whether, and to where -----------------------------------------------------------

    def _gains(self, certified: CertifiedHeader, now: int) -> bool:
        refused = block_digest(certified.header) in self._refused
        return not refused and self._need.is_gain(certified.header.height - 1, self._peers, now)

    def _hold(self, until: int | None) -> None:
        """Blocks are not asked for until then; None: they are."""
        self._hold_until = until
        self._out.append(Hold(until is not None))

    def _look(self, now: int) -> None:
        """Applies every rule to what is known, in the order in which one enables the next."""
        if self._stage is Stage.RESTING and now >= self._rest_until and self._need.is_needed(self._peers, now):
            self._ask_around(now)
        if self._stage is Stage.ASKING and not self._peers.open():
            self._choose(now)
        if self._hold_until is not None and not self._hold_until - HOLD_MS <= now < self._hold_until:
            self._hold(None)
        if self._stage is Stage.LISTING:
            self._ask_manifest(now)
        if self._stage is Stage.FETCHING:
            self._ask_chunks(now)
        if self._stage is Stage.FETCHING:
            self._finish(now)

    def _ask_around(self, now: int) -> None:
        self._judge = self._make_judge()
        self._offers.clear()
        able = [(key, peer) for key, peer in self._peers.able() if peer.claimed > self._need.tip]
        free = [(key, peer) for key, peer in able if peer.free_ms(now) <= now][:PEERS_ASKED]
        if not free:
            self._rest_until = now + REST_MS // 10
            return
        self._move(Stage.ASKING)
        for key, peer in free:
            peer.vain += 1
            self._ask_offer(key, peer, now)

    def _ask_offer(self, key: bytes, peer: Peer, now: int) -> None:
        epoch = self._judge.newest_epoch
        self._ask(key, peer, SnapshotWanted(epoch), Question(now + TIMEOUT_MS, epoch=epoch), now)

    def _ask(self, key: bytes, peer: Peer, words: SnapshotWanted | ManifestWanted | ChunkWanted, question: Question,
             now: int) -> None:  # fmt: skip
        peer.asked.take(now)
        peer.question = question
        self._out.append(Send(key, words))

    def _offered(self, key: bytes, peer: Peer, offer: SnapshotOffer, now: int) -> None:
        """Committees first, each from the one before it; then the header, under its own epoch's."""
        asked, peer.question = peer.question, None
        for step in offer.steps:
            if step.certified.header.epoch < self._judge.newest_epoch:
                continue
            flaw = self._judge.learn(step, now=now)
            if flaw is not None:
                self._blame(key, "a step to another committee", flaw)
                return
        certified = offer.certified
        if certified is None:
            return
        if certified.header.epoch > self._judge.newest_epoch:
            if asked is not None and self._judge.newest_epoch > asked.epoch:
                self._ask_offer(key, peer, now)  # perhaps it was another peer that taught us so far
            return
        flaw = self._judge.flaw(certified, now=now)
        if flaw is not None:
            self._blame(key, "a header", flaw)
            return
        self._offers[key] = certified

    def _choose(self, now: int) -> None:
        """What an earlier life began, if that still gains; or the newest that was offered."""
        kept, self._kept = self._kept, None
        if kept is not None and kept.certified.header.epoch <= self._judge.newest_epoch:
            sound = self._judge.flaw(kept.certified, now=now) is None and self._gains(kept.certified, now)
            plan = Plan.proven(kept.manifest, kept.certified.header.state_root) if sound else None
            if plan is not None:
                self._hold(now + HOLD_MS)
                self._aim(kept.certified, kept.manifest, plan, kept.chunks)
                return
        offers = [certified for certified in self._offers.values() if self._gains(certified, now)]
        if not offers:
            self._move(Stage.RESTING)
            untried = any(not peer.vain and peer.claimed > self._need.tip for _, peer in self._peers.able())
            self._rest_until = now + (REST_MS // 10 if untried else REST_MS)
            return
        self._chosen = max(offers, key=lambda each: (each.header.height, block_digest(each.header)))
        self._hold(now + HOLD_MS)
        self._move(Stage.LISTING)

    # ---- one snapshot --------------------------------------------------------------------

    def _holders(self, height: int) -> list[tuple[bytes, Peer]]:
        return [(key, peer) for key, peer in self._peers.able() if peer.claimed > height and peer.lacks != height]

    def _ask_manifest(self, now: int) -> None:
        chosen = self._chosen
        if chosen is None or self._peers.open():
            return
        height = chosen.header.height - 1
        holders = self._holders(height)
        # Who offered it first; the others may hold it too.
        holders.sort(key=lambda item: self._offers.get(item[0]) != chosen)
        for key, peer in holders:
            if peer.free_ms(now) <= now:
                self._ask(key, peer, ManifestWanted(height), Question(now + TIMEOUT_MS, height), now)
                return
        if not holders:
            self._rest("nobody has it any more", now)

    def _listed(self, key: bytes, peer: Peer, told: Manifest, now: int) -> None:
        peer.question = None
        chosen = self._chosen
        if chosen is None:
            return
        if not told.depths:
            peer.lacks = told.height
            return
        plan = Plan.proven(told, chosen.header.state_root)
        if plan is None:
            self._shun(key, "a manifest that is not of the state")
            return
        self._aim(chosen, told, plan, {})

    def _aim(self, certified: CertifiedHeader, told: Manifest, plan: Plan, found: dict[bytes, Items]) -> None:
        """Chunks at hand are judged like any other: a disk is believed no more than a peer."""
        self._move(Stage.FETCHING)
        self._chosen = certified
        self._target = Target(certified, told, plan, plan.wanted()[::-1])
        self._out.append(Begin(certified, told))
        for index in list(self._target.left):
            items = found.get(plan.digests[index])
            if items is not None and self._take(self._target, index, items):
                self._target.left.remove(index)

    def _take(self, target: Target, index: int, items: Items) -> bool:
        """Whether *items* are chunk *index*, and records all of them. False: it is not; the state may be refused."""
        node = target.plan.grown(index, items)
        if node is None:
            return False
        grains = grains_in(items)
        if grains is None:
            self._refuse(target)
            return False
        target.nodes[index] = node
        target.grains += grains
        return True

    def _refuse(self, target: Target) -> None:
        """A quorum certified what no ledger makes. It is never taken, whoever offers it."""
        self._refused[block_digest(target.certified.header)] = None
        while len(self._refused) > REFUSED_KEPT:
            del self._refused[next(iter(self._refused))]

    def _ask_chunks(self, now: int) -> None:
        target = self._target
        if target is None or block_digest(target.certified.header) in self._refused:
            self._rest("its records are not what records can be", now)
            return
        holders = self._holders(target.height)
        for key, peer in holders:
            if target.left and peer.question is None and peer.free_ms(now) <= now:
                index = target.left.pop()
                question = Question(now + TIMEOUT_MS, target.height, index)
                self._ask(key, peer, ChunkWanted(target.height, index), question, now)
        if not holders and target.left:
            self._rest("nobody has it any more", now)

    def _chunk(self, key: bytes, peer: Peer, told: Chunk, now: int) -> None:
        question, target = peer.question, self._target
        peer.question = None
        if target is None or question is None:
            return
        if not told.items:
            peer.lacks = told.height
            self._back(question)
            return
        if not self._take(target, told.index, told.items):
            if block_digest(target.certified.header) not in self._refused:
                self._back(question)
                self._shun(key, "a chunk that is not of the state")
            return
        peer.brought()
        self._out.append(KeepChunk(target.plan.digests[told.index], told.items))

    def _finish(self, now: int) -> None:
        target = self._target
        if target is None or len(target.nodes) < len(target.plan.wanted()):
            return
        header = target.certified.header
        tree = target.plan.joined(target.nodes)
        seats = self._judge.seats(header.epoch)
        fault = fault_in_state(tree, height=target.height, epoch=header.epoch, seats=seats, grains=target.grains)
        if fault is not None:
            self._refuse(target)
            self._rest(fault, now)
            return
        self._move(Stage.INSTALLING)
        self._out.append(Install(target.certified, tree, target.manifest, self._judge.steps))

    def _rest(self, why: str, now: int) -> None:
        """Nothing comes of this leap. What was fetched may serve the next one only where it is the same."""
        if self._stage is Stage.INSTALLING:
            return
        for key, question in self._peers.open():
            peer = self._peers.get(key)
            if peer is not None and question.height is not None:
                peer.question = None
        if self._stage in (Stage.LISTING, Stage.FETCHING):
            self._out.append(GiveUp(why))
            self._hold(None)
        self._chosen = self._target = None
        self._move(Stage.RESTING)
        self._rest_until = now + REST_MS // 10

    def _blame(self, key: bytes, what: str, flaw: str) -> None:
        """What only a clock makes wrong may be our clock's fault: it is not believed, and nobody is banned for it."""
        if flaw not in OF_CLOCKS:
            self._shun(key, f"{what} that is {flaw}")

    def _shun(self, key: bytes, why: str) -> None:
        self._peers.shun(key)
        self._offers.pop(key, None)
        self._out.append(Shun(key, why))

    # ---- time ----------------------------------------------------------------------------

    def _set_timer(self, now: int) -> None:
        moments = [question.until_ms for _, question in self._peers.open()]
        wakes = self._need.wakes_ms(self._peers)
        if self._stage is Stage.RESTING and self._need.is_needed(self._peers, now):
            moments += [self._rest_until] if self._rest_until > now else []
        elif self._stage is Stage.RESTING and wakes is not None:
            moments.append(max(wakes, self._rest_until))
        moments += [] if self._hold_until is None else [self._hold_until]
        if self._stage in (Stage.LISTING, Stage.FETCHING):
            moments += [peer.free_ms(now) for _, peer in self._peers.able() if peer.free_ms(now) > now]
        due = min(moments, default=None)
        moment = None if due is None else max(due, now + 1)
        if moment == self._deadline:
            return
        self._deadline = moment
        self._out.append(CancelTimer(TIMER) if moment is None else SetTimer(TIMER, moment - now))
