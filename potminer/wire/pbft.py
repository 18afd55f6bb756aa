"""What replicas say to each other. Every vote is signed, so misbehaviour is provable."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U8, U16, U32, Epoch, Hash, Height, Millis, Signature, View
from potminer.base.digest import Domain, digest
from potminer.wire.block import Block, Certificate, Header
from potminer.wire.codec import Wire, encode
from potminer.wire.tx import SignedTransaction

RELAY_TRANSACTIONS = 16
SHORT_BYTES = 6
"""Of ten thousand transactions beside ten thousand others two have one name once in a million blocks."""


class PrePrepare(Wire, frozen=True):
    """The primary's proposal; its signature counts as the primary's PREPARE.

    *leaves* stand for the block's transactions, in their order (``SignedTransaction.leaf``); the
    header's transactions root is theirs.
    """

    view: View
    header: Header
    leaves: Annotated[tuple[Hash, ...], Meta(max_length=limits.BLOCK_TRANSACTIONS)]
    signature: Signature


class Vote(Wire, frozen=True):
    """PREPARE, COMMIT or CHECKPOINT (*purpose*). *signer* indexes the epoch's committee."""

    purpose: U8
    epoch: Epoch
    height: Height
    view: View
    digest: Hash
    signer: U8
    signature: Signature


class ViewChange(Wire, frozen=True):
    """Asks for *view* at *height*. *prepared* proves the highest block this replica prepared there."""

    epoch: Epoch
    height: Height
    view: View
    prepared: Certificate | None
    signer: U8
    signature: Signature


class NewView(Wire, frozen=True):
    """The new primary's proof that *view* may begin and what it must begin with.

    *view_changes* hold a quorum; *proposal* re-proposes the block of the highest prepared
    certificate among them, or a fresh block where there is none.
    """

    height: Height
    view: View
    view_changes: Annotated[tuple[ViewChange, ...], Meta(max_length=limits.COMMITTEE)]
    proposal: PrePrepare


class Brief(Wire, frozen=True, dict=True, gc=True):
    """A PRE-PREPARE, or with *view_changes* a NEW-VIEW, whose leaves are those with these *names*
    (``core/pbft/terse.py``), one after the other, among what its hearer has."""

    view: View
    view_changes: Annotated[tuple[ViewChange, ...], Meta(max_length=limits.COMMITTEE)]
    header: Header
    names: Annotated[bytes, Meta(min_length=SHORT_BYTES, max_length=SHORT_BYTES * limits.BLOCK_TRANSACTIONS)]
    signature: Signature

    @cached_property
    def each(self) -> list[bytes]:
        """The names. What is left over of a length that is none is a name that nothing has."""
        return [self.names[at : at + SHORT_BYTES] for at in range(0, len(self.names), SHORT_BYTES)]


class Status(Wire, frozen=True):
    """Where this replica stands: what peers should retransmit to it. *time_ms* is its own clock, right or wrong."""

    height: Height
    view: View
    time_ms: Millis


class VotesWanted(Wire, frozen=True):
    """What its speaker lacks at its height and view, so that whoever heard it can pass it on.

    Bit s of a mask stands for seat s: its PREPARE and its COMMIT of this view, and its VIEW-CHANGE to
    this view where *opening* is wanted too (the message that begins the view), above it where not.
    """

    height: Height
    view: View
    opening: bool
    prepares: U32
    commits: U32
    changes: U32


class PreparedBlockWanted(Wire, frozen=True):
    """Asks for the body of a prepared block that a view change refers to."""

    height: Height
    digest: Hash


class PreparedBlock(Wire, frozen=True):
    block: Block


class TransactionsWanted(Wire, frozen=True):
    """Asks for transactions of a proposed block by their *places* in it, rising."""

    height: Height
    digest: Hash
    places: Annotated[tuple[U16, ...], Meta(min_length=1, max_length=limits.BLOCK_TRANSACTIONS)]


class Transactions(Wire, frozen=True):
    """Transactions of the block *digest* that were asked for."""

    digest: Hash
    transactions: Annotated[tuple[SignedTransaction, ...], Meta(max_length=limits.BLOCK_TRANSACTIONS)]


class Relay(Wire, frozen=True):
    """Transactions that blocks with room for them left out: perhaps their primaries never got them."""

    transactions: Annotated[tuple[SignedTransaction, ...], Meta(min_length=1, max_length=RELAY_TRANSACTIONS)]


def view_change_digest(*, prepared: Certificate | None) -> bytes:
    """What a VIEW-CHANGE signature covers beyond its epoch, height and view."""
    return digest(Domain.VIEW_CHANGE, encode(prepared))
