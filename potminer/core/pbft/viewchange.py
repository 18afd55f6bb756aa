"""View changes (Castro & Liskov 1999 §4.4) for one height in flight. Pure functions.

``choose`` is the one rule that decides what a view begins with: the new primary proposes by
it and every backup recomputes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from potminer.base.quorum import is_weak_quorum
from potminer.core.committee import Committee, certificate_holds
from potminer.core.pbft.application import Head, Timers
from potminer.core.pbft.normal import proposal_fault
from potminer.wire.block import Certificate, block_digest
from potminer.wire.pbft import NewView, ViewChange, view_change_digest
from potminer.wire.seal import Purpose, statement

EASY = 8
"""While the failed views prove nothing, a timer grows by this part of its base."""


def choose(changes: Sequence[ViewChange]) -> Certificate | None:
    """The prepared certificate of the highest view among *changes*; None lets the block be fresh.

    Two certificates of one view for different blocks need more than a third of the power to be
    faulty; the digest only makes the function total.
    """
    proofs = [change.prepared for change in changes if change.prepared is not None]
    return max(proofs, key=lambda proof: (proof.view, proof.digest), default=None)


def quorums(changes: Sequence[ViewChange], committee: Committee) -> Iterator[tuple[ViewChange, ...]]:
    """Quorums among *changes* that may justify a view, each without the previous one's highest certificate.

    Every quorum is sound: a committed block is in the certificates of all of them. So a primary
    that cannot get the body of a block that only a liar claims to hold goes on without the liar.
    """
    remaining = tuple(sorted(changes, key=lambda change: change.signer))
    while committee.is_quorum(change.signer for change in remaining):
        yield remaining
        top = choose(remaining)
        if top is None:
            return
        remaining = tuple(c for c in remaining if c.prepared is None or c.prepared.view < top.view)


def change_fault(change: ViewChange, *, committee: Committee, chain: bytes, height: int) -> str | None:
    """Why *change* does not count at *height*, or None. What it claims to have prepared is verified."""
    proof = change.prepared
    if change.height != height or change.epoch != committee.epoch or change.signer >= len(committee.members):
        return "another height, epoch or committee"
    if change.view < 1:
        return "view 0 needs no view change"
    if proof is not None and (proof.purpose != Purpose.PREPARE or proof.height != height or proof.view >= change.view):
        return "the certificate proves something else"
    signed = statement(
        Purpose.VIEW_CHANGE,
        chain=chain,
        signer=committee.members[change.signer],
        digest=view_change_digest(prepared=proof),
        epoch=change.epoch,
        height=height,
        view=change.view,
    )
    if not committee.signed_by(change.signer, signed, change.signature):
        return "not signed by its signer"
    if proof is not None and not certificate_holds(proof, committee, chain=chain):
        return "the prepared certificate does not hold"
    return None


def new_view_fault(
    new_view: NewView, *, committee: Committee, chain: bytes, head: Head, known: Mapping[int, ViewChange]
) -> str | None:
    """Why *new_view* may not begin its view on *head*, or None. *known* changes are already verified."""
    height, view = head.height + 1, new_view.view
    changes, proposal = new_view.view_changes, new_view.proposal
    signers = [change.signer for change in changes]
    if new_view.height != height or view < 1 or proposal.view != view:
        return "another height or view"
    if signers != sorted(set(signers)) or any(signer >= len(committee.members) for signer in signers):
        return "the view changes are not of distinct members in order"
    if any(change.view != view for change in changes) or not committee.is_quorum(signers):
        return "no quorum asked for this view"
    chosen = choose(changes)
    if chosen is not None and block_digest(proposal.header) != chosen.digest:
        return "not the block that the view changes choose"
    for change in changes:
        if change == known.get(change.signer):
            continue
        fault = change_fault(change, committee=committee, chain=chain, height=height)
        if fault is not None:
            return fault
    return proposal_fault(proposal, committee=committee, chain=chain, head=head, fresh=chosen is None)


def jump_target(changes: Mapping[int, ViewChange], *, view: int, committee: Committee) -> int | None:
    """The smallest view above *view* that somebody asks for, once a weak quorum asks for higher ones."""
    if not changes:
        return None
    higher = {signer: change.view for signer, change in changes.items() if change.view > view}
    return min(higher.values()) if committee.is_weak_quorum(higher) else None


def timeout_ms(timers: Timers, view: int, *, committee: Committee, height: int) -> int:
    """How long *view* of *height* may take, never above the cap.

    While all primaries before it could be faulty, their silence says nothing of the network, and the wait grows by an
    eighth of the base. From there on one of them was honest and had too little time: the wait grows by a factor.
    """
    numerator, denominator = timers.view_growth
    wait, failed, power = timers.view_base_ms, set[int](), 0
    for before in range(view):
        if not is_weak_quorum(power, committee.total):
            seat = committee.primary(height=height, view=before)
            power += 0 if seat in failed else committee.powers[seat]
            failed.add(seat)
        if is_weak_quorum(power, committee.total):
            wait = max(wait + 1, wait * numerator // denominator)
        else:
            wait += max(1, timers.view_base_ms // EASY)
        if wait >= timers.view_cap_ms:
            return timers.view_cap_ms
    return wait
