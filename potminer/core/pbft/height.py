"""The table at which one height is agreed on: its log, its view and stage, and what is due or missing.

A new height is a new table, laid with what this replica already said there. Nothing outlives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from potminer.core.committee import Committee
from potminer.core.machine import Offence, Penalize, Send
from potminer.core.pbft.events import DoubleVote, Witnessed
from potminer.core.pbft.gather import Gathering
from potminer.core.pbft.log import Log
from potminer.core.pbft.normal import vote_is_formed, vote_is_signed
from potminer.core.pbft.viewchange import change_fault
from potminer.core.pbft.voice import Said
from potminer.wire.block import Block, Certificate, block_digest
from potminer.wire.pbft import NewView, PreparedBlockWanted, PrePrepare, ViewChange, Vote
from potminer.wire.seal import Purpose


class Stage(StrEnum):
    WAITING = "waiting"
    GATHERING = "gathering"
    PREPARING = "preparing"
    COMMITTING = "committing"
    EXECUTING = "executing"
    CHANGING = "changing"


LEGAL_MOVES: Mapping[Stage, frozenset[Stage]] = {
    Stage.WAITING: frozenset(
        {Stage.GATHERING, Stage.PREPARING, Stage.EXECUTING, Stage.CHANGING, Stage.WAITING}
    ),
    Stage.GATHERING: frozenset({Stage.EXECUTING, Stage.CHANGING, Stage.WAITING}),
    Stage.PREPARING: frozenset({Stage.COMMITTING, Stage.EXECUTING, Stage.CHANGING, Stage.WAITING}),
    Stage.COMMITTING: frozenset({Stage.EXECUTING, Stage.CHANGING, Stage.WAITING}),
    Stage.EXECUTING: frozenset(),
    Stage.CHANGING: frozenset({Stage.CHANGING, Stage.WAITING, Stage.PREPARING, Stage.EXECUTING}),
}
"""Within one height. A new height begins afresh from every stage."""


_WAITING, _CHANGING, _EXECUTING = Stage.WAITING, Stage.CHANGING, Stage.EXECUTING
CHANGES_TOLD = 4
NEW_VIEWS_TOLD = 16


class Table:
    """The state of *height* for the member *me* (-1: no member). *said* is the voice's live memory of it."""

    __slots__ = (
        "accused", "batched", "committee", "decided", "due", "due_ms", "gathering", "height", "log", "me",
        "opening", "proposal", "stage", "view", "votes_asked", "wanted", "witnessed",
    )  # fmt: skip

    def __init__(self, *, height: int, committee: Committee, me: int, said: Said) -> None:
        self.height = height
        self.committee = committee
        self.me = me
        self.log = Log(height=height, committee=committee)
        self.view = said.view
        self.proposal: PrePrepare | None = said.accepted
        self.opening: PrePrepare | NewView | None = said.new_view or (said.accepted if said.view == 0 else None)
        """What began this view, to be passed on to who did not hear it."""
        self.votes_asked = 0
        """How often others were asked in this view what they heard."""
        self.gathering: Gathering | None = None
        """The proposal whose transactions are being gathered, in that stage and no other."""
        self.decided: bytes | None = None
        self.due = False
        """A block is due: once true, true until the height ends, so that the view timer never starts over."""
        self.due_ms = 0
        """When that was."""
        self.batched = False
        self.wanted: dict[bytes, Certificate] = {}
        self.accused: set[int] = set()
        self.witnessed: dict[int, int] = {}
        """How many statements of each signer were told; of NEW-VIEWs under -1."""
        self.stage = _stage_after(said)
        self._recall(said)

    def _recall(self, said: Said) -> None:
        if said.prepared is not None:
            self.keep(said.prepared.block, said)
        if said.block is not None:
            self.keep(said.block, said)
        for vote in (said.ballot.vote if said.ballot else None, said.commit):
            if vote is not None:
                self.log.add(vote)
        if said.change is not None:
            self.log.add_change(said.change)

    # ---- questions -----------------------------------------------------------------------

    @property
    def is_primary(self) -> bool:
        return self.me == self.committee.primary(height=self.height, view=self.view)

    @property
    def must_move(self) -> bool:
        """Whether the view timer runs: never while idle, and in a view change only once a quorum takes part."""
        stage = self.stage
        if stage is _EXECUTING:
            return False
        if stage is _CHANGING:
            changes = self.log.changes.values()
            return self.committee.is_quorum(change.signer for change in changes if change.view >= self.view)
        return stage is not _WAITING or self.due or self.view > 0

    @property
    def asked(self) -> bool:
        """Whether a member was asked for what the proposal lacks."""
        return self.gathering is not None and self.gathering.asked > 0

    @property
    def standing(self) -> PrePrepare | None:
        """The view's proposal, whole or not yet."""
        return self.proposal if self.gathering is None else self.gathering.proposal

    def contradicts(self, proposal: PrePrepare) -> bool:
        """Whether the view of *proposal* already has another one here."""
        standing = self.standing
        return standing is not None and standing.view == proposal.view and standing.header != proposal.header

    def holders(self, gathering: Gathering) -> list[bytes]:
        """Who should hold the block whole: its primary, who prepared it, and whoever is in the proof that chose it."""
        primary = self.committee.primary(height=self.height, view=gathering.proposal.view)
        proofs = [change.prepared for change in self.log.changes.values()]
        found = [primary, *self.log.preparers(gathering.digest)]
        found += [s for proof in proofs if proof and proof.digest == gathering.digest for s, _ in proof.signatures]
        return [self.committee.members[signer] for signer in dict.fromkeys(found) if signer != self.me]

    # ---- changes -------------------------------------------------------------------------

    def move(self, to: Stage) -> None:
        if to not in LEGAL_MOVES[self.stage]:
            raise AssertionError(f"no move from {self.stage} to {to}")
        self.stage, self.gathering = to, None

    def gather(self, gathering: Gathering) -> None:
        """A sound proposal that is not whole yet. What a fresh one names is mostly on its way by gossip: nobody is
        asked at once."""
        self.move(Stage.GATHERING)
        self.gathering = gathering

    def ask(self) -> list[Send]:
        """The question for what the proposal still lacks, to the next member that should hold it."""
        return [] if self.gathering is None else self.gathering.ask(self.holders(self.gathering))

    def enter(self, view: int, stage: Stage) -> None:
        """Leaves every lower view behind; what stood there is forgotten, except in *said*."""
        if view < self.view:
            raise AssertionError("views only rise")
        self.view, self.proposal, self.opening, self.votes_asked = view, None, None, 0
        self.wanted.clear()
        self.move(stage)

    def keep(self, block: Block, said: Said) -> None:
        """Keeps a whole block; the current proposal and the prepared block are never dropped for it."""
        needed = {block_digest(self.proposal.header)} if self.proposal is not None else set()
        if said.prepared is not None:
            needed.add(said.prepared.certificate.digest)
        self.log.keep(block, never_drop=needed | {block_digest(block.header)})

    def want(self, proof: Certificate) -> list[Send]:
        """Asks for the body that *proof* names, if it was not missed before."""
        if proof.digest in self.wanted or len(self.wanted) >= len(self.committee.members):
            return []
        self.wanted[proof.digest] = proof
        return self._ask(proof)

    def ask_again(self) -> list[Send]:
        return [request for proof in self.wanted.values() for request in self._ask(proof)]

    def _ask(self, proof: Certificate) -> list[Send]:
        """Requests to those who voted for the block."""
        wanted = PreparedBlockWanted(height=self.height, digest=proof.digest)
        return [Send(self.committee.members[s], wanted) for s, _ in proof.signatures if s != self.me]

    # ---- votes ---------------------------------------------------------------------------

    def take_vote(self, peer: bytes, vote: Vote, *, chain: bytes) -> list[Penalize | DoubleVote]:
        """Counts a PREPARE or COMMIT from outside, if it is sound and the signer's first of its view."""
        if not vote_is_formed(vote, self.committee):
            return [Penalize(peer, Offence.MALFORMED, "a vote that nobody may cast")]
        held = self.log.vote(purpose=vote.purpose, signer=vote.signer, view=vote.view)
        if held is None and not self.log.wants(vote):
            return []
        if held is not None and (held.digest == vote.digest or vote.signer in self.accused):
            return []
        if not vote_is_signed(vote, self.committee, chain=chain):
            return [Penalize(peer, Offence.FORGED, "a vote that its signer did not sign")]
        if held is None:
            self.log.add(vote)
            return []
        first, second = (held.digest, held.signature), (vote.digest, vote.signature)
        return [self.accuse(vote.signer, Purpose(vote.purpose), view=vote.view, first=first, second=second)]

    def take_change(self, peer: bytes, change: ViewChange, *, chain: bytes) -> list[Penalize | Witnessed]:
        """Keeps a VIEW-CHANGE from outside, if it is sound and its signer's highest."""
        held = self.log.changes.get(change.signer)
        if held is not None and held.view >= change.view:
            return []
        fault = change_fault(change, committee=self.committee, chain=chain, height=self.height)
        if fault is not None:
            return [Penalize(peer, Offence.FORGED, fault)]
        self.log.add_change(change)
        return list(self.witness(change))

    def witness(self, message: ViewChange | NewView) -> list[Witnessed]:
        """To be told, so that it outlives us: nobody can make it more than a few for each member."""
        signer, most = (message.signer, CHANGES_TOLD) if isinstance(message, ViewChange) else (-1, NEW_VIEWS_TOLD)
        told = self.witnessed.get(signer, 0)
        self.witnessed[signer] = told + 1
        return [Witnessed(self.height, message)] if told < most else []

    def accuse(
        self, signer: int, purpose: Purpose, *, view: int, first: tuple[bytes, bytes], second: tuple[bytes, bytes]
    ) -> DoubleVote:
        """The report of a double vote, once per signer and height. The first vote goes on counting."""
        self.accused.add(signer)
        return DoubleVote(
            signer=self.committee.members[signer],
            purpose=purpose,
            epoch=self.committee.epoch,
            height=self.height,
            view=view,
            first=first,
            second=second,
        )

    def size(self) -> int:
        gathered = 0 if self.gathering is None else self.gathering.size()
        return self.log.size() + len(self.wanted) + len(self.accused) + len(self.witnessed) + gathered


def _stage_after(said: Said) -> Stage:
    """Where a replica stands that said this, and nothing else, at a height."""
    if said.commit is not None:
        return Stage.COMMITTING
    if said.accepted is not None:
        return Stage.PREPARING
    return Stage.CHANGING if said.change is not None else Stage.WAITING
