"""The replica: one block per height, agreed by a quorum (docs/spec/pbft.md).

The life of a height, and the functions that move it:

    WAITING     nothing accepted yet in this view        _open_height, _consider
    GATHERING   a proposal stands, not whole yet         _consider, _gathered
    PREPARING   a proposal stands; PREPAREs are counted  _commit_when_prepared
    COMMITTING  our COMMIT is out; COMMITs are counted   _execute_when_committed
    EXECUTING   the block is final; Executed must come   _advance
    CHANGING    a higher view is asked for               _change_view, _open_view, _new_view

``handle`` lets the event in (store what is sound), then ``_settle`` applies the rules to what
is stored. No rule calls another through a message, so nothing recurses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from potminer.core.committee import Committee
from potminer.core.machine import Broadcast, Execute, Executed, MessageArrived, Offence, Penalize, TimerFired
from potminer.core.pbft import viewchange
from potminer.core.pbft.ahead import Ahead
from potminer.core.pbft.alarms import Alarms
from potminer.core.pbft.application import Application, Head, Timers
from potminer.core.pbft.breadth import Breadth
from potminer.core.pbft.checkpoint import Checkpoints
from potminer.core.pbft.clock import CommitteeClock
from potminer.core.pbft.complaint import Complaints
from potminer.core.pbft.events import Effect, Event, Offer, ProposalRefused, Started, ViewEntered, WorkArrived
from potminer.core.pbft.gather import Gathering
from potminer.core.pbft.height import Stage, Table
from potminer.core.pbft.memory import WHOLE, Memory
from potminer.core.pbft.normal import proposal_fault
from potminer.core.pbft.repair import STATUS
from potminer.core.pbft.timing import Timing
from potminer.core.pbft.voice import Voice
from potminer.wire.block import Block, Certificate, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import (
    NewView,
    PreparedBlock,
    PreparedBlockWanted,
    PrePrepare,
    Relay,
    Status,
    Transactions,
    TransactionsWanted,
    ViewChange,
    Vote,
    VotesWanted,
)
from potminer.wire.seal import Purpose, SigningKey

_WAITING, _PREPARING, _CHANGING, _EXECUTING = Stage.WAITING, Stage.PREPARING, Stage.CHANGING, Stage.EXECUTING
QUIET = frozenset({Status, VotesWanted, PreparedBlockWanted, TransactionsWanted, Relay})
"""No rule reads these: after them nothing is to be settled."""


class Replica(Timing):
    """One member's replica. ``handle`` is its whole interface; the first event is ``Started``."""

    def __init__(
        self,
        *,
        key: SigningKey,
        chain: bytes,
        application: Application,
        head: Head,
        persisted: Mapping[bytes, bytes],
        parameters: Timers,
        memory: Memory = WHOLE,
    ) -> None:
        self._key = key
        self._chain = chain
        self._application = application
        self._parameters = parameters
        self._head = head
        self._memory = memory
        self._ahead = Ahead()
        self._clock = CommitteeClock()
        self._checkpoints = Checkpoints()
        self._breadth = Breadth()
        self._complaints = Complaints()
        self._served: set[tuple[bytes, str]] = set()
        self._out: list[Effect] = []
        self._sit(application.committee, persisted)
        self._alarms = Alarms()
        self._tended = self._seen = None
        self._begin_height()

    # ---- what others may look at ---------------------------------------------------------

    @property
    def view(self) -> int:
        return self._at.view

    @property
    def stage(self) -> Stage:
        return self._at.stage

    @property
    def is_primary(self) -> bool:
        return self._at.is_primary

    def footprint(self) -> int:
        """How many items are held in memory and in records, whatever anybody sends."""
        lists = len(self._served) + len(self._voice.records) + self._clock.size()
        return self._at.size() + self._ahead.size() + self._checkpoints.size() + self._complaints.size() + lists

    # ---- the one door --------------------------------------------------------------------

    def handle(self, event: Event, now: int) -> list[Effect]:
        """The effects of *event* at *now* (wall clock, ms), to be performed in order."""
        match event:
            case MessageArrived():
                message = event.message
                self._arrived(event.peer, message, now)
                if type(message) in QUIET:
                    return self._said()
            case TimerFired(name):
                self._fired(name, now)
            case Started():
                self._start(now)
            case WorkArrived(full):
                self._work(full, now)
            case Executed():
                self._advance(event, now)
            case _:
                assert_never(event)
        self._settle(now)
        return self._said()

    def _said(self) -> list[Effect]:
        effects, self._out = self._out, []
        return effects

    def _settle(self, now: int) -> None:
        """Applies every rule to what is stored, in the order in which one enables the next."""
        at = self._at
        if self._member and at.stage is not _EXECUTING:
            if at.log.changes:
                self._join_higher_view()
            if at.stage is _WAITING:
                self._open_height(now)
            if at.stage is _CHANGING:
                self._open_view(now)
            if at.stage is _PREPARING:
                self._commit_when_prepared()
            if at.log.certifies:
                self._execute_when_committed(now)
        self._tend_timers()

    # ---- heights -------------------------------------------------------------------------

    def _sit(self, committee: Committee, records: Mapping[bytes, bytes]) -> None:
        """Takes this key's seat in *committee*; without one, or while it may have forgotten, it only follows."""
        me = committee.index_of(self._key.public)
        self._committee = committee
        self._member = me is not None and self._memory.reaches(self._head)
        self._me = -1 if me is None else me
        self._voice = Voice.remembering(
            records, key=self._key, chain=self._chain, epoch=committee.epoch, signer=max(self._me, 0)
        )

    def _begin_height(self) -> None:
        """A clean table for the height above the head, laid with what this replica already said there."""
        latest = self._head.height - self._head.height % self._parameters.checkpoint_blocks
        self._out += self._voice.open(self.height, checkpoint=latest)
        self._at = Table(height=self.height, committee=self._committee, me=self._me, said=self._voice.said)

    def _start(self, now: int) -> None:
        self._out += [Broadcast(message) for message in self._voice.said.messages()]
        checkpoint = self._voice.said_checkpoint()
        if checkpoint is not None:
            self._out += self._checkpoints.add(checkpoint, self._committee)
        self._look_for_work(now)
        self._tick(now)

    def _advance(self, executed: Executed, now: int) -> None:
        """The head moved, by our own decision or by sync. Catching up leaves a view change."""
        if executed.height <= self._head.height:
            return
        if self._at.stage is Stage.EXECUTING and executed.height == self.height and executed.digest != self._at.decided:
            raise AssertionError("another block was executed than the one decided")
        self._meet_chain(executed.time_ms)
        self._head = Head(executed.height, executed.digest, executed.time_ms, executed.state_root)
        self._take_seats()
        self._begin_height()
        self._take_checkpoint()
        self._look_for_work(now)
        for peer, message in self._ahead.take(self.height):
            if self._member and peer in self._committee.members:
                self._current(peer, message, now)

    def _take_seats(self) -> None:
        """The committee of the new height, as the ledger names it: another one after an epoch's last block."""
        committee = self._application.committee
        if committee.epoch == self._committee.epoch:
            self._committee = committee  # the same, but for who is skipped
            self._regain_memory()
            return
        self._memory = self._memory.elsewhere()
        self._sit(committee, self._voice.records)
        self._checkpoints = Checkpoints()
        self._clock.forget_all_but(committee.members)
        self._ahead.forget_all_but({*committee.members, *self._application.following.members})

    # ---- time ----------------------------------------------------------------------------

    def _work(self, full: bool, now: int) -> None:
        self._look_for_work(now)
        self._at.batched = self._at.batched or (full and self._at.due)
        self._gather_known(now)

    def _fired(self, name: str, now: int) -> None:
        if name == STATUS:
            self._look_for_work(now)
            self._tick(now)
            return
        self._tended = None
        match self._alarms.fired(name):
            case "view":
                self._change_view(self._at.view + 1)
            case "gather":
                self._gather_known(now)
                self._out += self._at.ask()
            case "votes":
                self._ask_votes()
            case "batch":
                self._at.batched = True
            case "empty":
                self._at.due, self._at.due_ms, self._at.batched = True, now, True

    # ---- what arrives --------------------------------------------------------------------

    def _arrived(self, peer: bytes, message: Wire, now: int) -> None:
        """What members say now, and members of the next epoch early. The network lets nobody speak who never
        sits; whoever sat before is late, and no offender."""
        if not self._member or peer not in self._committee.seats:
            self._keep_early(peer, message, now)
            return
        match message:
            case Vote():
                if message.purpose != Purpose.CHECKPOINT:
                    self._at_height(peer, message.height, message, now)
                else:
                    self._out += self._checkpoints.hear(peer, message, self._committee, chain=self._chain)
            case Status():
                self._status(peer, message, now)
            case PrePrepare():
                self._at_height(peer, message.header.height, message, now)
            case ViewChange() | NewView():
                self._at_height(peer, message.height, message, now)
            case VotesWanted():
                self._serve_votes(peer, message)
            case PreparedBlockWanted():
                self._serve(peer, message)
            case PreparedBlock():
                self._body(peer, message)
            case TransactionsWanted():
                self._serve_transactions(peer, message)
            case Transactions():
                self._gathered(peer, message, now)
            case Relay():
                self._out.append(Offer(peer, message.transactions))
            case _:
                self._out.append(Penalize(peer, Offence.UNEXPECTED, "not a message between replicas"))

    def _at_height(self, peer: bytes, height: int, message: Wire, now: int) -> None:
        current = self._at.height
        if height == current:
            self._current(peer, message, now)
        elif height > current:
            self._ahead.claim(peer, height)
            if height == current + 1:
                self._ahead.keep(peer, height, message)
            self._tell_behind(current + 1)

    def _current(self, peer: bytes, message: Wire, now: int) -> None:
        if self._at.stage is _EXECUTING:
            return
        match message:
            case Vote():
                self._out += self._at.take_vote(peer, message, chain=self._chain)
            case PrePrepare():
                self._pre_prepare(peer, message, now)
            case ViewChange():
                self._out += self._at.take_change(peer, message, chain=self._chain)
            case NewView():
                self._new_view(peer, message, now)

    # ---- normal case ---------------------------------------------------------------------

    def _open_height(self, now: int) -> None:
        """The primary of view 0 proposes once a block is due and batching is over."""
        if self._at.stage is not Stage.WAITING or not (self._at.due and self._at.batched and self._may_propose()):
            return
        block = self._fresh(now)
        if block is None:
            self._at.batched = False  # try again after another batch
        else:
            self._lead(block, ())

    def _fresh(self, now: int) -> Block | None:
        now = self._clock.read(now)
        block = self._build(now)
        if block is None:
            self._out.append(ProposalRefused(self.height, self._at.view, "nothing can be proposed with this onion"))
            return None
        reason = self._application.refusal(block, fresh=True, now=now)
        if reason is not None:
            self._out.append(ProposalRefused(self.height, self._at.view, reason))
            return None
        return block

    def _lead(self, block: Block, changes: tuple[ViewChange, ...]) -> None:
        message, records = self._voice.propose(block, view=self._at.view, changes=changes)
        self._out += [*records, Broadcast(message)]
        self._out += self._at.witness(message) if isinstance(message, NewView) else []
        self._at.opening = message
        self._adopt(message.proposal if isinstance(message, NewView) else message, block)

    def _pre_prepare(self, peer: bytes, proposal: PrePrepare, now: int) -> None:
        if proposal.view > 0:
            self._out.append(Penalize(peer, Offence.UNEXPECTED, "a later view is opened by its NEW-VIEW"))
            return
        if self._at.view > 0 or self.is_primary or self._is_another(proposal):
            return
        if self._at.stage is not Stage.WAITING:
            return
        fault = self._fault(proposal, fresh=True)
        if fault is None:
            self._at.opening = proposal
            self._consider(proposal, fresh=True, now=now)
        else:
            self._out.append(Penalize(peer, Offence.FORGED, fault))

    def _fault(self, proposal: PrePrepare, *, fresh: bool) -> str | None:
        return proposal_fault(proposal, committee=self._committee, chain=self._chain, head=self._head, fresh=fresh)

    def _is_another(self, proposal: PrePrepare) -> bool:
        """Whether the view already has a different proposal; its primary is then accused."""
        accepted, view = self._at.standing, proposal.view
        if accepted is None or not self._at.contradicts(proposal):
            return False
        signer = self._committee.primary(height=self.height, view=view)
        if signer not in self._at.accused and self._fault(proposal, fresh=view == 0) is None:
            first, second = ((block_digest(p.header), p.signature) for p in (accepted, proposal))
            self._out.append(self._at.accuse(signer, Purpose.PRE_PREPARE, view=view, first=first, second=second))
        return True

    def _consider(self, proposal: PrePrepare, *, fresh: bool, now: int) -> None:
        """Takes a sound proposal of the current view: judged as soon as it is whole."""
        block = self._at.log.body(block_digest(proposal.header))
        if block is not None:
            self._judge(proposal, block, fresh=fresh, now=now)
        else:
            known = self._application.transactions(proposal.leaves)
            self._at.gather(Gathering(proposal, fresh=fresh, known=known))
            self._judge_whole(now)
            self._out += [] if fresh else self._at.ask()

    def _judge(self, proposal: PrePrepare, block: Block, *, fresh: bool, now: int) -> None:
        """PREPAREs *proposal* if the ledger takes its whole *block*."""
        self._at.keep(block, self._voice.said)
        reason = self._application.refusal(block, fresh=fresh, now=self._clock.read(now))
        if reason is None and not self._voice.may_prepare(proposal):
            reason = "another block of this view was prepared before"
        if reason is not None:
            self._out.append(ProposalRefused(self.height, self._at.view, reason))
        elif fresh and self._leaves_out(block):
            self._out.append(ProposalRefused(self.height, self._at.view, "leaves out what has waited too long"))
            self._change_view(self._at.view + 1)
        else:
            self._prepare(proposal, block)

    def _leaves_out(self, block: Block) -> bool:
        """Whether *block* is worth a complaint; it costs its primary the turn, if a weak quorum complains."""
        name = self._application.left_out(block)
        members = len(self._committee.members)
        return name is not None and self._complaints.allowed(name, height=self.height, members=members)

    def _prepare(self, proposal: PrePrepare, block: Block) -> None:
        vote, records = self._voice.prepare(proposal, block)
        self._out += [*records, Broadcast(vote)]
        self._at.log.add(vote)
        self._adopt(proposal, block)

    def _adopt(self, proposal: PrePrepare, block: Block) -> None:
        self._at.proposal = proposal
        self._at.keep(block, self._voice.said)
        self._at.move(Stage.PREPARING)

    def _commit_when_prepared(self) -> None:
        block = self._voice.said.block
        if self._at.stage is not Stage.PREPARING or self._at.proposal is None or block is None:
            return
        before = self._voice.said.prepared
        if before is not None and before.certificate.view == self._at.view:
            proof: Certificate | None = before.certificate
        else:
            proof = self._at.log.prepared(self._at.proposal)
        if proof is not None:
            vote, records = self._voice.commit(proof, block)
            self._out += [*records, Broadcast(vote)]
            self._at.log.add(vote)
            self._at.move(Stage.COMMITTING)

    def _execute_when_committed(self, now: int) -> None:
        proof = self._at.log.committed()
        if proof is None:
            return
        block = self._at.log.body(proof.digest)
        if block is None:
            self._out += self._at.want(proof)
            return
        if block.header.height != self.height or block.header.parent != self._head.digest:
            raise AssertionError("a quorum committed to a block that does not follow our head")
        self._widen(block, proof, now)
        self._at.decided = proof.digest
        self._at.move(Stage.EXECUTING)
        self._out.append(Execute(block, proof))

    # ---- view change ---------------------------------------------------------------------

    def _change_view(self, view: int) -> None:
        self._breadth.view_failed()
        change, records = self._voice.change(view)
        self._at.enter(view, Stage.CHANGING)
        self._out += [*records, Broadcast(change), ViewEntered(self.height, view, changing=True)]
        self._out += self._at.witness(change)
        self._at.log.add_change(change)

    def _join_higher_view(self) -> None:
        while True:
            target = viewchange.jump_target(self._at.log.changes, view=self._at.view, committee=self._committee)
            if target is None:
                return
            self._change_view(target)

    def _open_view(self, now: int) -> None:
        """The primary of the asked-for view opens it with the first quorum whose choice it can propose."""
        if self._at.stage is not Stage.CHANGING or not self.is_primary:
            return
        missing = []
        for quorum in viewchange.quorums(self._at.log.changes_for(self._at.view), self._committee):
            chosen = viewchange.choose(quorum)
            block = self._at.log.body(chosen.digest) if chosen is not None else self._fresh(now)
            if block is not None:
                self._out.append(ViewEntered(self.height, self._at.view, changing=False))
                self._lead(block, quorum)
                return
            if chosen is not None:
                missing.append(chosen)
        for proof in missing:
            self._out += self._at.want(proof)

    def _new_view(self, peer: bytes, new_view: NewView, now: int) -> None:
        view = new_view.view
        if view < self._at.view or self._committee.primary(height=self.height, view=view) == self._me:
            return
        if view == self._at.view and (self._is_another(new_view.proposal) or self._at.standing is not None):
            return
        fault = viewchange.new_view_fault(
            new_view, committee=self._committee, chain=self._chain, head=self._head, known=self._at.log.changes
        )
        if fault is not None:
            self._out.append(Penalize(peer, Offence.FORGED, fault))
            return
        self._at.enter(view, Stage.WAITING)
        self._at.opening = new_view
        self._out += [*self._at.witness(new_view), ViewEntered(self.height, view, changing=False)]
        self._consider(new_view.proposal, fresh=viewchange.choose(new_view.view_changes) is None, now=now)

    # ---- missing transactions ------------------------------------------------------------

    def _gathered(self, peer: bytes, message: Transactions, now: int) -> None:
        gathering = self._at.gathering
        if gathering is None or gathering.digest != message.digest:
            return  # somebody else was faster
        if not gathering.take(message.transactions):
            self._out.append(Penalize(peer, Offence.MALFORMED, "a transaction that the block does not name"))
        self._judge_whole(now)

    def _gather_known(self, now: int) -> None:
        """Gossip may have brought it meanwhile."""
        gathering = self._at.gathering
        if gathering is not None:
            known = self._application.transactions(gathering.missing())
            gathering.take([signed for signed in known if signed is not None])
            self._judge_whole(now)

    def _judge_whole(self, now: int) -> None:
        gathering = self._at.gathering
        block = None if gathering is None else gathering.block()
        if gathering is not None and block is not None:
            self._at.move(Stage.WAITING)
            self._judge(gathering.proposal, block, fresh=gathering.fresh, now=now)
