"""Checkpoints (Castro & Liskov 1999 §4.3): a quorum's word on the state after every k-th block.

With one height in flight the log needs no checkpoint to be cut; a stable one tells the node
which snapshot it may serve and what it may prune, and shows a diverged ledger early.
"""

from __future__ import annotations

from potminer.base.digest import Domain, digest, number
from potminer.core.committee import Committee
from potminer.core.machine import Offence, Penalize
from potminer.core.pbft.application import Head
from potminer.core.pbft.events import CheckpointStable, DoubleVote
from potminer.core.pbft.normal import vote_is_formed, vote_is_signed
from potminer.wire.block import Certificate
from potminer.wire.pbft import Vote
from potminer.wire.seal import Purpose


def checkpoint_digest(head: Head) -> bytes:
    """What a CHECKPOINT vote signs: the block and the state root after it."""
    return digest(Domain.CHECKPOINT, number(head.height), head.digest, head.state_root)


class Checkpoints:
    """Each member's newest CHECKPOINT vote, and the newest stable height."""

    __slots__ = ("_accused", "_newest", "stable")

    def __init__(self) -> None:
        self._newest: dict[int, Vote] = {}
        self._accused: dict[int, int] = {}
        """By signer, the height at which it was last reported."""
        self.stable = 0

    def hear(
        self, peer: bytes, vote: Vote, committee: Committee, *, chain: bytes
    ) -> list[CheckpointStable | DoubleVote | Penalize]:
        """Judges and takes a vote from outside. Another state than the one the same member signed for this height is a
        double vote, also after the checkpoint is stable; the first one goes on counting."""
        if vote.epoch != committee.epoch:
            return []  # an old epoch's last checkpoint, said again by a peer that crossed over later
        if not vote_is_formed(vote, committee):
            return [Penalize(peer, Offence.MALFORMED, "a vote that nobody may cast")]
        held = self._newest.get(vote.signer)
        double = self._contradicts(held, vote)
        if not double and (vote.height <= self.stable or (held is not None and held.height >= vote.height)):
            return []
        if not vote_is_signed(vote, committee, chain=chain):
            return [Penalize(peer, Offence.FORGED, "a vote that its signer did not sign")]
        if held is None or not double:
            return [*self.add(vote, committee)]
        self._accused[vote.signer] = vote.height
        pair = (held.digest, held.signature), (vote.digest, vote.signature)
        return [DoubleVote(committee.members[vote.signer], Purpose.CHECKPOINT, vote.epoch, vote.height, 0, *pair)]

    def _contradicts(self, held: Vote | None, vote: Vote) -> bool:
        """Whether *vote*, if it is signed, proves something new about its signer."""
        if held is None or (held.epoch, held.height, held.view) != (vote.epoch, vote.height, vote.view):
            return False
        return held.digest != vote.digest and self._accused.get(vote.signer) != vote.height

    def add(self, vote: Vote, committee: Committee) -> list[CheckpointStable]:
        """Takes a sound vote; says so where it makes its checkpoint stable."""
        self._newest[vote.signer] = vote
        same = {
            signer: held.signature
            for signer, held in self._newest.items()
            if (held.epoch, held.height, held.digest) == (vote.epoch, vote.height, vote.digest)
        }
        if vote.height <= self.stable or not committee.is_quorum(same):
            return []
        self.stable = vote.height
        proof = Certificate(
            purpose=Purpose.CHECKPOINT,
            epoch=vote.epoch,
            height=vote.height,
            view=0,
            digest=vote.digest,
            signatures=tuple(sorted(same.items())),
        )
        return [CheckpointStable(vote.height, proof)]

    def size(self) -> int:
        return len(self._newest) + len(self._accused)
