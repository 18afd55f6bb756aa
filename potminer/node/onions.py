"""The onions of this node's key. Each is made from the key and its number, so none has to be kept."""

from __future__ import annotations

import asyncio

from potminer.base.digest import Domain, digest
from potminer.base.errors import ConfigError
from potminer.core.ledger.beacon import Onion, Onions
from potminer.wire.record import Validator
from potminer.wire.seal import SigningKey

MOST = 64
"""Onions looked through for the one that the chain knows: decades of proposing, 15 seconds of looking."""


def secret_of(key: SigningKey, purpose: bytes) -> bytes:
    """A secret that only the key's holder can make, the same at every start."""
    return digest(Domain.ONION, key.sign(b"potminer/secret/" + purpose))


def onion_of(key: SigningKey, number: int = 0) -> Onion:
    """The key's onion of *number*; the outside of the first stands in the genesis or in its registration."""
    return Onion(secret_of(key, b"onion" if not number else b"onion/%d" % number))


class OwnOnions:
    """*held* are those that the chain knows, or will; *newest* is the number of the last of them."""

    def __init__(self, key: SigningKey, known: Validator | None) -> None:
        self._key = key
        self.held = Onions()
        self._newest = 0
        wanted = {known.onion, known.next_onion} - {None} if known is not None else set()
        for number in range(MOST):
            onion = onion_of(key, number)
            found = {layer for layer in wanted if layer is not None and onion.left(layer) is not None}
            if found or known is None:
                self.held.add(onion)
                self._newest = number
                wanted -= found
            if not wanted:
                return
        raise ConfigError("the chain knows another onion for this key", "Restore the right node key.")

    async def following(self, revealed: bytes) -> Onion:
        """The onion to register after the one that *revealed* is a layer of; the same again if it is asked for
        again. A quarter of a second of hashing, so not in the loop."""
        onion = await asyncio.to_thread(onion_of, self._key, self._newest + 1)
        if onion.left(revealed) is not None:
            self._newest += 1
            onion = await asyncio.to_thread(onion_of, self._key, self._newest + 1)
        self.held.add(onion)
        return onion
