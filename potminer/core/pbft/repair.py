"""What a replica does for others that miss something: says it again, sends bodies, points to the head.

Nobody gets the same thing twice in one status period, so a question costs its asker more than us.
"""

from __future__ import annotations

from potminer.core.committee import Committee
from potminer.core.machine import Broadcast, Offence, Penalize, Send, SetTimer
from potminer.core.pbft import passing
from potminer.core.pbft.ahead import Ahead
from potminer.core.pbft.application import Application, Head, Timers
from potminer.core.pbft.checkpoint import Checkpoints, checkpoint_digest
from potminer.core.pbft.clock import CommitteeClock
from potminer.core.pbft.complaint import Complaints
from potminer.core.pbft.events import Behind, ClockOff, Effect
from potminer.core.pbft.gather import answer
from potminer.core.pbft.height import Table
from potminer.core.pbft.memory import Memory
from potminer.core.pbft.normal import is_whole
from potminer.core.pbft.voice import Voice
from potminer.wire import sync
from potminer.wire.block import block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import (
    NewView,
    PreparedBlock,
    PreparedBlockWanted,
    PrePrepare,
    Status,
    TransactionsWanted,
    ViewChange,
    Vote,
    VotesWanted,
)
from potminer.wire.seal import Purpose

STATUS = "pbft/status"
_PROPOSALS = (PrePrepare, NewView)
STALLED_MS = 500
"""A block due for so long, and none begun by anybody: perhaps nobody else knows why it is due."""


