"""Who broke agreement: forks and culprits, from what honest replicas heard.

A culprit is proven by one or two statements that it signed, and that no honest replica signs:
two values for one (height, view, purpose); a VIEW-CHANGE that contradicts what its own COMMIT
says it had prepared; a claim to have prepared what nothing proves. A statement that the member
it names did not sign is no evidence, whoever sent it.

Why that is enough where more than a third of the power broke agreement (after Sheng et al., "BFT
Protocol Forensics", 2021). Two blocks of one height have two quorums of COMMITs. In one view, the
quorums share more than a third, which signed both. In two views, take the lowest view above the
first block's for which an honest replica prepared another block: the quorum of its NEW-VIEW
shares more than a third with the first block's COMMITs. Each of those hid its certificate, or
shows one of that same view; if one for another block is among them, the two certificates'
PREPAREs share more than a third. So the NEW-VIEWs are needed: two certificates alone convict
nobody where their views differ. Where the faulty are a quorum by themselves, they need no
NEW-VIEW and may leave no contradiction.

Nothing here asks whose turn it was: which turns are skipped follows from the blocks below a height, and
above a fork that question has two answers. Whoever signed a PRE-PREPARE said that it was its turn, and
where it was not, nobody honest prepared its block. Only who sat in an epoch has to be known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain as joined

from potminer.core.committee import Committee, certificate_holds
from potminer.wire.block import Certificate, CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, statement

Seats = Callable[[int], Committee | None]
"""Who sat in an epoch; None where that is unknown, or has two answers."""

_VOTED = (Purpose.PREPARE, Purpose.COMMIT, Purpose.CHECKPOINT)


class Fault(StrEnum):
    DOUBLE = "double"
    """Signed two values for one height, view and purpose."""
    HIDDEN = "hidden"
    """Committed to a block, then asked for a later view as if it had not prepared it."""
    UNPROVEN = "unproven"
    """Asked for a view with a certificate that does not hold."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What member *signer* said at *height*, with its signature. *prepared* belongs to a VIEW-CHANGE."""

    purpose: Purpose
    epoch: int
    height: int
    view: int
    digest: bytes
    signer: int
    signature: bytes
    prepared: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Culprit:
    """*first* and *second* are its own words; one is enough where the fault is UNPROVEN."""

    signer: int
    member: bytes
    fault: Fault
    first: Signed
    second: Signed | None = None


@dataclass(frozen=True, slots=True)
class Fork:
    """Two blocks that are both final at *height*, by (view, digest)."""

    height: int
    first: tuple[int, bytes]
    second: tuple[int, bytes]


def blame(evidence: Iterable[Wire], *, seats: Seats, chain: bytes) -> tuple[Culprit, ...]:
    """One proof per culprit, by seat. *evidence* is any of what replicas say, certificates and certified blocks."""
    found: dict[bytes, Culprit] = {}
    said = _Said()
    for signed, committee in _spoken(evidence, seats=seats, chain=chain):
        member = committee.members[signed.signer]
        if member not in found:
            culprit = _convict(signed, said.against(signed), committee=committee, chain=chain)
            if culprit is not None:
                found[member] = culprit
        said.add(signed)
    return tuple(sorted(found.values(), key=lambda culprit: (culprit.signer, culprit.member)))


def proves(culprit: Culprit, *, seats: Seats, chain: bytes) -> bool:
    """Whether *culprit* is proven by what it carries, for somebody who saw nothing else."""
    words = [culprit.first] if culprit.second is None else [culprit.first, culprit.second]
    committee = seats(culprit.first.epoch)
    if committee is None:
        return False
    if any(signed.signer != culprit.signer or not _is_signed(signed, committee, chain=chain) for signed in words):
        return False
    if committee.members[culprit.signer] != culprit.member:
        return False
    again = _convict(words[-1], words[:-1], committee=committee, chain=chain)
    return again is not None and again.fault is culprit.fault


