"""The notary: remembers what was signed and what was verified. Ed25519 has one signature for one message.

Verification is a pure function of key, message and signature, so an answer given once for the
same bytes is the answer. Nothing is assumed: what was never asked is verified by libsodium.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from potminer.core.committee import Committee
from potminer.wire.seal import SigningKey, verify
from potminer.wire.tx import SignedTransaction, signature_holds

REMEMBERED = 1 << 16
"""Signatures and verdicts kept; then they are forgotten together and asked for anew."""


class Notary:
    def __init__(self) -> None:
        self._verdicts: dict[tuple[bytes, bytes, bytes], bool] = {}
        self._signed: dict[tuple[bytes, bytes], bytes] = {}
        self._transactions: dict[tuple[bytes, bytes], bool] = {}

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        asked = (public, message, signature)
        known = self._verdicts.get(asked)
        return self._learn(asked, verify(public, message, signature)) if known is None else known

    def _learn(self, asked: tuple[bytes, bytes, bytes], holds: bool) -> bool:
        if len(self._verdicts) >= REMEMBERED:
            self._verdicts.clear()
        self._verdicts[asked] = holds
        return holds

    def sign(self, key: SigningKey, message: bytes) -> bytes:
        known = self._signed.get((key.public, message))
        if known is None:
            if len(self._signed) >= REMEMBERED:
                self._signed.clear()
            known = self._signed[(key.public, message)] = key.sign(message)
            self._learn((key.public, message, known), True)  # what libsodium signs, libsodium accepts
        return known

    def holds(self, signed: SignedTransaction) -> bool:
        """Whether a transaction's sender signed it. Its digest covers all but the signature."""
        asked = (signed.digest, signed.signature)
        known = self._transactions.get(asked)
        if known is None:
            if len(self._transactions) >= REMEMBERED:
                self._transactions.clear()
            known = self._transactions[asked] = signature_holds(signed)
        return known


@lru_cache(maxsize=1_024)
def _key(seed: bytes) -> SigningKey:
    """Runs have the same members and clients."""
    return SigningKey(seed)


class NotedKey(SigningKey):
    """A key whose signatures the notary remembers."""

    __slots__ = ("_notary", "_real")

    def __init__(self, seed: bytes, notary: Notary) -> None:
        self._real = _key(seed)
        self.public = self._real.public
        self._notary = notary

    def sign(self, message: bytes) -> bytes:
        return self._notary.sign(self._real, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedCommittee(Committee):
    """The product's committee; only whether a signature holds is remembered."""

    notary: Notary

    def signed_by(self, index: int, message: bytes, signature: bytes) -> bool:
        return self.notary.verify(self.members[index], message, signature)


SHARED = Notary()
"""Of a process: runs after each other have the same members, clients and transactions."""
