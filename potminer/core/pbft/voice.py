"""The replica's mouth: the only place that signs, and the memory of what was said.

Write before you speak: every method that signs returns the ``Persist`` effects that must come
before the message. A second statement for the same (height, view, purpose) is the same bytes
or a broken assertion, also after a restart. Speaking in a view forgets what was said in lower
ones, where this replica will never speak again; the prepared block outlives its view.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from potminer.base import limits
from potminer.core.machine import Persist
from potminer.wire.block import Block, Certificate, CertifiedBlock, block_digest
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, SigningKey, statement

_CHECKPOINT = Purpose.CHECKPOINT
_KEY = struct.Struct(">5sQBI")
_PREFIX = b"pbft/"
_PREPARED = 0xFF
"""Kind of the record that holds the certificate of the prepared block."""
_BODY = 0xFE
"""Kind of the records that hold whole blocks, whose digests follow in their keys."""
_RECORD_BYTES = max(limits.NEW_VIEW_BYTES, limits.BLOCK_MESSAGE_BYTES) + limits.VOTE_BYTES


class Ballot(Wire, frozen=True):
    """A PREPARE together with the proposal it is for. The block itself has a record of its own."""

    vote: Vote
    proposal: PrePrepare


@dataclass(slots=True)
class Said:
    """What this replica said at one height. All but *prepared* belongs to *view*, the highest it spoke in."""

    view: int = 0
    proposal: PrePrepare | None = None
    new_view: NewView | None = None
    ballot: Ballot | None = None
    commit: Vote | None = None
    change: ViewChange | None = None
    block: Block | None = None
    """The block of the accepted proposal, whole."""
    prepared: CertifiedBlock | None = None

    @property
    def accepted(self) -> PrePrepare | None:
        """The proposal that this replica stands by in *view*: its own, or the one it prepared."""
        return self.proposal or (self.ballot.proposal if self.ballot else None)

    def messages(self) -> tuple[Wire, ...]:
        """Everything said in *view*, to be said again in the same bytes."""
        opening = self.new_view or self.proposal
        ballot = self.ballot.vote if self.ballot else None
        return tuple(message for message in (self.change, opening, ballot, self.commit) if message is not None)


@dataclass(slots=True)
class Voice:
    """Signs for one member of one committee. *records* mirrors what is durable."""

    key: SigningKey
    chain: bytes
    epoch: int
    signer: int
    records: dict[bytes, bytes]
    height: int = 0
    said: Said = field(default_factory=Said)
    _outgrown: bool = False
    """Whether something was said since the last tidying that lets records go."""
    _checkpoint: tuple[bytes, Vote] | None = None
    """The CHECKPOINT record that was last read, and what it says."""

    @classmethod
    def remembering(
        cls, persisted: Mapping[bytes, bytes], *, key: SigningKey, chain: bytes, epoch: int, signer: int
    ) -> Voice:
        """A voice that keeps to what *persisted* holds of it; records of other rooms are left alone."""
        sizes = (_KEY.size, _KEY.size + 32)
        own = {k: v for k, v in persisted.items() if k.startswith(_PREFIX) and len(k) in sizes}
        return cls(key=key, chain=chain, epoch=epoch, signer=signer, records=own)

    def open(self, height: int, *, checkpoint: int) -> list[Persist]:
        """Turns to *height*: recalls what was said there, forgets lower heights.

        The checkpoint vote of height *checkpoint* and later ones are kept: they are votes on the past.
        """
        gone = []
        for record in sorted(self.records):
            _, at, kind, _ = _KEY.unpack_from(record)
            if at < (checkpoint if kind == _CHECKPOINT else height):
                gone.append(record)
        self.height, self.said, self._outgrown = height, self._recall(height), True
        return [*self._forget(gone), *self._tidy()]

    # ---- speaking ------------------------------------------------------------------------

    def propose(
        self, block: Block, *, view: int, changes: tuple[ViewChange, ...]
    ) -> tuple[PrePrepare | NewView, list[Persist]]:
        """PRE-PREPARE of view 0, or the NEW-VIEW that opens a later one on the quorum *changes*."""
        self._enter(view)
        if self.said.accepted is not None or self.said.commit is not None:
            raise AssertionError("one proposal per view")
        signature = self._sign(Purpose.PRE_PREPARE, height=self.height, view=view, digest=block_digest(block.header))
        leaves = tuple(signed.leaf for signed in block.transactions)
        proposal = PrePrepare(view=view, header=block.header, leaves=leaves, signature=signature)
        self.said.proposal = proposal
        self._hold(block)
        written = self._write_body(block)
        if view == 0:
            return proposal, [*written, *self._remember(Purpose.PRE_PREPARE, proposal)]
        new_view = NewView(height=self.height, view=view, view_changes=changes, proposal=proposal)
        self.said.new_view = new_view
        return new_view, [*written, *self._remember(Purpose.PRE_PREPARE, new_view)]

    def may_prepare(self, proposal: PrePrepare) -> bool:
        """Whether a PREPARE for *proposal* contradicts nothing that was said."""
        if proposal.view != self.said.view:
            return proposal.view > self.said.view
        accepted = self.said.accepted
        return accepted is None or accepted.header == proposal.header

    def prepare(self, proposal: PrePrepare, block: Block) -> tuple[Vote, list[Persist]]:
        """PREPARE for *proposal*, whose whole *block* is durable first: others may need it from us."""
        if block.header != proposal.header:
            raise AssertionError("a PREPARE is for a block held whole")
        self._enter(proposal.view)
        if not self.may_prepare(proposal) or self.said.proposal is not None:
            raise AssertionError("one PREPARE per view, and none beside one's own PRE-PREPARE")
        if self.said.ballot is not None:
            return self.said.ballot.vote, []
        digest = block_digest(proposal.header)
        vote = self._vote(Purpose.PREPARE, height=self.height, view=proposal.view, digest=digest)
        self.said.ballot = Ballot(vote=vote, proposal=proposal)
        self._hold(block)
        return vote, [*self._write_body(block), *self._remember(Purpose.PREPARE, self.said.ballot)]

    def commit(self, proof: Certificate, block: Block) -> tuple[Vote, list[Persist]]:
        """COMMIT to the block that *proof* shows prepared; proof and block are durable first."""
        accepted = self.said.accepted
        if proof.view != self.said.view or accepted is None or block_digest(accepted.header) != proof.digest:
            raise AssertionError("a COMMIT is for the block prepared in the view")
        if self.said.commit is not None:
            return self.said.commit, []
        if self.said.prepared is None or self.said.prepared.certificate.view < proof.view:
            self._outgrown = self._outgrown or self.said.prepared is not None
            self.said.prepared = CertifiedBlock(block=block, certificate=proof)
        records = [*self._write_body(block), *self._remember(_PREPARED, self.said.prepared.certificate)]
        vote = self._vote(Purpose.COMMIT, height=self.height, view=proof.view, digest=proof.digest)
        self.said.commit = vote
        return vote, [*records, *self._remember(Purpose.COMMIT, vote)]

    def change(self, view: int) -> tuple[ViewChange, list[Persist]]:
        """VIEW-CHANGE to *view*, with proof of the highest block prepared at this height."""
        if view <= self.said.view:
            raise AssertionError("views only rise")
        self._enter(view)
        prepared = self.said.prepared.certificate if self.said.prepared else None
        digest = view_change_digest(prepared=prepared)
        self.said.change = ViewChange(
            epoch=self.epoch,
            height=self.height,
            view=view,
            prepared=prepared,
            signer=self.signer,
            signature=self._sign(Purpose.VIEW_CHANGE, height=self.height, view=view, digest=digest),
        )
        return self.said.change, self._remember(Purpose.VIEW_CHANGE, self.said.change)

    def checkpoint(self, *, height: int, digest: bytes) -> tuple[Vote, list[Persist]]:
        key = _KEY.pack(_PREFIX, height, Purpose.CHECKPOINT, 0)
        vote = self._vote(Purpose.CHECKPOINT, height=height, view=0, digest=digest)
        value = encode(vote)
        if self.records.get(key, value) != value:
            raise AssertionError("two states after one height: this ledger is not deterministic")
        self.records[key] = value
        return vote, [Persist(key, value)]

    def said_checkpoint(self) -> Vote | None:
        """The CHECKPOINT vote that is kept, if any was cast in this epoch."""
        for record, value in self.records.items():
            if _KEY.unpack_from(record)[2] == _CHECKPOINT:
                if self._checkpoint is None or self._checkpoint[0] != value:
                    self._checkpoint = value, decode(Vote, value, max_bytes=_RECORD_BYTES)
                vote = self._checkpoint[1]
                return vote if vote.epoch == self.epoch else None
        return None

    # ---- memory --------------------------------------------------------------------------

    def _enter(self, view: int) -> None:
        if view < self.said.view:
            raise AssertionError(f"spoke in view {self.said.view}, so nothing is ever said again in view {view}")
        if view > self.said.view:
            self.said, self._outgrown = Said(view=view, prepared=self.said.prepared), True

    def _hold(self, block: Block) -> None:
        """*block* is now the one that is stood by."""
        self._outgrown = self._outgrown or self.said.block is not None
        self.said.block = block

    def _recall(self, height: int) -> Said:
        entries = {}
        for record, value in self.records.items():
            _, at, kind, view = _KEY.unpack_from(record)
            if at == height and kind not in (_CHECKPOINT, _BODY):
                entries[(kind, view)] = value
        said = Said(view=max((view for _, view in entries), default=0))
        for (kind, view), value in entries.items():
            if kind == _PREPARED:
                proof = decode(Certificate, value, max_bytes=_RECORD_BYTES)
                said.prepared = CertifiedBlock(block=self._body(height, proof.digest), certificate=proof)
            elif view == said.view:
                self._restore(said, kind, value)
        if said.accepted is not None:
            said.block = self._body(height, block_digest(said.accepted.header))
        return said

    def _body(self, height: int, digest: bytes) -> Block:
        """A block that was written: a record that needs one was written after it."""
        return decode(Block, self.records[_body_key(height, digest)], max_bytes=_RECORD_BYTES)

    def _write_body(self, block: Block) -> list[Persist]:
        """Once, whoever needs it: the proposal, the PREPARE for it, the certificate over it."""
        key = _body_key(self.height, block_digest(block.header))
        if key in self.records:
            return []
        self.records[key] = block.encoded
        return [Persist(key, self.records[key])]

    def _restore(self, said: Said, kind: int, value: bytes) -> None:
        if kind == Purpose.PRE_PREPARE and said.view == 0:
            said.proposal = decode(PrePrepare, value, max_bytes=_RECORD_BYTES)
        elif kind == Purpose.PRE_PREPARE:
            said.new_view = decode(NewView, value, max_bytes=_RECORD_BYTES)
            said.proposal = said.new_view.proposal
        elif kind == Purpose.PREPARE:
            said.ballot = decode(Ballot, value, max_bytes=_RECORD_BYTES)
        elif kind == Purpose.COMMIT:
            said.commit = decode(Vote, value, max_bytes=_RECORD_BYTES)
        elif kind == Purpose.VIEW_CHANGE:
            said.change = decode(ViewChange, value, max_bytes=_RECORD_BYTES)

    def _remember(self, kind: int, value: Wire) -> list[Persist]:
        view = 0 if kind == _PREPARED else self.said.view
        key = _KEY.pack(_PREFIX, self.height, kind, view)
        encoded = self.records[key] = encode(value)
        return [Persist(key, encoded), *self._tidy()] if self._outgrown else [Persist(key, encoded)]

    def _tidy(self) -> list[Persist]:
        """Forgets lower views, then the blocks that nothing names any more."""
        self._outgrown = False
        blocks = (self.said.block, self.said.prepared.block if self.said.prepared else None)
        needed = {_body_key(self.height, block_digest(block.header)) for block in blocks if block is not None}
        words, bodies = [], []
        for record in self.records:
            _, at, kind, view = _KEY.unpack_from(record)
            if at != self.height:
                continue
            if kind == _BODY:
                if record not in needed:
                    bodies.append(record)
            elif self._is_past(kind, view):
                words.append(record)
        return self._forget([*sorted(words), *sorted(bodies)]) if words or bodies else []

    def _is_past(self, kind: int, view: int) -> bool:
        return view < self.said.view and kind not in (_PREPARED, Purpose.CHECKPOINT)

    def _forget(self, gone: list[bytes]) -> list[Persist]:
        for record in gone:
            del self.records[record]
        return [Persist(record, None) for record in gone]

    # ---- signing -------------------------------------------------------------------------

    def _vote(self, purpose: Purpose, *, height: int, view: int, digest: bytes) -> Vote:
        signature = self._sign(purpose, height=height, view=view, digest=digest)
        return Vote(
            purpose=purpose,
            epoch=self.epoch,
            height=height,
            view=view,
            digest=digest,
            signer=self.signer,
            signature=signature,
        )

    def _sign(self, purpose: Purpose, *, height: int, view: int, digest: bytes) -> bytes:
        return self.key.sign(
            statement(
                purpose,
                chain=self.chain,
                signer=self.key.public,
                digest=digest,
                epoch=self.epoch,
                height=height,
                view=view,
            )
        )


def _body_key(height: int, digest: bytes) -> bytes:
    return _KEY.pack(_PREFIX, height, _BODY, 0) + digest