def forks(evidence: Iterable[Wire], *, seats: Seats, chain: bytes) -> tuple[Fork, ...]:
    """Heights at which two blocks are final, from COMMITs wherever they were found; one fork per height."""
    voters: dict[tuple[int, int, int, bytes], set[int]] = {}
    committees: dict[int, Committee] = {}
    for signed, committee in _spoken(evidence, seats=seats, chain=chain):
        if signed.purpose is Purpose.COMMIT:
            committees[signed.epoch] = committee
            voters.setdefault((signed.height, signed.epoch, signed.view, signed.digest), set()).add(signed.signer)
    final: dict[int, tuple[int, bytes]] = {}
    found: dict[int, Fork] = {}
    for (height, epoch, view, digest), signers in sorted(voters.items()):
        if committees[epoch].is_quorum(signers):
            first = final.setdefault(height, (view, digest))
            if first[1] != digest:
                found.setdefault(height, Fork(height, first, (view, digest)))
    return tuple(found.values())


# ---- judgement ---------------------------------------------------------------------------


def _convict(signed: Signed, before: Iterable[Signed], *, committee: Committee, chain: bytes) -> Culprit | None:
    """Judges *signed* by itself and beside what the same member said *before* at that height."""
    member = committee.members[signed.signer]
    if signed.purpose is Purpose.VIEW_CHANGE and not _is_proven(signed, committee, chain=chain):
        return Culprit(signed.signer, member, Fault.UNPROVEN, signed)
    for earlier in before:
        fault = _contradiction(earlier, signed)
        if fault is not None:
            return Culprit(signed.signer, member, fault, earlier, signed)
    return None


def _contradiction(one: Signed, other: Signed) -> Fault | None:
    """What no honest replica does that said both, in whichever order."""
    if (one.epoch, one.height) != (other.epoch, other.height):
        return None
    if (one.purpose, one.view) == (other.purpose, other.view):
        return Fault.DOUBLE if one.digest != other.digest else None
    if {one.purpose, other.purpose} != {Purpose.COMMIT, Purpose.VIEW_CHANGE}:
        return None
    commit, change = (one, other) if one.purpose is Purpose.COMMIT else (other, one)
    return Fault.HIDDEN if change.view > commit.view and not _remembers(change.prepared, commit) else None


def _remembers(prepared: Certificate | None, commit: Signed) -> bool:
    """Whether a later VIEW-CHANGE with *prepared* knows of *commit*, or of something prepared after it."""
    if prepared is None or prepared.view < commit.view:
        return False
    return prepared.view > commit.view or prepared.digest == commit.digest


def _is_proven(change: Signed, committee: Committee, *, chain: bytes) -> bool:
    proof = change.prepared
    if proof is None:
        return True
    if proof.purpose != Purpose.PREPARE or proof.height != change.height or proof.view >= change.view:
        return False
    place = (Purpose.PRE_PREPARE, proof.epoch, proof.height, proof.view, proof.digest)
    signed = [Signed(*place, index, signature) for index, signature in proof.signatures]
    leaders = [each.signer for each in signed if _is_signed(each, committee, chain=chain)]
    return len(leaders) == 1 and certificate_holds(proof, committee, chain=chain, primary=leaders[0])


class _Said:
    """What each member said at each height, for the pairs that may contradict each other."""

    def __init__(self) -> None:
        self._votes: dict[tuple[int, int, int, Purpose, int], Signed] = {}
        self._locks: dict[tuple[int, int, int, Purpose], list[Signed]] = {}

    def add(self, signed: Signed) -> None:
        place = (signed.signer, signed.epoch, signed.height, signed.purpose)
        if self._votes.setdefault((*place, signed.view), signed) is signed:
            self._locks.setdefault(place, []).append(signed)

    def against(self, signed: Signed) -> Iterator[Signed]:
        place = (signed.signer, signed.epoch, signed.height)
        same = self._votes.get((*place, signed.purpose, signed.view))
        if same is not None:
            yield same
        other = {Purpose.COMMIT: Purpose.VIEW_CHANGE, Purpose.VIEW_CHANGE: Purpose.COMMIT}.get(signed.purpose)
        if other is not None:
            yield from self._locks.get((*place, other), ())


