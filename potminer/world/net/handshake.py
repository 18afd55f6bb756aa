"""Noise_XX_25519_ChaChaPoly_SHA256, by hand on libsodium, without any I/O.

Source: The Noise Protocol Framework, revision 34, §5 (processing rules), §7.5 (XX), §11.3
(rekey). The names are the specification's. Checked against published vectors.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from nacl import bindings
from nacl.exceptions import CryptoError

from potminer.base.errors import Malformed

PROTOCOL = b"Noise_XX_25519_ChaChaPoly_SHA256"
KEY_BYTES = 32
TAG_BYTES = 16
REKEY_EVERY = 2**16
"""Messages of one direction under one key: about 1 GiB. Both ends count alike, so nothing is said."""

_MAX_NONCE = 2**64 - 1
_XX = (("e",), ("e", "ee", "s", "es"), ("s", "se"))


class Unauthentic(Malformed):
    """Bytes that were not sealed by the other end: anybody on the path may have sent them."""


class LinkKey:
    """An X25519 key pair from 32 secret bytes."""

    __slots__ = ("_secret", "public")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.public: bytes = bindings.crypto_scalarmult_base(secret)

    def agree(self, public: bytes) -> bytes:
        """Shared secret with *public*; Malformed where it would be all zero."""
        try:
            shared: bytes = bindings.crypto_scalarmult(self._secret, public)
        except CryptoError as error:
            raise Malformed("a public key of low order") from error
        if not any(shared):
            raise Malformed("a public key of low order")
        return shared


class CipherState:
    """One direction of an encrypted link: a key and a counter."""

    __slots__ = ("_key", "_nonce")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._nonce = 0

    def seal(self, plaintext: bytes, associated: bytes = b"") -> bytes:
        sealed: bytes = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
            plaintext, associated, _nonce(self._nonce), self._key
        )
        self._advance()
        return sealed

    def open(self, sealed: bytes, associated: bytes = b"") -> bytes:
        """What the other end sealed; Unauthentic where it did not."""
        plaintext = decrypt(self._key, _nonce(self._nonce), sealed, associated)
        self._advance()
        return plaintext

    def _advance(self) -> None:
        self._nonce += 1
        if self._nonce % REKEY_EVERY == 0:
            fresh: bytes = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
                bytes(KEY_BYTES), b"", _nonce(_MAX_NONCE), self._key
            )
            self._key = fresh[:KEY_BYTES]


def decrypt(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439); Unauthentic where the tag does not hold."""
    if len(sealed) < TAG_BYTES:
        raise Unauthentic("shorter than its tag")
    try:
        plaintext: bytes = bindings.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except CryptoError as error:
        raise Unauthentic("not sealed by the other end") from error
    return plaintext


def _nonce(counter: int) -> bytes:
    return bytes(4) + counter.to_bytes(8, "little")


def _derive(chaining: bytes, material: bytes) -> tuple[bytes, bytes]:
    """HKDF with two outputs (§4.3)."""
    temporary = hmac.digest(chaining, material, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")


class _SymmetricState:
    """Chaining key, transcript hash and, after the first agreement, a cipher (§5.2)."""

    def __init__(self, prologue: bytes) -> None:
        self.transcript = PROTOCOL.ljust(32, b"\0")
        self._chaining = self.transcript
        self._cipher: CipherState | None = None
        self.mix_hash(prologue)

    @property
    def overhead(self) -> int:
        return TAG_BYTES if self._cipher else 0

    def mix_hash(self, data: bytes) -> None:
        self.transcript = sha256(self.transcript + data).digest()

    def mix_key(self, material: bytes) -> None:
        self._chaining, key = _derive(self._chaining, material)
        self._cipher = CipherState(key)

    def seal(self, plaintext: bytes) -> bytes:
        sealed = self._cipher.seal(plaintext, self.transcript) if self._cipher else plaintext
        self.mix_hash(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        plaintext = self._cipher.open(sealed, self.transcript) if self._cipher else sealed
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        first, second = _derive(self._chaining, b"")
        return CipherState(first), CipherState(second)


class Handshake:
    """One end of an XX handshake: three messages, alternately written and read, then ``split``.

    ``remote_static`` is the other end's static key once its message was read; it is proven to be
    held by the other end, and vouched for by nobody.
    """

    def __init__(self, *, initiator: bool, prologue: bytes, static: LinkKey, ephemeral: LinkKey) -> None:
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral
        self._symmetric = _SymmetricState(prologue)
        self._remote_ephemeral = b""
        self.remote_static = b""
        self._step = 0

    @property
    def transcript(self) -> bytes:
        """Hash of everything said: names this handshake on both ends."""
        return self._symmetric.transcript

    def write(self, payload: bytes) -> bytes:
        """Next message, carrying *payload*."""
        message = b""
        for token in self._tokens(ours=True):
            match token:
                case "e":
                    message += self._ephemeral.public
                    self._symmetric.mix_hash(self._ephemeral.public)
                case "s":
                    message += self._symmetric.seal(self._static.public)
                case _:
                    self._symmetric.mix_key(self._agree(token))
        return message + self._symmetric.seal(payload)

    def read(self, message: bytes) -> bytes:
        """Payload of the other end's next *message*; Malformed where it is not one."""
        at = 0
        for token in self._tokens(ours=False):
            match token:
                case "e":
                    self._remote_ephemeral = _slice(message, at, KEY_BYTES)
                    self._symmetric.mix_hash(self._remote_ephemeral)
                    at += KEY_BYTES
                case "s":
                    size = KEY_BYTES + self._symmetric.overhead
                    self.remote_static = self._symmetric.open(_slice(message, at, size))
                    at += size
                case _:
                    self._symmetric.mix_key(self._agree(token))
        return self._symmetric.open(message[at:])

    def split(self) -> tuple[CipherState, CipherState]:
        """Ciphers for (sending, receiving), once all three messages have passed."""
        if self._step != len(_XX):
            raise AssertionError("a handshake is split once, at its end")
        self._step += 1
        first, second = self._symmetric.split()
        return (first, second) if self._initiator else (second, first)

    def _tokens(self, *, ours: bool) -> tuple[str, ...]:
        if self._step >= len(_XX) or (self._step % 2 == 0) != (self._initiator == ours):
            raise AssertionError("a handshake alternates and has three messages")
        tokens = _XX[self._step]
        self._step += 1
        return tokens

    def _agree(self, token: str) -> bytes:
        """Token letters name the initiator's key first, then the responder's."""
        mine, theirs = (token[0], token[1]) if self._initiator else (token[1], token[0])
        key = self._ephemeral if mine == "e" else self._static
        return key.agree(self._remote_ephemeral if theirs == "e" else self.remote_static)


def _slice(message: bytes, at: int, size: int) -> bytes:
    part = message[at : at + size]
    if len(part) != size:
        raise Malformed("a handshake message too short")
    return part
