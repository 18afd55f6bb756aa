"""What stands under a header that is believed: transactions, what became of them, records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from potminer.base import merkle
from potminer.base.digest import Domain
from potminer.base.errors import Malformed
from potminer.core import trie
from potminer.core.light.flaw import Flaw
from potminer.core.light.header import flaw_in
from potminer.core.light.trust import Terms, Trust
from potminer.wire import record as records
from potminer.wire.block import Receipt, block_digest
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.proof import (
    VALUE_BYTES,
    CertifiedHeader,
    ListProof,
    OutcomeProof,
    Shown,
    StateProof,
    TransactionProof,
)
from potminer.wire.record import ReceiptsRecord
from potminer.wire.tx import transaction_digest

R = TypeVar("R", bound=Wire)


@dataclass(frozen=True, slots=True)
class Fate:
    """A transaction that is final in a block. Where *decided*, *refusal* says why it was not performed, None that
    it was; before, what became of it is not proven yet."""

    transaction: bytes
    height: int
    block: bytes
    index: int
    time_ms: int
    decided: bool
    refusal: str | None


@dataclass(frozen=True, slots=True)
class Fact:
    """*value* of *key* after block *height*; None: there is none."""

    key: bytes
    value: bytes | None
    height: int

    def record(self, kind: type[R]) -> R | None:
        """The record; Malformed where a quorum vouched for what is none."""
        return None if self.value is None else decode(kind, self.value, max_bytes=VALUE_BYTES)


def fate(proof: TransactionProof, trust: Trust, terms: Terms, *, now_ms: int) -> Fate | Flaw:
    """What *proof* shows of the transaction it carries. Its block may be older than *trust*."""
    header = proof.included.header
    flaw = flaw_in(proof.included, trust, terms, now_ms=now_ms)
    if flaw is not None:
        return flaw
    if not _stands(Domain.TRANSACTIONS, header.transactions_root, encode(proof.signed), proof.place):
        return Flaw.NOT_SHOWN
    name, outcome = transaction_digest(proof.signed.transaction), proof.outcome
    if outcome is not None:
        flaw = _outcome_flaw(outcome, name, proof, trust, terms, now_ms)
        if flaw is not None:
            return flaw
    return Fate(
        name, header.height, block_digest(header), proof.place.index, header.time_ms,
        outcome is not None, None if outcome is None else outcome.refusal,
    )  # fmt: skip


def facts(
    shown: Shown, keys: Sequence[bytes], trust: Trust, terms: Terms, *, now_ms: int
) -> tuple[Fact, ...] | Flaw:
    """What *shown* proves of *keys*, in their order. A header older than *trust* is stale."""
    header = shown.certified.header
    if header.height < trust.height:
        return Flaw.STALE
    told = past_facts(shown, keys, trust, terms, now_ms=now_ms)
    conflict = header.height == trust.height and block_digest(header) != trust.digest
    return Flaw.CONFLICT if conflict and not isinstance(told, Flaw) else told


def past_facts(
    shown: Shown, keys: Sequence[bytes], trust: Trust, terms: Terms, *, now_ms: int
) -> tuple[Fact, ...] | Flaw:
    """As ``facts``, of whatever time: for records that say themselves when they were so."""
    flaw = flaw_in(shown.certified, trust, terms, now_ms=now_ms)
    if flaw is not None:
        return flaw
    told = facts_under(shown, keys)
    return Flaw.NOT_SHOWN if told is None else told


def facts_under(shown: Shown, keys: Sequence[bytes]) -> tuple[Fact, ...] | None:
    """What *shown* proves of *keys* for somebody who believes its header already; None: not all of them."""
    if len(keys) != len(shown.proofs):
        return None
    found = [_fact(shown.certified, key, proof) for key, proof in zip(keys, shown.proofs, strict=True)]
    sound = tuple(fact for fact in found if fact is not None)
    return sound if len(sound) == len(keys) else None


def _fact(certified: CertifiedHeader, key: bytes, proof: StateProof) -> Fact | None:
    """What *proof* shows of *key* under a header that is believed; None: nothing."""
    value = proof.end[1] if proof.end is not None and proof.end[0] == key else None
    if not trie.verify(certified.header.state_root, key, value, proof):
        return None
    return Fact(key, value, certified.header.height - 1)


def _outcome_flaw(
    outcome: OutcomeProof, name: bytes, proof: TransactionProof, trust: Trust, terms: Terms, now_ms: int
) -> Flaw | None:
    """The receipts of a block stay in the state until another block has some: any header from the next to
    that one shows them."""
    height = proof.included.header.height
    flaw = flaw_in(outcome.after, trust, terms, now_ms=now_ms)
    if flaw is not None:
        return flaw
    if outcome.after.header.height <= height:
        return Flaw.STALE
    fact = _fact(outcome.after, records.RECEIPTS, outcome.record)
    try:
        listed = None if fact is None else fact.record(ReceiptsRecord)
    except Malformed:
        return Flaw.NOT_SHOWN
    if listed is None or listed.height != height:
        return Flaw.NOT_SHOWN
    same = (outcome.place.index, outcome.place.count) == (proof.place.index, proof.place.count)
    receipt = encode(Receipt(name, outcome.place.index, outcome.refusal))
    return None if same and _stands(Domain.RECEIPTS, listed.root, receipt, outcome.place) else Flaw.NOT_SHOWN


def _stands(domain: Domain, root: bytes, item: bytes, place: ListProof) -> bool:
    return merkle.verify(
        domain, expected_root=root, item=item, index=place.index, count=place.count, siblings=place.siblings
    )
