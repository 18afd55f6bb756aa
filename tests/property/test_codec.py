"""One value, one encoding - for every kind of message, transaction, job and report."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire_strategies import values_of

from potminer.base.errors import Malformed
from potminer.wire import genesis, hello, record, registry, trainer, tx
from potminer.wire.codec import decode, encode

KINDS: dict[str, tuple[Any, int]] = {
    **{row.type.__name__: (row.type, row.max_bytes) for row in registry.REGISTRY},
    "SignedTransaction": (tx.SignedTransaction, 32_768),
    "Body": (tx.Body, 32_768),
    "Job": (trainer.Job, trainer.PIPE_BYTES),
    "Report": (trainer.Report, trainer.PIPE_BYTES),
    "Identity": (hello.Identity, 256),
    "Genesis": (genesis.Genesis, 2**24),
    **{kind.__name__: (kind, 2**20) for kind in record.RECORD_TYPES.values()},
}
EVERY_KIND = pytest.mark.parametrize("name", list(KINDS))
QUICK = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def decodes(name: str, data: bytes) -> Any:
    """The value, or None where it is refused; anything but Malformed fails the test."""
    kind, max_bytes = KINDS[name]
    try:
        return decode(kind, data, max_bytes=max_bytes)
    except Malformed:
        return None


@EVERY_KIND
@QUICK
@given(data=st.data())
def test_what_is_encoded_is_decoded_to_the_same_value(name: str, data: st.DataObject) -> None:
    kind, max_bytes = KINDS[name]
    value = data.draw(values_of(kind))
    assert decode(kind, encode(value), max_bytes=max_bytes) == value


@EVERY_KIND
@QUICK
@given(data=st.data())
def test_a_changed_byte_is_refused_or_is_another_value_with_those_bytes(name: str, data: st.DataObject) -> None:
    body = bytearray(encode(data.draw(values_of(KINDS[name][0]))))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    value = decodes(name, bytes(body))
    assert value is None or encode(value) == bytes(body)


@EVERY_KIND
@QUICK
@given(data=st.data())
def test_trailing_truncated_and_extra_are_refused(name: str, data: st.DataObject) -> None:
    body = encode(data.draw(values_of(KINDS[name][0])))
    cut = data.draw(st.integers(0, len(body) - 1))
    assert decodes(name, body[:cut]) is None
    assert decodes(name, body + data.draw(st.binary(min_size=1, max_size=4))) is None
    fields = msgspec.msgpack.decode(body)
    assert isinstance(fields, list)
    assert decodes(name, encode([*fields, 0])) is None
    assert decodes(name, encode(fields[:-1])) is None or not fields


@pytest.mark.parametrize(
    "padded",
    [b"\x92\xcc\x07\x01", b"\x92\xcd\x00\x07\x01", b"\x92\xce\x00\x00\x00\x07\x01", b"\xdc\x00\x02\x07\x01",
     b"\x92\xcf" + bytes(7) + b"\x07\x01", b"\xdd\x00\x00\x00\x02\x07\x01", b"\x92\xd3" + bytes(7) + b"\x07\x01"],
)  # fmt: skip
def test_a_longer_spelling_of_the_same_value_is_refused(padded: bytes) -> None:
    """msgspec alone accepts every one of these as BlocksWanted(7, 1)."""
    assert decodes("BlocksWanted", b"\x92\x07\x01") is not None
    assert decodes("BlocksWanted", padded) is None


@pytest.mark.parametrize("body", [b"", b"\xc0", b"\x92\x07\xff", b"\x92\x07\xcb" + bytes(8), b"\x82\x07\x01\x07\x01"])
def test_nothing_negative_floating_or_keyed_passes_for_a_number(body: bytes) -> None:
    assert decodes("BlocksWanted", body) is None


def test_deep_nesting_is_refused_not_a_crash() -> None:
    for name in KINDS:
        assert decodes(name, b"\x91" * 10_000 + b"\xc0") is None


def test_size_is_checked_before_anything_is_parsed() -> None:
    for name, (kind, max_bytes) in KINDS.items():
        if max_bytes < 2**17:
            with pytest.raises(Malformed, match="at most"):
                decode(kind, b"\xc1" * (max_bytes + 1), max_bytes=max_bytes)
        assert decodes(name, b"\xc1") is None


def test_twenty_thousand_random_inputs_meet_only_malformed() -> None:
    chance = random.Random(20_000)
    seeds = [b"\x92\x07\x01", b"\x97\x02\x00\x01\x00\xc4\x20" + bytes(32) + b"\x03\xc4\x40" + bytes(64)]
    names = list(KINDS)
    for turn in range(20_000):
        if turn % 2:
            body = chance.randbytes(chance.randrange(120))
        else:
            grown = bytearray(chance.choice(seeds))
            for _ in range(chance.randrange(1, 4)):
                grown[chance.randrange(len(grown))] = chance.randrange(256)
            body = bytes(grown)
        value = decodes(chance.choice(names), body)
        assert value is None or encode(value) == body


def test_a_kind_nobody_registered_is_refused() -> None:
    for number in (0, 2, 255, 2**31):
        with pytest.raises(Malformed, match="no message has kind"):
            registry.unpack(number, b"\x90")


@pytest.mark.parametrize("row", registry.REGISTRY, ids=lambda row: row.type.__name__)
@QUICK
@given(data=st.data())
def test_a_packed_message_is_unpacked(row: registry.Row, data: st.DataObject) -> None:
    message = data.draw(values_of(row.type))
    packed_row, body = registry.pack(message)
    assert packed_row is row
    assert registry.unpack(row.number, body) == message
