"""Addresses: BIP-350's vectors, the round trip, and every single mistyped character."""

from __future__ import annotations

import pytest

from potminer.base.address import decode_address, decode_bech32m, encode_address, encode_bech32m
from potminer.base.errors import Malformed

KEY = bytes(range(32))
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

# From BIP-350, "Test vectors for Bech32m".
VALID = (
    "A1LQFN3A",
    "a1lqfn3a",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
    "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
    "split1checkupstagehandshakeupstreamerranterredcaperredlc445v",
    "?1v759aa",
)
INVALID = (
    "qyrz8wqd2c9m",
    "1qyrz8wqd2c9m",
    "y1b0jsk6g",
    "lt1igcx5c0",
    "in1muywd",
    "mm1crxm3i",
    "au1s5cgom",
    "M1VUXWEZ",
    "16plkw9",
    "1p2gdwpf",
)


@pytest.mark.parametrize("text", VALID)
def test_a_valid_bip350_string_is_read_and_written_back(text: str) -> None:
    prefix, values = decode_bech32m(text)
    assert encode_bech32m(prefix, values) == text.lower()


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_bip350_string_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decode_bech32m(text)


@pytest.mark.parametrize("key", [KEY, bytes(32), b"\xff" * 32])
def test_a_key_survives_the_round_trip(key: bytes) -> None:
    address = encode_address(key)
    assert address.startswith("pot1")
    assert decode_address(address) == key
    assert decode_address(address.upper()) == key


def test_every_single_wrong_character_is_found() -> None:
    address = encode_address(KEY)
    for at in range(4, len(address)):
        for other in ALPHABET.replace(address[at], ""):
            with pytest.raises(Malformed):
                decode_address(address[:at] + other + address[at + 1 :])


def test_every_swap_of_neighbours_is_found() -> None:
    address = encode_address(KEY)
    for at in range(4, len(address) - 1):
        swapped = address[:at] + address[at + 1] + address[at] + address[at + 2 :]
        if swapped != address:
            with pytest.raises(Malformed):
                decode_address(swapped)


def test_mixed_case_is_refused() -> None:
    address = encode_address(KEY)
    with pytest.raises(Malformed, match="case"):
        decode_address(address[:10] + address[10:].upper())


@pytest.mark.parametrize("text", ["", "pot1", "pot", " ", "pot1" + "q" * 100, "bücher1qqqqqq", "\x00" * 8])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decode_address(text)


def test_another_prefix_is_named_in_the_refusal() -> None:
    with pytest.raises(Malformed, match="pot1"):
        decode_address("abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx")


@pytest.mark.parametrize("groups", [51, 53])
def test_a_key_of_another_length_is_refused(groups: int) -> None:
    with pytest.raises(Malformed):
        decode_address(encode_bech32m("pot", [0] * groups))


def test_stray_bits_are_refused() -> None:
    values = [0] * 51 + [1]
    with pytest.raises(Malformed, match="stray"):
        decode_address(encode_bech32m("pot", values))


def test_only_a_32_byte_key_has_an_address() -> None:
    with pytest.raises(AssertionError):
        encode_address(b"short")
