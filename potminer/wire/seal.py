"""Signatures: Ed25519 over fixed-width statements, verified by libsodium alone.

A statement binds purpose, chain, epoch, height, view, digest and signer, so a signature made
for one purpose is never valid for another. libsodium's acceptance rules are part of the
protocol: no second verifier exists anywhere.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from nacl import bindings
from nacl.exceptions import BadSignatureError, CryptoError

_TAG = b"potminer/statement/1"
_FIXED = struct.Struct(">20s32sBIQI32s32s")


class Purpose(IntEnum):
    """What a signature is for."""

    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    VIEW_CHANGE = 4
    NEW_VIEW = 5
    CHECKPOINT = 6
    TRANSACTION = 7
    LINK_KEY = 8
    ADDRESS_RECORD = 9


def statement(
    purpose: int,
    *,
    chain: bytes,
    signer: bytes,
    digest: bytes,
    epoch: int = 0,
    height: int = 0,
    view: int = 0,
) -> bytes:
    """The 133 bytes that are signed; *purpose* is a Purpose. Fields without a meaning for it are zero."""
    return _FIXED.pack(_TAG, chain, purpose, epoch, height, view, digest, signer)


class SigningKey:
    """An Ed25519 key pair from a 32-byte seed."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)

    def sign(self, message: bytes) -> bytes:
        """64-byte signature of *message*."""
        return bindings.crypto_sign(message, self._secret)[:64]


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether *signature* is *public*'s over *message*."""
    if len(signature) != 64:
        # libsodium takes them joined: a wrong length would shift the message.
        return False
    try:
        bindings.crypto_sign_open(signature + message, public)
    except (BadSignatureError, CryptoError, ValueError, TypeError):
        return False
    return True
