"""Digests: BLAKE2b-256 with a domain tag per use.

Two uses never share a domain, so a digest made for one purpose is never valid for another.
Every part is preceded by its length: different lists of parts never give the same input.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b


class Domain(StrEnum):
    """What a digest is for. At most 16 bytes each (BLAKE2b personalisation)."""

    GENESIS = "pot/genesis"
    TRANSACTION = "pot/tx"
    TRANSACTIONS = "pot/txs"
    RECEIPTS = "pot/receipts"
    BLOCK = "pot/block"
    CERTIFICATE = "pot/certificate"
    STATE_KEY = "pot/state/key"
    STATE_LEAF = "pot/state/leaf"
    STATE_NODE = "pot/state/node"
    BEACON = "pot/beacon"
    ONION = "pot/onion"
    ONIONS = "pot/onions"
    DRAW = "pot/draw"
    SAMPLES = "pot/samples"
    DITHER = "pot/dither"
    UNIT = "pot/unit"
    COMMITMENT = "pot/commitment"
    SNAPSHOTS = "pot/snapshots"
    RESIDUES = "pot/residues"
    SCORE = "pot/score"
    TASK = "pot/task"
    VIEW_CHANGE = "pot/view-change"
    NEW_VIEW = "pot/new-view"
    CHECKPOINT = "pot/checkpoint"
    ANNOUNCEMENT = "pot/announce"
    LINK_KEY = "pot/link-key"
    MESSAGE = "pot/message"
    RECORD = "pot/record"


_FRESH = {domain: blake2b(digest_size=32, person=domain.encode()) for domain in Domain}
"""Copying a hasher is cheaper than setting one up, and most of what is digested is short."""
_LENGTHS = tuple(length.to_bytes(8, "big") for length in range(1_024))


def digest(domain: Domain, *parts: bytes) -> bytes:
    """32-byte digest of length-prefixed *parts* under *domain*."""
    hasher = _FRESH[domain].copy()
    for part in parts:
        length = len(part)
        if length < 1_024:
            hasher.update(_LENGTHS[length] + part)
        else:
            hasher.update(length.to_bytes(8, "big"))
            hasher.update(part)
    return hasher.digest()


def digest_again(domain: Domain, start: bytes, times: int) -> bytes:
    """``digest(domain, digest(domain, ... start))``, *times* over, in half the time; *start* has 32 bytes."""
    if len(start) != 32:
        raise AssertionError("a chain of digests begins with 32 bytes")
    fresh = _FRESH[domain].copy()
    fresh.update(_LENGTHS[32])
    copy, layer = fresh.copy, start
    for _ in range(times):
        hasher = copy()
        hasher.update(layer)
        layer = hasher.digest()
    return layer


def joiner(domain: Domain, *first: bytes) -> Callable[[bytes, bytes], bytes]:
    """``digest(domain, *first, left, right)`` as a function of the last two, which are digests as a rule: what comes
    before them is hashed once."""
    begun, width = _FRESH[domain].copy(), _LENGTHS[32]
    for part in first:
        begun.update(number(len(part)) + part)
    begun.update(width)

    def join(left: bytes, right: bytes) -> bytes:
        if len(left) != 32 or len(right) != 32:
            return digest(domain, *first, left, right)
        hasher = begun.copy()
        hasher.update(left + width + right)
        return hasher.digest()

    return join


def number(value: int) -> bytes:
    """Eight big-endian bytes: how an integer enters a digest."""
    return value.to_bytes(8, "big")
