"""The onions of this node's key. Each is made from the key and its number, so none has to be kept; what they were made
of lies beside the key all the same, because hashing it anew is a tenth of a start."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from potminer.base.digest import Domain, digest
from potminer.base.errors import ConfigError, NotPermitted
from potminer.core.ledger.beacon import Onion, Onions, kept_layers
from potminer.wire.record import Validator
from potminer.wire.seal import SigningKey
from potminer.world.keys import read_private, replace_private

MOST = 64
"""Onions looked through for the one that the chain knows: decades of proposing, 15 seconds of looking."""
_ON_DISK: Final = 3
_SEAL, _NUMBER, _LAYER = 32, 2, 32
_ENTRY = _NUMBER + _LAYER * kept_layers()


def secret_of(key: SigningKey, purpose: bytes) -> bytes:
    """A secret that only the key's holder can make, the same at every start."""
    return digest(Domain.ONION, key.sign(b"potminer/secret/" + purpose))


def onion_of(key: SigningKey, number: int = 0, *, kept: tuple[bytes, ...] = ()) -> Onion:
    """The key's onion of *number*; the outside of the first stands in the genesis or in its registration."""
    return Onion(secret_of(key, b"onion" if not number else b"onion/%d" % number), kept=kept)


class OwnOnions:
    """*held* are those that the chain knows, or will; *newest* is the number of the last of them. *file*: where their
    layers are kept from start to start. One that is damaged, or of another key, is made anew."""

    def __init__(self, key: SigningKey, known: Validator | None, file: Path) -> None:
        self._key, self._file = key, file
        self.held = Onions()
        self._newest = 0
        self._at_hand = _unpacked(key, read_private(file, _SEAL + _ON_DISK * _ENTRY + 1))
        wanted = {known.onion, known.next_onion} - {None} if known is not None else set()
        # At hand first. Who is no candidate yet registers with its first.
        for number in sorted(range(MOST), key=lambda each: each not in self._at_hand) if wanted else (0,):
            onion = self._onion(number)
            found = {layer for layer in wanted if layer is not None and onion.left(layer) is not None}
            if found or known is None:
                self._hold(number, onion)
                wanted -= found
            if not wanted:
                return
        raise ConfigError("the chain knows another onion for this key", "Restore the right node key.")

    async def following(self, revealed: bytes) -> Onion:
        """The onion to register after the one that *revealed* is a layer of; the same again if it is asked for
        again. A quarter of a second of hashing, so not in the loop."""
        onion = await asyncio.to_thread(self._onion, self._newest + 1)
        if onion.left(revealed) is not None:
            self._newest += 1
            onion = await asyncio.to_thread(self._onion, self._newest + 1)
        self.held.add(onion)
        await asyncio.to_thread(self._keep, self._newest + 1, onion)
        return onion

    def _onion(self, number: int) -> Onion:
        return self._at_hand[number] if number in self._at_hand else onion_of(self._key, number)

    def _hold(self, number: int, onion: Onion) -> None:
        self.held.add(onion)
        self._newest = max(self._newest, number)
        self._keep(number, onion)

    def _keep(self, number: int, onion: Onion) -> None:
        """The newest few stay on the disk; one that is full costs the next start its hashing, no more."""
        if number in self._at_hand:
            return
        newest = sorted({*self._at_hand, number})[-_ON_DISK:]
        self._at_hand = {each: onion if each == number else self._at_hand[each] for each in newest}
        with suppress(NotPermitted):
            replace_private(self._file, _packed(self._key, self._at_hand))


def _packed(key: SigningKey, onions: Mapping[int, Onion]) -> bytes:
    body = b"".join(number.to_bytes(_NUMBER, "big") + b"".join(onion.kept) for number, onion in onions.items())
    return _seal(key, body) + body


def _unpacked(key: SigningKey, said: bytes) -> dict[int, Onion]:
    """By number; nothing where a byte is not as this key wrote it."""
    seal, body = said[:_SEAL], said[_SEAL:]
    if not body or len(body) % _ENTRY or seal != _seal(key, body):
        return {}
    entries = [body[at : at + _ENTRY] for at in range(0, len(body), _ENTRY)]
    numbers = [int.from_bytes(entry[:_NUMBER], "big") for entry in entries]
    return {number: onion_of(key, number, kept=_layers(entry)) for number, entry in zip(numbers, entries, strict=True)}


def _layers(entry: bytes) -> tuple[bytes, ...]:
    return tuple(entry[at : at + _LAYER] for at in range(_NUMBER, len(entry), _LAYER))


def _seal(key: SigningKey, body: bytes) -> bytes:
    """Only the key's holder can make it."""
    return digest(Domain.ONIONS, secret_of(key, b"onions"), body)