class Repair:
    """The helping half of a replica (``machine.py``), on the same state."""

    _ahead: Ahead
    _clock: CommitteeClock
    _application: Application
    _at: Table
    _checkpoints: Checkpoints
    _committee: Committee
    _complaints: Complaints
    _head: Head
    _me: int
    _member: bool
    _memory: Memory
    _out: list[Effect]
    _parameters: Timers
    _served: set[tuple[bytes, str]]
    _voice: Voice

    @property
    def height(self) -> int:
        """The height being agreed on: one above the head."""
        return self._head.height + 1

    @property
    def silent_until_ms(self) -> int | None:
        """The time of a block from which on this member speaks again; None where no forgetting keeps it from it."""
        return None if self._me < 0 or self._memory.reaches(self._head) else self._memory.until_ms

    def _meet_chain(self, time_ms: int) -> None:
        """The head moves: the first block that comes to this disk may show that the chain is older than it."""
        if self._head.height == 0 and not self._voice.said.messages():
            self._memory, written = self._memory.met(time_ms)
            self._out += written

    def _hear_clock(self, peer: bytes, status: Status, now: int) -> None:
        """A member's clock; whoever may have forgotten what it signed learns from it how old its disk is."""
        self._clock.hear(peer, status.time_ms - now)
        behind_ms = self._clock.behind_ms(self._committee, self._me) if self._memory.lost else None
        if behind_ms is not None:
            self._memory, written = self._memory.told(behind_ms)
            self._out += written
            self._regain_memory(now)

    def _regain_memory(self, now: int | None = None) -> None:
        """Whether this key speaks at this height."""
        if self._memory.lost:
            self._memory, clamped = self._memory.seen(self._memory.since_ms if now is None else now)
            if clamped:
                self._clock.forget_all_but(())  # what they said was said beside another clock of ours
            self._memory, found = self._memory.regained(self._head, self._clock.median(self._committee, self._me))
            self._out += [*clamped, *found]
        self._member = self._me >= 0 and self._memory.reaches(self._head)

    def _take_checkpoint(self) -> None:
        if not self._member or self._head.height % self._parameters.checkpoint_blocks:
            return
        vote, records = self._voice.checkpoint(height=self._head.height, digest=checkpoint_digest(self._head))
        self._out += [*records, Broadcast(vote)]
        self._out += self._checkpoints.add(vote, self._committee)

    def _tick(self, now: int) -> None:
        """Once per status period: say where we stand, ask again for what is missing, relay what is left out."""
        self._out.append(SetTimer(STATUS, self._parameters.status_ms))
        self._served.clear()
        if self._memory.lost:
            self._regain_memory(now)
        if not self._member:
            return
        self._out.append(Broadcast(Status(height=self.height, view=self._at.view, time_ms=now)))
        off_ms = self._clock.weigh(self._committee, self._me)
        self._out += [] if off_ms is None else [ClockOff(off_ms)]
        self._out += self._at.ask_again()
        waiting = self._application.neglected(stalled=self._is_stalled(now))
        self._out += [Broadcast(relay) for relay in self._complaints.relay(waiting)]
        checkpoint = self._voice.said_checkpoint()
        if checkpoint is not None and checkpoint.height > self._checkpoints.stable:
            self._out.append(Broadcast(checkpoint))
        self._tell_behind(self.height)

    def _is_stalled(self, now: int) -> bool:
        return self._at.due and now - self._at.due_ms >= STALLED_MS

    def _tell_behind(self, least: int) -> None:
        """Asks for blocks where a weak quorum is done with height *least* or a later one."""
        passed = self._ahead.passed(self._committee)
        if passed >= least and self._once(b"", f"behind/{passed}"):
            self._out.append(Behind(passed))

    def _once(self, peer: bytes, what: str) -> bool:
        """Whether *what* was not yet done for *peer* in this status period."""
        if (peer, what) in self._served:
            return False
        self._served.add((peer, what))
        return True

    def _ask_votes(self) -> None:
        """This height stands still: what is lacked, from the next few of the others."""
        wanted = passing.lacked(self._at)
        self._out += [Send(peer, wanted) for peer in passing.whom(self._at, self._at.votes_asked)]
        self._at.votes_asked += 1

    def _serve_votes(self, peer: bytes, wanted: VotesWanted) -> None:
        if wanted.height == self.height and self._once(peer, "votes"):
            self._out += [Send(peer, message) for message in passing.passed_on(self._at, wanted)]

    def _serve_transactions(self, peer: bytes, wanted: TransactionsWanted) -> None:
        block = self._at.log.body(wanted.digest)
        if wanted.height == self.height and block is not None and self._once(peer, f"of/{wanted.digest.hex()}"):
            self._out.append(answer(peer, wanted, block))

    def _serve(self, peer: bytes, wanted: PreparedBlockWanted) -> None:
        block = self._at.log.body(wanted.digest)
        if wanted.height == self.height and block is not None and self._once(peer, "body"):
            self._out.append(Send(peer, PreparedBlock(block=block)))

    def _body(self, peer: bytes, message: PreparedBlock) -> None:
        digest = block_digest(message.block.header)
        if digest not in self._at.wanted:
            return  # somebody else was faster
        if not is_whole(message.block):
            self._out.append(Penalize(peer, Offence.MALFORMED, "the transactions are not those of the header"))
            return
        del self._at.wanted[digest]
        self._at.keep(message.block, self._voice.said)

    def _keep_early(self, peer: bytes, message: Wire, now: int) -> None:
        """Of somebody without a seat, or to us without one: a word for the next height, where a seat may begin.
        Whoever lost its seat meanwhile is pointed to our head."""
        height = message.header.height if isinstance(message, PrePrepare) else getattr(message, "height", 0)
        if isinstance(message, Vote | ViewChange | NewView | PrePrepare) and height == self.height + 1:
            if peer in (*self._committee.members, *self._application.following.members):
                self._ahead.keep(peer, height, message)
        elif isinstance(message, Status):
            if peer in self._committee.seats:
                self._hear_clock(peer, message, now)
            if height < self.height:
                self._point_to_head(peer)

    def _point_to_head(self, peer: bytes) -> None:
        if self._once(peer, "head"):
            self._out.append(Send(peer, sync.Head(height=self._head.height, digest=self._head.digest)))

    def _status(self, peer: bytes, status: Status, now: int) -> None:
        """Says again to a peer at our height what it may have missed; points one below it to our head."""
        member = self._committee.seats[peer]
        self._ahead.claim(peer, status.height)
        self._hear_clock(peer, status, now)
        height = self._at.height
        if status.height > height:
            self._tell_behind(height + 1)
        elif status.height < height:
            self._point_to_head(peer)
        elif status.view <= self._at.view and self._once(peer, "again"):
            voted = self._at.log.vote(purpose=Purpose.PREPARE, signer=member, view=self._at.view) is not None
            for message in self._voice.said.messages():
                if not (voted and isinstance(message, _PROPOSALS)):
                    self._out.append(Send(peer, message))
