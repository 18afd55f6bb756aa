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
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain as joined

from potminer.core.committee import Committee, certificate_holds
from potminer.wire.block import Certificate, CertifiedBlock, block_digest
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, PrePrepare, ViewChange, Vote, view_change_digest
from potminer.wire.seal import Purpose, statement

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


def blame(evidence: Iterable[Wire], *, committee: Committee, chain: bytes) -> tuple[Culprit, ...]:
    """One proof per culprit, by seat. *evidence* is any of what replicas say, certificates and certified blocks."""
    found: dict[int, Culprit] = {}
    said = _Said()
    for signed in _spoken(evidence, committee=committee, chain=chain):
        if signed.signer not in found:
            culprit = _convict(signed, said.against(signed), committee=committee, chain=chain)
            if culprit is not None:
                found[signed.signer] = culprit
        said.add(signed)
    return tuple(found[signer] for signer in sorted(found))


def proves(culprit: Culprit, *, committee: Committee, chain: bytes) -> bool:
    """Whether *culprit* is proven by what it carries, for somebody who saw nothing else."""
    words = [culprit.first] if culprit.second is None else [culprit.first, culprit.second]
    if any(signed.signer != culprit.signer or not _is_signed(signed, committee, chain=chain) for signed in words):
        return False
    if committee.members[culprit.signer] != culprit.member:
        return False
    again = _convict(words[-1], words[:-1], committee=committee, chain=chain)
    return again is not None and again.fault is culprit.fault


def forks(evidence: Iterable[Wire], *, committee: Committee, chain: bytes) -> tuple[Fork, ...]:
    """Heights at which two blocks are final, from COMMITs wherever they were found; one fork per height."""
    voters: dict[tuple[int, int, bytes], set[int]] = {}
    for signed in _spoken(evidence, committee=committee, chain=chain):
        if signed.purpose is Purpose.COMMIT:
            voters.setdefault((signed.height, signed.view, signed.digest), set()).add(signed.signer)
    final: dict[int, tuple[int, bytes]] = {}
    found: dict[int, Fork] = {}
    for (height, view, digest), signers in sorted(voters.items()):
        if committee.is_quorum(signers):
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
    if one.height != other.height:
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
    fits = proof.purpose == Purpose.PREPARE and proof.height == change.height and proof.view < change.view
    return fits and certificate_holds(proof, committee, chain=chain)


class _Said:
    """What each member said at each height, for the pairs that may contradict each other."""

    def __init__(self) -> None:
        self._votes: dict[tuple[int, int, Purpose, int], Signed] = {}
        self._locks: dict[tuple[int, int, Purpose], list[Signed]] = {}

    def add(self, signed: Signed) -> None:
        if self._votes.setdefault((signed.signer, signed.height, signed.purpose, signed.view), signed) is signed:
            self._locks.setdefault((signed.signer, signed.height, signed.purpose), []).append(signed)

    def against(self, signed: Signed) -> Iterator[Signed]:
        same = self._votes.get((signed.signer, signed.height, signed.purpose, signed.view))
        if same is not None:
            yield same
        other = {Purpose.COMMIT: Purpose.VIEW_CHANGE, Purpose.VIEW_CHANGE: Purpose.COMMIT}.get(signed.purpose)
        if other is not None:
            yield from self._locks.get((signed.signer, signed.height, other), ())


# ---- what was signed ---------------------------------------------------------------------


def _spoken(evidence: Iterable[Wire], *, committee: Committee, chain: bytes) -> Iterator[Signed]:
    """Every statement in *evidence* that the member it names did sign, each once."""
    seen: set[tuple[Purpose, int, int, bytes, int]] = set()
    for signed in joined.from_iterable(_statements(message, committee) for message in evidence):
        name = (signed.purpose, signed.height, signed.view, signed.digest, signed.signer)
        if name not in seen and _is_signed(signed, committee, chain=chain):
            seen.add(name)
            yield signed


def _is_signed(signed: Signed, committee: Committee, *, chain: bytes) -> bool:
    if not 0 <= signed.signer < len(committee.members):
        return False
    words = statement(
        signed.purpose,
        chain=chain,
        signer=committee.members[signed.signer],
        digest=signed.digest,
        epoch=committee.epoch,
        height=signed.height,
        view=signed.view,
    )
    bound = signed.purpose is not Purpose.VIEW_CHANGE or signed.digest == view_change_digest(prepared=signed.prepared)
    return bound and committee.signed_by(signed.signer, words, signed.signature)


def _statements(message: Wire, committee: Committee) -> Iterator[Signed]:
    """Whatever *message* says that somebody signed, its parts included; nothing of another epoch."""
    match message:
        case Vote() if message.epoch == committee.epoch and message.purpose in _VOTED:
            purpose = Purpose(message.purpose)
            yield Signed(purpose, message.height, message.view, message.digest, message.signer, message.signature)
        case PrePrepare():
            yield from _proposal(message, committee)
        case ViewChange() if message.epoch == committee.epoch:
            value = view_change_digest(prepared=message.prepared)
            at = (Purpose.VIEW_CHANGE, message.height, message.view)
            yield Signed(*at, value, message.signer, message.signature, message.prepared)
            if message.prepared is not None:
                yield from _statements(message.prepared, committee)
        case NewView():
            yield from joined.from_iterable(_statements(change, committee) for change in message.view_changes)
            yield from _statements(message.proposal, committee)
        case Certificate() if message.epoch == committee.epoch:
            yield from _signatures(message, committee)
        case CertifiedBlock():
            yield from _statements(message.certificate, committee)
        case _:
            return


def _proposal(proposal: PrePrepare, committee: Committee) -> Iterator[Signed]:
    header = proposal.header
    if header.epoch == committee.epoch:
        primary = committee.primary(height=header.height, view=proposal.view)
        digest = block_digest(header)
        yield Signed(Purpose.PRE_PREPARE, header.height, proposal.view, digest, primary, proposal.signature)


def _signatures(proof: Certificate, committee: Committee) -> Iterator[Signed]:
    """The statements that make a certificate, each for itself: it need not hold as a whole."""
    if proof.purpose not in _VOTED:
        return
    primary = committee.primary(height=proof.height, view=proof.view)
    for index, signature in proof.signatures:
        prepared = proof.purpose == Purpose.PREPARE and index == primary
        purpose = Purpose.PRE_PREPARE if prepared else Purpose(proof.purpose)
        yield Signed(purpose, proof.height, proof.view, proof.digest, index, signature)
