"""Gossip: small items spread to everybody, and peers told about peers."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U16, U32, Hash, Millis, PublicKey, Signature
from potminer.base.digest import Domain, digest
from potminer.wire.codec import Wire, encode


class Topic(IntEnum):
    TRANSACTION = 1
    """An encoded SignedTransaction."""


class Item(Wire, frozen=True):
    topic: Topic
    body: Annotated[bytes, Meta(max_length=limits.TRANSACTION_BYTES)]


class Push(Wire, frozen=True):
    """Items in full, to mesh neighbours."""

    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=64)]


class Carry(Wire, frozen=True):
    """Items that the sender brought in, to be passed on by the receiver to all other members of the committee."""

    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=64)]


class Carried(Wire, frozen=True):
    """The same, passed on: *origin* brought them in, and is told that they came."""

    origin: PublicKey
    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=64)]


class Got(Wire, frozen=True):
    """The items that *lot* stands for have come, all of them."""

    lot: Hash


class Have(Wire, frozen=True):
    """Lazy announcement of recent items, to peers outside the mesh."""

    topic: Topic
    items: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=512)]


class Want(Wire, frozen=True):
    topic: Topic
    items: Annotated[tuple[Hash, ...], Meta(min_length=1, max_length=512)]


class Graft(Wire, frozen=True):
    topic: Topic


class Prune(Wire, frozen=True):
    topic: Topic
    backoff_ms: U32


class AddressRecord(Wire, frozen=True):
    """Where a node listens, signed by its node key. The newest *time_ms* wins."""

    key: PublicKey
    host: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[0-9A-Za-z.:_-]+\Z")]
    port: U16
    time_ms: Millis
    signature: Signature


class AddressesWanted(Wire, frozen=True):
    pass


class Addresses(Wire, frozen=True):
    records: Annotated[tuple[AddressRecord, ...], Meta(max_length=limits.ADDRESSES_PER_EXCHANGE)]


def item_digest(item: Item) -> bytes:
    """Identity of an item: what the seen-cache and the lazy announcements hold."""
    return digest(Domain.MESSAGE, encode(item))


def address_digest(record: AddressRecord) -> bytes:
    """What an AddressRecord's signature covers."""
    return digest(Domain.ANNOUNCEMENT, encode((record.key, record.host, record.port, record.time_ms)))
