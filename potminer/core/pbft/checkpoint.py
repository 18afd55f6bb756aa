"""Checkpoints (Castro & Liskov 1999 §4.3): a quorum's word on the state after every k-th block.

With one height in flight the log needs no checkpoint to be cut; a stable one tells the node
which snapshot it may serve and what it may prune, and shows a diverged ledger early.
"""

from __future__ import annotations

from potminer.base.digest import Domain, digest, number
from potminer.core.committee import Committee
from potminer.core.pbft.application import Head
from potminer.wire.block import Certificate
from potminer.wire.pbft import Vote
from potminer.wire.seal import Purpose


def checkpoint_digest(head: Head) -> bytes:
    """What a CHECKPOINT vote signs: the block and the state root after it."""
    return digest(Domain.CHECKPOINT, number(head.height), head.digest, head.state_root)


class Checkpoints:
    """Each member's newest CHECKPOINT vote, and the newest stable height."""

    __slots__ = ("_newest", "stable")

    def __init__(self) -> None:
        self._newest: dict[int, Vote] = {}
        self.stable = 0

    def wants(self, vote: Vote) -> bool:
        held = self._newest.get(vote.signer)
        return vote.height > self.stable and (held is None or held.height < vote.height)

    def add(self, vote: Vote, committee: Committee) -> Certificate | None:
        """Takes a verified vote; the certificate where it makes a checkpoint stable."""
        self._newest[vote.signer] = vote
        same = {
            signer: held.signature
            for signer, held in self._newest.items()
            if (held.epoch, held.height, held.digest) == (vote.epoch, vote.height, vote.digest)
        }
        if not committee.is_quorum(same):
            return None
        self.stable = vote.height
        return Certificate(
            purpose=Purpose.CHECKPOINT,
            epoch=vote.epoch,
            height=vote.height,
            view=0,
            digest=vote.digest,
            signatures=tuple(sorted(same.items())),
        )

    def size(self) -> int:
        return len(self._newest)
