"""Blocks and the certificates that make them final."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Annotated

from msgspec import Meta

from potminer.base import limits, merkle
from potminer.base.bounded import U8, U16, Epoch, Hash, Height, Millis, PublicKey, Signature, View
from potminer.base.digest import Domain, digest
from potminer.wire.codec import Wire, encode
from potminer.wire.tx import SignedTransaction

RefusalName = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[a-z-]+\Z")]
"""A word of ``core/ledger/refusal.py``."""


class Header(Wire, frozen=True):
    """What a certificate signs. No view number: a re-proposed block keeps its digest.

    *state_root* is the root after the parent; *preimage* is the proposer's next reveal of its
    hash onion.
    """

    parent: Hash
    height: Height
    epoch: Epoch
    transactions_root: Hash
    state_root: Hash
    proposer: PublicKey
    time_ms: Millis
    preimage: Hash


class Block(Wire, frozen=True, dict=True, gc=True):
    """A header and its transactions. What follows from them is computed once."""

    header: Header
    transactions: Annotated[tuple[SignedTransaction, ...], Meta(max_length=limits.BLOCK_TRANSACTIONS)]


    @cached_property
    def encoded(self) -> bytes:
        return encode(self)

    @cached_property
    def root(self) -> bytes:
        """Root over the transactions as they are here, whatever the header says."""
        return transactions_root(self.transactions)


class Certificate(Wire, frozen=True):
    """A quorum of signatures of one purpose over one (epoch, height, view, digest).

    *signatures* are (index into the epoch's committee, signature) by rising index. In a
    prepared certificate the primary's signature is its PRE-PREPARE.
    """

    purpose: U8
    epoch: Epoch
    height: Height
    view: View
    digest: Hash
    signatures: Annotated[tuple[tuple[U8, Signature], ...], Meta(max_length=limits.COMMITTEE)]


class CertifiedBlock(Wire, frozen=True):
    block: Block
    certificate: Certificate


class Receipt(Wire, frozen=True):
    """What became of the transaction at *index* of a block. *refusal* is None where it was performed."""

    transaction: Hash
    index: U16
    refusal: RefusalName | None


@lru_cache(maxsize=256)
def block_digest(header: Header) -> bytes:
    """The block's name. Asked again and again for the few headers of a height."""
    return digest(Domain.BLOCK, encode(header))


def transactions_root(transactions: tuple[SignedTransaction, ...]) -> bytes:
    """Root over the signed bytes: signatures included, or two blocks of one digest could differ in them."""
    return leaves_root(tuple(signed.leaf for signed in transactions))


@lru_cache(maxsize=4)
def leaves_root(leaves: tuple[bytes, ...]) -> bytes:
    """The same root, from the leaves alone: so a list of leaves is proven by the header that names their root.

    Remembered, for the root of a proposal's leaves is that of its block, once it is whole.
    """
    return merkle.root_of(leaves, Domain.TRANSACTIONS)


def receipts_root(receipts: tuple[Receipt, ...]) -> bytes:
    """Root over the receipts of a block, in its order."""
    return merkle.root(Domain.RECEIPTS, [encode(receipt) for receipt in receipts])
