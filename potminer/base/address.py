"""Addresses: a public key as people read it, ``pot1...`` (bech32m, BIP-350).

The checksum finds every error of up to four characters; mixed case is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from potminer.base.errors import Malformed

PREFIX = "pot"
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32M = 0x2BC830A3
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECK = 6


def encode_address(key: bytes) -> str:
    """Address of a 32-byte public key."""
    if len(key) != 32:
        raise AssertionError("an address names a 32-byte key")
    return encode_bech32m(PREFIX, _regroup(key, 8, 5, pad=True))


def decode_address(text: str) -> bytes:
    """Public key of an address; Malformed says what is wrong."""
    prefix, values = decode_bech32m(text)
    if prefix != PREFIX:
        raise Malformed(f"an address starts with {PREFIX}1, not {prefix[:8]}1")
    key = bytes(_regroup(values, 5, 8, pad=False))
    if len(key) != 32:
        raise Malformed("an address holds 32 bytes")
    return key


def encode_bech32m(prefix: str, values: Iterable[int]) -> str:
    data = list(values)
    residue = _polymod([*_expand(prefix), *data, *[0] * _CHECK]) ^ _BECH32M
    check = [residue >> 5 * (_CHECK - 1 - i) & 31 for i in range(_CHECK)]
    return prefix + "1" + "".join(_ALPHABET[v] for v in data + check)


def decode_bech32m(text: str) -> tuple[str, list[int]]:
    if len(text) > 90:
        raise Malformed("too long for an address")
    if text.lower() != text and text.upper() != text:
        raise Malformed("an address is all lower or all upper case")
    if any(not 33 <= ord(c) <= 126 for c in text):
        raise Malformed("an address has a character outside ASCII")
    prefix, separator, tail = text.lower().rpartition("1")
    if not separator or not prefix or len(tail) < _CHECK or any(c not in _ALPHABET for c in tail):
        raise Malformed("one is pot1 and 58 letters and digits")
    values = [_ALPHABET.index(c) for c in tail]
    if _polymod([*_expand(prefix), *values]) != _BECH32M:
        raise Malformed("the address's checksum does not match: check it for a typing error")
    return prefix, values[:-_CHECK]


def _expand(prefix: str) -> list[int]:
    return [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]


def _polymod(values: Iterable[int]) -> int:
    residue = 1
    for value in values:
        top = residue >> 25
        residue = (residue & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                residue ^= generator
    return residue


def _regroup(values: Iterable[int], width_in: int, width_out: int, *, pad: bool) -> list[int]:
    """The same bits in groups of another width; leftover bits must be zero."""
    bits = held = 0
    result: list[int] = []
    for value in values:
        held = held << width_in | value
        bits += width_in
        while bits >= width_out:
            bits -= width_out
            result.append(held >> bits & (1 << width_out) - 1)
        held &= (1 << bits) - 1
    if pad and bits:
        result.append(held << width_out - bits & (1 << width_out) - 1)
    elif not pad and (bits >= width_in or held):
        raise Malformed("an address has stray bits")
    return result
