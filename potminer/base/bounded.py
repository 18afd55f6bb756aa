"""Bounded vocabulary: what every integer and byte string in potminer may be.

The bounds are enforced by the codec when something is decoded, so code above never
sees a key of 31 bytes or a negative height.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""BLAKE2b-256 digest under a domain (``base.digest``)."""

BlobId = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""Root of a SHA-256 Merkle tree over a blob's leaves (``base.blobs``)."""

PublicKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""Ed25519 public key. An account, a trainer and a validator are each named by one."""

Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]

U8 = Annotated[int, Meta(ge=0, lt=2**8)]
U16 = Annotated[int, Meta(ge=0, lt=2**16)]
U32 = Annotated[int, Meta(ge=0, lt=2**32)]
U63 = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""Non-negative and within SQLite's and numpy's signed 64-bit integer."""

Grains = U63
"""Money. 1 POT = 10**9 grains."""
Millis = U63
"""Milliseconds; block time counts them from the Unix epoch."""
Height = U63
View = U32
Epoch = U32
Ppm = Annotated[int, Meta(ge=0, le=2**40)]
"""Parts per million. May exceed one million: an error can be larger than what it is relative to."""
Slot = U16
"""Index of a unit inside its round."""

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*\Z")]
"""Machine-safe name, as of a task or a network."""

DeviceClass = Annotated[str, Meta(max_length=32, pattern=r"^[a-z0-9.-]*\Z")]
"""What kind of device computed something, as ``cpu-x86-64-avx2`` or ``cuda-8.6``: rounding errors differ between them,
hardly within one. Empty where nobody knows."""

GRAINS_PER_POT = 10**9
MILLION = 1_000_000
