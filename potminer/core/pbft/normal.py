"""The normal case (Castro & Liskov 1999 §4.2): when a proposal or a vote is sound. Pure functions.

Cheap checks come first and the signature last; nothing is stored before all have passed.
"""

from __future__ import annotations

from potminer.core.committee import Committee
from potminer.core.pbft.application import Head
from potminer.wire.block import Block, block_digest, leaves_root
from potminer.wire.pbft import PrePrepare, Vote
from potminer.wire.seal import Purpose, statement


def is_whole(block: Block) -> bool:
    """Whether the body is the one that the header names."""
    return block.root == block.header.transactions_root


def proposal_fault(proposal: PrePrepare, *, committee: Committee, chain: bytes, head: Head, fresh: bool) -> str | None:
    """Why *proposal* is not its primary's for the height after *head*, or None.

    A *fresh* block names its own primary as proposer; a re-proposed one keeps its first proposer.
    """
    header = proposal.header
    leader = committee.primary(height=header.height, view=proposal.view)
    primary = committee.members[leader]
    if header.height != head.height + 1 or header.parent != head.digest:
        return "not a block for this height on this parent"
    if header.epoch != committee.epoch:
        return "another epoch"
    if fresh and header.proposer != primary:
        return "a fresh block names its own primary as proposer"
    if header.proposer not in committee.members:
        return "the proposer is no member"
    if leaves_root(proposal.leaves) != header.transactions_root:
        return "the transactions are not those of the header"
    signed = statement(
        Purpose.PRE_PREPARE,
        chain=chain,
        signer=primary,
        digest=block_digest(header),
        epoch=committee.epoch,
        height=header.height,
        view=proposal.view,
    )
    return None if committee.signed_by(leader, signed, proposal.signature) else "not signed by the primary"


def vote_is_formed(vote: Vote, committee: Committee) -> bool:
    """Whether a vote can count at all. The primary has no PREPARE: its PRE-PREPARE is that."""
    if vote.epoch != committee.epoch or vote.signer >= len(committee.members):
        return False
    if vote.purpose == Purpose.CHECKPOINT:
        return vote.view == 0
    primary = committee.primary(height=vote.height, view=vote.view)
    return vote.purpose == Purpose.COMMIT or (vote.purpose == Purpose.PREPARE and vote.signer != primary)


def vote_is_signed(vote: Vote, committee: Committee, *, chain: bytes) -> bool:
    """Whether the member that *vote* names as signer signed it."""
    signed = statement(
        vote.purpose,
        chain=chain,
        signer=committee.members[vote.signer],
        digest=vote.digest,
        epoch=vote.epoch,
        height=vote.height,
        view=vote.view,
    )
    return committee.signed_by(vote.signer, signed, vote.signature)
