"""The votes of one height (Castro & Liskov 1999 §4.2), bounded per signer.

Everything is kept under its signer, so a replica that floods only pushes out its own votes.
A signer's first vote of a purpose and view stands; the log holds only what has been verified.
"""

from __future__ import annotations

from potminer.core.committee import Committee
from potminer.wire.block import Block, Certificate, block_digest
from potminer.wire.pbft import PrePrepare, ViewChange, Vote
from potminer.wire.seal import Purpose

_COMMIT = Purpose.COMMIT
VIEWS_KEPT = 4
"""Votes kept per signer and purpose. An honest replica's votes of older views are of no more use to anybody."""
BODIES_KEPT = 4
"""Blocks kept at a height: the current proposal, the prepared block, and two that a view change may name."""


class Log:
    """What the committee said at *height*."""

    __slots__ = ("_bodies", "_final", "_signed", "_unread", "_votes", "changes", "committee", "height")

    def __init__(self, *, height: int, committee: Committee) -> None:
        self.height = height
        self.committee = committee
        self.changes: dict[int, ViewChange] = {}
        self._votes: dict[tuple[int, int], dict[int, Vote]] = {}
        self._signed: dict[tuple[int, int, bytes], dict[int, bytes]] = {}
        """The same votes by (purpose, view, digest): each signer's signature."""
        self._bodies: dict[bytes, Block] = {}
        self._final: Certificate | None = None
        self._unread = False
        """Whether a COMMIT came since the log was last asked for a certificate."""

    # ---- votes ---------------------------------------------------------------------------

    def vote(self, *, purpose: int, signer: int, view: int) -> Vote | None:
        held = self._votes.get((purpose, signer))
        return None if held is None else held.get(view)

    def wants(self, vote: Vote) -> bool:
        """Whether a vote of this view would be kept: asked before a signature is verified."""
        held = self._votes.get((vote.purpose, vote.signer), ())
        return len(held) < VIEWS_KEPT or vote.view > min(held)

    def add(self, vote: Vote) -> None:
        held = self._votes.setdefault((vote.purpose, vote.signer), {})
        if vote.view in held:
            return
        held[vote.view] = vote
        self._signed.setdefault((vote.purpose, vote.view, vote.digest), {})[vote.signer] = vote.signature
        self._unread = self._unread or vote.purpose == _COMMIT
        if len(held) > VIEWS_KEPT:
            self._drop(held.pop(min(held)))

    def _drop(self, vote: Vote) -> None:
        same = self._signed[vote.purpose, vote.view, vote.digest]
        del same[vote.signer]
        if not same:
            del self._signed[vote.purpose, vote.view, vote.digest]

    def prepared(self, proposal: PrePrepare) -> Certificate | None:
        """Proof that a quorum prepared *proposal*; the primary's PRE-PREPARE is its PREPARE."""
        digest = block_digest(proposal.header)
        primary = self.committee.primary(height=self.height, view=proposal.view)
        signatures = self._signatures(Purpose.PREPARE, proposal.view, digest)
        signatures[primary] = proposal.signature
        return self._certificate(Purpose.PREPARE, proposal.view, digest, signatures)

    @property
    def certifies(self) -> bool:
        """Whether ``committed`` has something to say that it did not say before, or said already."""
        return self._unread or self._final is not None

    def committed(self) -> Certificate | None:
        """Proof that a quorum committed to a block, in whichever view it did."""
        if self._unread:
            self._final, self._unread = self._certified(), False
        return self._final

    def _certified(self) -> Certificate | None:
        """Of the lowest view, should there be several."""
        enough = [
            (view, digest)
            for (purpose, view, digest), signatures in self._signed.items()
            if purpose == _COMMIT and self.committee.is_quorum(signatures)
        ]
        if not enough:
            return None
        view, digest = min(enough)
        return self._certificate(Purpose.COMMIT, view, digest, self._signatures(Purpose.COMMIT, view, digest))

    def _signatures(self, purpose: Purpose, view: int, digest: bytes) -> dict[int, bytes]:
        return dict(self._signed.get((purpose, view, digest), ()))

    def _certificate(
        self, purpose: Purpose, view: int, digest: bytes, signatures: dict[int, bytes]
    ) -> Certificate | None:
        if not self.committee.is_quorum(signatures):
            return None
        return Certificate(
            purpose=purpose,
            epoch=self.committee.epoch,
            height=self.height,
            view=view,
            digest=digest,
            signatures=tuple(sorted(signatures.items())),
        )

    def preparers(self, digest: bytes) -> list[int]:
        """Who said, in whichever view, that it holds the block *digest* whole."""
        said = [(s, held) for (purpose, s), held in self._votes.items() if purpose == Purpose.PREPARE]
        return sorted(signer for signer, held in said if any(vote.digest == digest for vote in held.values()))

    # ---- view changes --------------------------------------------------------------------

    def add_change(self, change: ViewChange) -> None:
        """Keeps each signer's highest VIEW-CHANGE only: a huge view costs one slot, its sender's own."""
        held = self.changes.get(change.signer)
        if held is None or held.view < change.view:
            self.changes[change.signer] = change

    def changes_for(self, view: int) -> tuple[ViewChange, ...]:
        return tuple(self.changes[signer] for signer in sorted(self.changes) if self.changes[signer].view == view)

    # ---- bodies --------------------------------------------------------------------------

    def body(self, digest: bytes) -> Block | None:
        return self._bodies.get(digest)

    def keep(self, block: Block, *, never_drop: set[bytes]) -> None:
        """Keeps a whole block (roots checked by the caller); the oldest not in *never_drop* gives way."""
        self._bodies[block_digest(block.header)] = block
        spare = [digest for digest in self._bodies if digest not in never_drop]
        while len(self._bodies) > BODIES_KEPT and spare:
            del self._bodies[spare.pop(0)]

    def size(self) -> int:
        """How many items are held, for the bound that the simulator checks."""
        return sum(map(len, self._votes.values())) + len(self.changes) + len(self._bodies)
