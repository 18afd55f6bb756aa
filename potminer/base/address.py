"""Addresses: a public key as people read it, ``pot1...`` (bech32m, BIP-350).

The checksum finds every error of up to four characters; mixed case is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from potminer.base.errors import Malformed

PREFIX = "pot"
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M = 0x2BC830A3
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECK = 6
_STRANGE = 255
"""The value of a character that is not of the alphabet: above all that are."""
_VALUES = bytes(_ALPHABET.find(chr(code)) & _STRANGE for code in range(256))
_DIGITS = b"0123456789abcdefghijklmnopqrstuv".ljust(256)
"""What Python writes the values with, in base 32."""
_LIMIT = 90


def _feedback(top: int) -> int:
    residue = 0
    for bit, generator in enumerate(_GENERATOR):
        residue ^= generator if top >> bit & 1 else 0
    return residue


_FEEDBACK = tuple(_feedback(top) for top in range(32))
"""A genesis names thousands of accounts, and every start reads it: so one look-up a character, not five questions."""


def encode_address(key: bytes) -> str:
    """Address of a 32-byte public key."""
    if len(key) != 32:
        raise AssertionError("an address names a 32-byte key")
    return encode_bech32m(PREFIX, _grouped(key))


def decode_address(text: str) -> bytes:
    """Public key of an address; Malformed says what is wrong."""
    prefix, values = decode_bech32m(text)
    if prefix != PREFIX:
        raise Malformed(f"an address starts with {PREFIX}1, not {prefix[:8]}1")
    key = _ungrouped(values)
    if len(key) != 32:
        raise Malformed("an address holds 32 bytes")
    return key


def encode_bech32m(prefix: str, values: Iterable[int]) -> str:
    data = list(values)
    residue = _polymod([*data, *[0] * _CHECK], _begun(prefix)) ^ _BECH32M
    check = [residue >> 5 * (_CHECK - 1 - i) & 31 for i in range(_CHECK)]
    return prefix + "1" + "".join(_ALPHABET[v] for v in data + check)


def decode_bech32m(text: str) -> tuple[str, bytes]:
    """Prefix and values, five bits each, without those of the checksum."""
    if len(text) > _LIMIT:
        raise Malformed("too long for an address")
    small = text.lower()
    if small != text and text.upper() != text:
        raise Malformed("an address is all lower or all upper case")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Malformed("an address has a character outside ASCII")
    prefix, separator, tail = small.rpartition("1")
    values = tail.encode().translate(_VALUES)
    if not separator or not prefix or len(values) < _CHECK or _STRANGE in values:
        raise Malformed("one is pot1 and 58 letters and digits")
    if _polymod(values, _begun(prefix)) != _BECH32M:
        raise Malformed("the address's checksum does not match: check it for a typing error")
    return prefix, values[:-_CHECK]


@lru_cache(maxsize=16)
def _begun(prefix: str) -> int:
    """What the checksum has become of *prefix*, which almost all addresses share."""
    return _polymod([ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix], 1)


def _polymod(values: Iterable[int], residue: int) -> int:
    for value in values:
        residue = (residue & 0x1FFFFFF) << 5 ^ value ^ _FEEDBACK[residue >> 25]
    return residue


def _grouped(data: bytes) -> list[int]:
    """The bits of *data* by five; zeros fill the last group."""
    groups = -(-8 * len(data) // 5)
    number = int.from_bytes(data, "big") << 5 * groups - 8 * len(data)
    return [number >> 5 * place & 31 for place in reversed(range(groups))]


def _ungrouped(values: bytes) -> bytes:
    """Whole bytes of groups of five bits; what is left over must be zero, and less than a group."""
    spare = 5 * len(values) % 8
    number = int(values.translate(_DIGITS) or b"0", 32)
    if spare >= 5 or number & (1 << spare) - 1:
        raise Malformed("an address has stray bits")
    return (number >> spare).to_bytes(5 * len(values) // 8, "big")
