"""What makes a header believed: its place and the certificate of its epoch's committee."""

from __future__ import annotations

from dataclasses import replace

from potminer.core.committee import Committee, certificate_holds
from potminer.core.light.flaw import Flaw
from potminer.core.light.trust import Terms, Trust
from potminer.wire.block import Certificate, Header, block_digest
from potminer.wire.proof import CertifiedHeader
from potminer.wire.seal import Purpose


def flaw_in(certified: CertifiedHeader, trust: Trust, terms: Terms, *, now_ms: int) -> Flaw | None:
    """Why *certified* is not a final block of the chain, or None. Its place beside *trust* is not judged.

    Two final blocks of one height need more than a third of a committee to sign both.
    """
    header = certified.header
    if header.height < 1 or header.epoch != trust.epoch_of(header.height):
        return Flaw.WRONG_EPOCH
    committee = trust.committee(header.epoch)
    if committee is None:
        return Flaw.UNKNOWN_EPOCH
    if header.time_ms > now_ms + terms.drift_ms:
        return Flaw.FUTURE
    if terms.trusting_ms is not None and now_ms - header.time_ms > terms.trusting_ms:
        return Flaw.EXPIRED
    return _certificate_flaw(header, certified.certificate, committee, chain=trust.chain)


def follow(trust: Trust, certified: CertifiedHeader, terms: Terms, *, now_ms: int) -> Trust | Flaw:
    """*trust* moved on to *certified*. Headers between need not be seen: a certificate is the committee's
    word for everything before it."""
    header = certified.header
    if header.height < trust.height:
        return Flaw.STALE
    if _lapsed(trust, terms, now_ms):
        return Flaw.EXPIRED
    flaw = flaw_in(certified, trust, terms, now_ms=now_ms)
    if flaw is not None:
        return flaw
    digest = block_digest(header)
    if header.height == trust.height:
        return trust if digest == trust.digest else Flaw.CONFLICT
    if header.time_ms <= trust.time_ms or (header.height == trust.height + 1 and header.parent != trust.digest):
        return Flaw.BROKEN
    return replace(trust, height=header.height, digest=digest, time_ms=header.time_ms)


def _lapsed(trust: Trust, terms: Terms, now_ms: int) -> bool:
    """Too old to move on from: its committee may have left with its bonds."""
    return terms.trusting_ms is not None and now_ms - trust.time_ms > terms.trusting_ms


def _certificate_flaw(header: Header, certificate: Certificate, committee: Committee, *, chain: bytes) -> Flaw | None:
    place = (certificate.purpose, certificate.epoch, certificate.height, certificate.digest)
    if place != (Purpose.COMMIT, header.epoch, header.height, block_digest(header)):
        return Flaw.OTHER
    signers = [index for index, _ in certificate.signatures]
    if signers != sorted(set(signers)) or any(index >= len(committee.members) for index in signers):
        return Flaw.DUPLICATE
    if not committee.is_quorum(signers):
        return Flaw.INSUFFICIENT
    return None if certificate_holds(certificate, committee, chain=chain) else Flaw.FORGED
