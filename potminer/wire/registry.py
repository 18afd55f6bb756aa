"""Every kind of message, once: its number, type, channel, size, rate and who may say it.

A new kind is one type, one row here, one golden vector and one line in docs/spec/wire.md;
the tests name whichever is missing. Numbers are never reused.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from potminer.base import limits
from potminer.base.errors import Malformed
from potminer.wire import blob, gossip, hello, leap, pbft, sync
from potminer.wire.codec import Wire, decode, encode


class Channel(IntEnum):
    """Priority on a link: a lower channel's frames always go first."""

    CONSENSUS = 0
    SYNC = 1
    GOSSIP = 2
    RPC = 3
    BLOB = 4


class Speaker(IntEnum):
    ANYONE = 0
    VALIDATOR = 1
    """Only a member of the current committee."""


class Row(NamedTuple):
    number: int
    type: type[Wire]
    channel: Channel
    max_bytes: int
    per_minute: int
    speaker: Speaker


V, A = Speaker.VALIDATOR, Speaker.ANYONE

REGISTRY: tuple[Row, ...] = (
    Row(1, hello.Hello, Channel.RPC, 256, 10, A),
    Row(8, pbft.Brief, Channel.CONSENSUS, limits.NEW_VIEW_BYTES, 1_200, V),
    Row(9, pbft.VotesWanted, Channel.CONSENSUS, 64, 600, V),
    Row(10, pbft.PrePrepare, Channel.CONSENSUS, limits.PROPOSAL_BYTES, 1_200, V),
    Row(11, pbft.Vote, Channel.CONSENSUS, limits.VOTE_BYTES, 60_000, V),
    Row(12, pbft.ViewChange, Channel.CONSENSUS, limits.VIEW_CHANGE_BYTES, 1_200, V),
    Row(13, pbft.NewView, Channel.CONSENSUS, limits.NEW_VIEW_BYTES, 600, V),
    Row(14, pbft.Status, Channel.CONSENSUS, 64, 600, V),
    Row(15, pbft.PreparedBlockWanted, Channel.CONSENSUS, 128, 600, V),
    Row(16, pbft.PreparedBlock, Channel.CONSENSUS, limits.BLOCK_MESSAGE_BYTES, 600, V),
    Row(17, pbft.TransactionsWanted, Channel.CONSENSUS, limits.PLACES_BYTES, 1_200, V),
    Row(18, pbft.Transactions, Channel.CONSENSUS, limits.BLOCK_MESSAGE_BYTES, 1_200, V),
    Row(19, pbft.Relay, Channel.CONSENSUS, 131_072, 120, V),
    Row(20, sync.Head, Channel.SYNC, 128, 6_000, A),
    Row(21, sync.BlocksWanted, Channel.SYNC, 64, 1_200, A),
    Row(22, sync.Blocks, Channel.SYNC, limits.BLOCK_MESSAGE_BYTES, 1_200, A),
    Row(23, leap.SnapshotWanted, Channel.SYNC, 64, 600, A),
    Row(24, leap.SnapshotOffer, Channel.SYNC, leap.OFFER_BYTES, 600, A),
    Row(25, leap.ManifestWanted, Channel.SYNC, 64, 60, A),
    Row(26, leap.Manifest, Channel.SYNC, leap.MANIFEST_BYTES, 60, A),
    Row(27, leap.ChunkWanted, Channel.SYNC, 64, 6_000, A),
    Row(28, leap.Chunk, Channel.SYNC, leap.CHUNK_MESSAGE_BYTES, 6_000, A),
    Row(29, leap.Pruned, Channel.SYNC, 64, 1_200, A),
    Row(30, gossip.Push, Channel.GOSSIP, 64 * limits.TRANSACTION_BYTES, 6_000, A),
    Row(31, gossip.Have, Channel.GOSSIP, 20_480, 600, A),
    Row(32, gossip.Want, Channel.GOSSIP, 20_480, 600, A),
    Row(33, gossip.Graft, Channel.GOSSIP, 64, 120, A),
    Row(34, gossip.Prune, Channel.GOSSIP, 64, 120, A),
    Row(35, gossip.AddressesWanted, Channel.RPC, 16, 30, A),
    Row(36, gossip.Addresses, Channel.RPC, 32_768, 30, A),
    Row(37, sync.NextWanted, Channel.SYNC, 64, 1_200, A),
    Row(38, sync.Busy, Channel.SYNC, 64, 6_000, A),
    Row(40, blob.BlobWanted, Channel.BLOB, 64, 12_000, A),
    Row(41, blob.BlobHeld, Channel.BLOB, 64, 12_000, A),
    Row(42, blob.BlobMissing, Channel.BLOB, 64, 12_000, A),
    Row(43, blob.PieceWanted, Channel.BLOB, 64, 12_000, A),
    Row(44, blob.Piece, Channel.BLOB, limits.PIECE_MESSAGE_BYTES, 12_000, A),
    Row(45, gossip.Carry, Channel.GOSSIP, 64 * limits.TRANSACTION_BYTES, 1_200, V),
    Row(46, gossip.Carried, Channel.GOSSIP, 64 * limits.TRANSACTION_BYTES, 6_000, V),
    Row(47, gossip.Got, Channel.GOSSIP, 64, 6_000, V),
)

BY_NUMBER = {row.number: row for row in REGISTRY}
BY_TYPE = {row.type: row for row in REGISTRY}


def row_of(message: Wire) -> Row:
    return BY_TYPE[type(message)]


def pack(message: Wire) -> tuple[Row, bytes]:
    """Row and canonical body of *message*; a message of our own above its limit is our bug."""
    row = row_of(message)
    body = encode(message)
    if len(body) > row.max_bytes:
        raise AssertionError(f"{row.type.__name__} of {len(body)} bytes is above its limit of {row.max_bytes}")
    return row, body


def unpack(number: int, body: bytes | memoryview) -> Wire:
    """The message of kind *number* in *body*; Malformed where it is not one."""
    row = BY_NUMBER.get(number)
    if row is None:
        raise Malformed(f"no message has kind {number}")
    return decode(row.type, body, max_bytes=row.max_bytes)