# ---- what was signed ---------------------------------------------------------------------


def _spoken(evidence: Iterable[Wire], *, seats: Seats, chain: bytes) -> Iterator[tuple[Signed, Committee]]:
    """Every statement in *evidence* that the member it names did sign, each once, with its committee."""
    seen: set[tuple[Purpose, int, int, int, bytes, int]] = set()
    for signed, committee in joined.from_iterable(_statements(message, seats) for message in evidence):
        name = (signed.purpose, signed.epoch, signed.height, signed.view, signed.digest, signed.signer)
        if name not in seen and _is_signed(signed, committee, chain=chain):
            seen.add(name)
            yield signed, committee


def _is_signed(signed: Signed, committee: Committee, *, chain: bytes) -> bool:
    if signed.epoch != committee.epoch or not 0 <= signed.signer < len(committee.members):
        return False
    words = statement(
        signed.purpose,
        chain=chain,
        signer=committee.members[signed.signer],
        digest=signed.digest,
        epoch=signed.epoch,
        height=signed.height,
        view=signed.view,
    )
    bound = signed.purpose is not Purpose.VIEW_CHANGE or signed.digest == view_change_digest(prepared=signed.prepared)
    return bound and committee.signed_by(signed.signer, words, signed.signature)


def _statements(message: Wire, seats: Seats) -> Iterator[tuple[Signed, Committee]]:
    """Whatever *message* says that somebody signed, its parts included; nothing of another epoch."""
    match message:
        case Vote() if message.purpose in _VOTED:
            committee = seats(message.epoch)
            if committee is not None:
                at = (Purpose(message.purpose), message.epoch, message.height, message.view)
                yield Signed(*at, message.digest, message.signer, message.signature), committee
        case PrePrepare():
            yield from _proposal(message, seats)
        case ViewChange():
            committee = seats(message.epoch)
            if committee is not None:
                value = view_change_digest(prepared=message.prepared)
                at = (Purpose.VIEW_CHANGE, message.epoch, message.height, message.view)
                yield Signed(*at, value, message.signer, message.signature, message.prepared), committee
            if message.prepared is not None:
                yield from _statements(message.prepared, seats)
        case NewView():
            yield from joined.from_iterable(_statements(change, seats) for change in message.view_changes)
            yield from _statements(message.proposal, seats)
        case Certificate():
            yield from _signatures(message, seats)
        case CertifiedBlock():
            yield from _statements(message.certificate, seats)
        case _:
            return


def _proposal(proposal: PrePrepare, seats: Seats) -> Iterator[tuple[Signed, Committee]]:
    """By whoever signed it: a proposal does not name its sender, which need not be the block's proposer."""
    header = proposal.header
    committee = seats(header.epoch)
    if committee is not None:
        place = (Purpose.PRE_PREPARE, header.epoch, header.height, proposal.view, block_digest(header))
        for seat in range(len(committee.members)):
            yield Signed(*place, seat, proposal.signature), committee


def _signatures(proof: Certificate, seats: Seats) -> Iterator[tuple[Signed, Committee]]:
    """The statements that make a certificate, each for itself: it need not hold as a whole. In a prepared one
    a signature may be a PRE-PREPARE; which of the two it is, the signature itself says."""
    committee = seats(proof.epoch)
    if committee is None or proof.purpose not in _VOTED:
        return
    purposes = [Purpose(proof.purpose)] + [Purpose.PRE_PREPARE] * (proof.purpose == Purpose.PREPARE)
    for index, signature in proof.signatures:
        for purpose in purposes:
            yield Signed(purpose, proof.epoch, proof.height, proof.view, proof.digest, index, signature), committee
