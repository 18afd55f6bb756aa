"""What a light client is shown: certified headers, and proofs of what stands under their roots.

A header's state root is the one *after its parent*: the header of height h+1 proves the state
after block h.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U16, Hash, Height, Millis
from potminer.wire.block import Certificate, Header, RefusalName
from potminer.wire.codec import Wire
from potminer.wire.tx import SignedTransaction

KEY_BYTES = 128
"""The longest key of a record is 66 bytes."""
VALUE_BYTES = 2_097_152
"""The largest record is that of a round of SEGMENTS_PER_ROUND and UNITS_PER_ROUND: 1.93 MiB. A chunk of a snapshot, a
proof and the message that carries either hold it whole."""
HEADERS_PER_REPLY = 64
KEYS_PER_REPLY = 64
EPOCHS_PER_REPLY = 64
EVIDENCE_BYTES = 268_435_456
"""A file of evidence: 1,000 heights of the most that nodes keep of one."""
PROOF_BYTES = 4_194_304
"""The largest reply with proofs."""


class ListProof(Wire, frozen=True):
    """That an item stands at *index* of *count* (``base/merkle.py``)."""

    index: U16
    count: U16
    siblings: Annotated[tuple[Hash, ...], Meta(max_length=(limits.BLOCK_TRANSACTIONS - 1).bit_length())]


class StateProof(Wire, frozen=True):
    """*siblings* from the root down to where a key's path ends, and the (key, value) that stands there, if any."""

    siblings: Annotated[tuple[Hash, ...], Meta(max_length=256)]
    end: tuple[Annotated[bytes, Meta(max_length=KEY_BYTES)], Annotated[bytes, Meta(max_length=VALUE_BYTES)]] | None


class CertifiedHeader(Wire, frozen=True):
    header: Header
    certificate: Certificate


class OutcomeProof(Wire, frozen=True):
    """What became of a transaction: its receipt, in the list that a ReceiptsRecord under *after*'s state names."""

    refusal: RefusalName | None
    place: ListProof
    record: StateProof
    after: CertifiedHeader


class TransactionProof(Wire, frozen=True):
    """That *signed* is in a final block, and, once the next block is final too, what became of it."""

    signed: SignedTransaction
    place: ListProof
    included: CertifiedHeader
    outcome: OutcomeProof | None


class Headers(Wire, frozen=True):
    """Consecutive certified headers."""

    headers: Annotated[tuple[CertifiedHeader, ...], Meta(max_length=HEADERS_PER_REPLY)]


class Shown(Wire, frozen=True):
    """One proof for each key that was asked for, all under the state root of one header."""

    certified: CertifiedHeader
    proofs: Annotated[tuple[StateProof, ...], Meta(min_length=1, max_length=KEYS_PER_REPLY)]


class Epochs(Wire, frozen=True):
    """Steps from each of consecutive epochs to the next: its committee's record and that of the committee after it,
    under one of its headers."""

    steps: Annotated[tuple[Shown, ...], Meta(max_length=EPOCHS_PER_REPLY)]


class Deposition(Wire, frozen=True):
    """What a node stored that may be evidence, or a file of it: blocks as (height, digest), certificates, what
    replicas signed, each a registry number and a body, and *steps* that prove the committees of its epochs."""

    chain: Hash
    blocks: tuple[tuple[Height, Hash], ...]
    certificates: tuple[Certificate, ...]
    statements: tuple[Annotated[bytes, Meta(min_length=1, max_length=limits.NEW_VIEW_BYTES)], ...]
    steps: tuple[Shown, ...]


class Believed(Wire, frozen=True):
    """What a light client of ours has come to believe, as it keeps it in a file: the newest block, and the *step* that
    showed it the newest committees."""

    chain: Hash
    height: Height
    digest: Hash
    time_ms: Millis
    step: Shown


class PastProof(Wire, frozen=True):
    """What a node keeps to prove a record as it was after block *height*; the next header shows it."""

    height: Height
    proof: StateProof


class BlockOutcomes(Wire, frozen=True):
    """What a node keeps of a block to prove its outcomes later: *record* is the ReceiptsRecord after it,
    *refusals* are by position."""

    record: StateProof
    refusals: Annotated[tuple[RefusalName | None, ...], Meta(max_length=limits.BLOCK_TRANSACTIONS)]
