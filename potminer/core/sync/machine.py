"""Catching up, and helping others to.

A peer's ``Head`` or consensus' ``Behind`` only says whom to ask. A block is executed when its
turn has come and its certificate proves it under the committee of its epoch, which may
be known only once the block before has been executed: that is why proof waits for the turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from potminer.core.asking import Pace, answering
from potminer.core.committee import Committee
from potminer.core.machine import (
    CancelTimer,
    Execute,
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
from potminer.core.sync.fan import STEP_MS, WIDTH, Fan
from potminer.core.sync.proof import Tip, fault_in_block, fault_in_range
from potminer.core.sync.requests import GRACE_MS, READS_PER_WINDOW, WINDOW_MS, Sources
from potminer.wire.block import CertifiedBlock
from potminer.wire.leap import Pruned
from potminer.wire.sync import RETRY_MS, Asked, Blocks, BlocksWanted, Busy, Head, NextWanted

TIMER: Final = "sync/requests"
SOON: Final = 2
"""Above our head a block may be waited for: its asker may be one ahead of us."""


@dataclass(frozen=True, slots=True)
class Behind:
    """Consensus saw that *height* is final somewhere."""

    height: int


@dataclass(frozen=True, slots=True)
class CommitteeKnown:
    """*committee* certifies from *first* on. Comes before ``Executed`` of block *first* - 1."""

    first: int
    committee: Committee


@dataclass(frozen=True, slots=True)
class Held:
    """A leap begins (*on*) or ended: meanwhile no blocks are asked for."""

    on: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """The ledger was set behind block *tip* without executing what came before; *committee* decides the next."""

    tip: Tip
    committee: Committee


@dataclass(frozen=True, slots=True)
class ReadBlocks:
    """Answer *peer* from the store with ``Blocks``: *count* from *first*, within the reply's size. Where the first
    of them was let go, with ``Pruned``."""

    peer: bytes
    first: int
    count: int


Event = Behind | CommitteeKnown | Held | Moved | Executed | MessageArrived | PeerUp | PeerDown | TimerFired
Effect = Send | Penalize | Execute | ReadBlocks | SetTimer | CancelTimer


@dataclass(frozen=True, slots=True)
class _Held:
    """A block whose turn has not come; *reply* names the reply it came in."""

    certified: CertifiedBlock
    peer: bytes
    reply: int


class Sync:
    """*tip* is the last block executed and stored; *committee* is the one of the next block's epoch. *follows*: no
    consensus runs here, so the next block is asked for before it exists. *decides*: consensus runs here and brings the
    next block itself, so it is not asked for at once."""

    def __init__(
        self, chain: bytes, committee: Committee, tip: Tip, *, follows: bool = False, decides: bool = False
    ) -> None:
        self._chain = chain
        self._committees = {tip.height + 1: committee}
        self._tip = tip
        self._sources = Sources()
        self._held: dict[int, _Held] = {}
        self._executing: int | None = None
        self._reads: dict[bytes, Pace] = {}
        self._fan = Fan()
        self._follows, self._decides = follows, decides
        self._since_ms: int | None = None
        """Since when somebody is one block ahead of us, and no more."""
        self._waiting: dict[bytes, int] = {}
        """Who asked for a block that does not exist yet, and for which."""
        self._deadline: int | None = None
        self._paused = False

    @property
    def tip(self) -> Tip:
        return self._tip

    @property
    def heads(self) -> dict[bytes, int]:
        """How high each peer says that its chain is."""
        return self._sources.claims()

    def handle(self, event: Event, now: int) -> list[Effect]:
        effects = self._react(event, now)
        effects += self._advance(now)
        effects += self._ask(now)
        return effects + self._set_timer(now)

    def _react(self, event: Event, now: int) -> list[Effect]:
        match event:
            case PeerUp():
                self._sources.up(event.peer)
                return [Send(event.peer, self._head())]
            case PeerDown():
                self._sources.down(event.peer)
                self._reads.pop(event.peer, None)
                self._waiting.pop(event.peer, None)
                return []
            case MessageArrived():
                return self._message(event, now)
            case Executed():
                return self._executed(event, now)
            case Behind():
                self._sources.suppose(event.height)
                return []
            case CommitteeKnown():
                self._committees[event.first] = event.committee
                return []
            case Held():
                self._paused = event.on
                return []
            case Moved():
                return self._moved(event)
            case TimerFired():
                if event.name != TIMER:
                    return []
                self._deadline = None
                late = self._sources.expire(now)
                return [Penalize(peer, Offence.WITHHELD, "no answer to a request for blocks") for peer in late]

    # ---- messages ------------------------------------------------------------------------

    def _message(self, event: MessageArrived, now: int) -> list[Effect]:
        match event.message:
            case Head():
                self._sources.claim(event.peer, event.message.height, now)
                return []
            case BlocksWanted():
                return self._serve(event.peer, event.message, now)
            case NextWanted():
                return self._wait(event.peer, event.message.height, now)
            case Blocks():
                return self._received(event.peer, event.message, now)
            case Pruned():
                return self._pruned(event.peer, event.message)
            case Busy(Asked.BLOCKS):
                return self._put_off(event.peer, event.message, now)
            case _:
                return []

    def _serve(self, peer: bytes, wanted: BlocksWanted, now: int) -> list[Effect]:
        """From the store; an empty answer lets the peer go on elsewhere at once."""
        if wanted.first > self._tip.height or wanted.first < 1:
            return [Send(peer, Blocks(()))]
        if self._sources.get(peer) is None:
            return []
        busy = self._busy(peer, now)
        if busy:
            return busy
        if peer not in self._committee().members:
            wait_ms = self._fan.wait_ms(wanted.first, peer, tip=self._tip.height, now=now)
            if wait_ms:
                return [Send(peer, Busy(Asked.BLOCKS, min(wait_ms, RETRY_MS)))]
        return [ReadBlocks(peer, wanted.first, min(wanted.count, self._tip.height - wanted.first + 1))]

    def _busy(self, peer: bytes, now: int) -> list[Effect]:
        """What *peer* hears where its question is one too many; the question is counted otherwise."""
        reads = self._reads.setdefault(peer, answering(READS_PER_WINDOW, WINDOW_MS))
        return [] if reads.take(now) else [Send(peer, Busy(Asked.BLOCKS, reads.opens_ms(now) - now))]

    def _wait(self, peer: bytes, height: int, now: int) -> list[Effect]:
        """A question for a block that is still to come: a few may wait, one block each."""
        if height <= self._tip.height:
            return self._serve(peer, BlocksWanted(height, 1), now)
        if self._sources.get(peer) is None:
            return []
        busy = self._busy(peer, now)
        if not busy and height > self._tip.height + SOON:
            busy = [Send(peer, Busy(Asked.BLOCKS, STEP_MS))]  # it would hold its place for ever
        if not busy and peer not in self._waiting and len(self._waiting) >= WIDTH:
            busy = [Send(peer, Busy(Asked.BLOCKS, STEP_MS))]
        if not busy:
            self._waiting[peer] = height
        return busy

    def _bring(self, now: int) -> list[Effect]:
        """The new head to who asked for it ahead: they are the first of its fan."""
        due = [(peer, height) for peer, height in self._waiting.items() if height <= self._tip.height]
        for peer, height in due:
            del self._waiting[peer]
            self._fan.wait_ms(height, peer, tip=self._tip.height, now=now)
        return [ReadBlocks(peer, height, 1) for peer, height in due]

    def _received(self, peer: bytes, reply: Blocks, now: int) -> list[Effect]:
        source = self._sources.get(peer)
        if source is None or source.request is None:
            return []  # late, after its time ran out: not worth a penalty, not worth the work
        request = source.request
        fault = fault_in_range(reply.blocks, first=request.first, count=request.count)
        if fault is not None:
            source.failed(now)
            return [Penalize(peer, Offence.MALFORMED, fault)]
        if not reply.blocks:
            return self._empty(peer, request.first, now)
        self._sources.answered(peer, len(reply.blocks), now)
        for certified in reply.blocks:
            if certified.block.header.height > self._tip.height:
                self._held.setdefault(certified.block.header.height, _Held(certified, peer, request.first))
        return []

    def _empty(self, peer: bytes, first: int, now: int) -> list[Effect]:
        """It has not got them: no fault where we only hoped, a broken claim where it said so."""
        source = self._sources.get(peer)
        if source is None:
            return []
        claimed, source.supposed = source.claimed >= first, 0
        source.claimed = min(source.claimed, first - 1)
        source.request = None
        if not claimed:
            return []
        source.failed(now)
        return [Penalize(peer, Offence.WITHHELD, "claims blocks and does not send them")]

    def _pruned(self, peer: bytes, told: Pruned) -> list[Effect]:
        """Whoever let go of what we need is asked for later blocks only."""
        source = self._sources.get(peer)
        if source is not None and source.request is not None:
            source.first, source.request = told.first, None
        return []

    def _put_off(self, peer: bytes, told: Busy, now: int) -> list[Effect]:
        """It is at its limit, which is nobody's fault: meanwhile the others are asked."""
        source = self._sources.get(peer)
        if source is not None and source.request is not None:
            source.put_off(now, told.retry_ms)
            source.request = None
        return []

    def _moved(self, event: Moved) -> list[Effect]:
        self._tip, self._committees = event.tip, {event.tip.height + 1: event.committee}
        self._fan.rose(event.tip.height)
        self._sources.rose(event.tip.height)
        self._held = {height: held for height, held in self._held.items() if height > event.tip.height}
        self._executing = None
        return [Send(peer, self._head()) for peer in self._sources]

    # ---- one block at a time -------------------------------------------------------------

    def _advance(self, now: int) -> list[Effect]:
        if self._executing is not None or self._tip.height + 1 not in self._held:
            return []
        held = self._held.pop(self._tip.height + 1)
        certified, peer = held.certified, held.peer
        fault = fault_in_block(certified, tip=self._tip, committee=self._committee(), chain=self._chain)
        if fault is not None:
            return self._forged(peer, fault, now)
        if certified.block.header.state_root != self._tip.state_root:
            raise AssertionError(f"a quorum certified another state than ours after block {self._tip.height}")
        source = self._sources.get(peer)
        if source is not None:
            source.proved()
        self._executing = certified.block.header.height
        return [Execute(certified.block, certified.certificate)]

    def _forged(self, peer: bytes, fault: str, now: int) -> list[Effect]:
        """Nothing else that *peer* sent is kept."""
        self._held = {height: held for height, held in self._held.items() if held.peer != peer}
        source = self._sources.get(peer)
        if source is not None:
            source.failed(now)
        return [Penalize(peer, Offence.FORGED, fault)]

    def _executed(self, event: Executed, now: int) -> list[Effect]:
        """Also for blocks that consensus decided; those we were to ask for are then held already."""
        if event.height != self._tip.height + 1:
            raise AssertionError(f"block {event.height} executed after block {self._tip.height}")
        self._tip = Tip(event.height, event.digest, event.state_root)
        self._fan.rose(event.height)
        self._sources.rose(event.height)
        self._since_ms = None
        self._executing = None
        self._held.pop(event.height, None)
        current = self._committee()
        self._committees = {f: c for f, c in self._committees.items() if f > event.height or c is current}
        if self._held:
            return self._bring(now)  # still catching up: peers need not hear of every step
        return [*(Send(peer, self._head()) for peer in self._sources), *self._bring(now)]

    def _committee(self) -> Committee:
        """Whose word the next block needs."""
        return self._committees[max(first for first in self._committees if first <= self._tip.height + 1)]

    def _head(self) -> Head:
        return Head(self._tip.height, self._tip.digest)

    # ---- asking --------------------------------------------------------------------------

    def _is_coming(self, now: int) -> bool:
        """Whether all that we lack is one block, which consensus is about to decide here too."""
        if not self._decides or self._held or self._sources.highest != self._tip.height + 1:
            self._since_ms = None
            return False
        if self._since_ms is None or self._since_ms > now:
            self._since_ms = now
        return now - self._since_ms < GRACE_MS

    def _ask(self, now: int) -> list[Effect]:
        if self._paused or self._is_coming(now):
            return []
        held = self._held if self._executing is None else {*self._held, self._executing}
        replies = len({entry.reply for entry in self._held.values()})
        assigned = self._sources.assign(tip=self._tip.height, held=held, replies=replies, now=now)
        questions: list[Effect] = [Send(peer, BlocksWanted(each.first, each.count)) for peer, each in assigned]
        if self._follows and not held and not assigned:
            ahead = self._sources.ask_ahead(tip=self._tip.height, now=now)
            questions += [] if ahead is None else [Send(ahead[0], NextWanted(ahead[1].first))]
        return questions

    def _set_timer(self, now: int) -> list[Effect]:
        due = self._sources.next_deadline(tip=self._tip.height, now=now)
        if self._since_ms is not None and now - self._since_ms < GRACE_MS:
            due = min(self._since_ms + GRACE_MS, self._since_ms + GRACE_MS if due is None else due)
        moment = None if due is None else max(due, now + 1)
        if moment == self._deadline:
            return []
        self._deadline = moment
        return [CancelTimer(TIMER)] if moment is None else [SetTimer(TIMER, moment - now)]
