"""Deflated frames: what went in comes out, mixed with others and in order; hostile bytes are Malformed, and small."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potminer.base.errors import Malformed
from potminer.wire.deflate import SHELL_BYTES, TAG, Deflater, Inflater
from potminer.wire.frame import FRAGMENT_BYTES, FRAME_BYTES, Fragment, Opening, decode_frame, encode_frame, fragments
from potminer.wire.gossip import Item, Push, Topic
from potminer.wire.registry import Channel, pack
from potminer.wire.seal import SigningKey
from potminer.wire.tx import Transaction, Transfer, sign_transaction


def shell(length: int, packed: bytes) -> bytes:
    return struct.pack(">BH", TAG, length) + packed


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=FRAGMENT_BYTES), st.booleans()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_frames_come_out_as_they_went_in_deflated_or_not(sent: list[tuple[bytes, bool]]) -> None:
    deflater, inflater = Deflater(), Inflater()
    for data, deflated in sent:
        frame = encode_frame(Fragment(Channel.GOSSIP, Opening(30, len(data)), True, data))
        said = deflater.shell(frame) if deflated else frame
        assert inflater.frame(said) == frame


def test_what_does_not_shrink_hardly_grows() -> None:
    deflater, noise = Deflater(), random.Random(1)
    for _ in range(20):
        frame = encode_frame(Fragment(Channel.SYNC, Opening(22, FRAGMENT_BYTES), True, noise.randbytes(FRAGMENT_BYTES)))
        assert len(frame) == FRAME_BYTES
        assert len(deflater.shell(frame)) <= FRAME_BYTES + SHELL_BYTES


def test_a_push_of_transfers_takes_less_than_half() -> None:
    keys = [SigningKey(bytes([number]) * 32) for number in range(8)]
    deflater, whole, short = Deflater(), 0, 0
    for nonce in range(40):
        transfers = [Transaction(b"c" * 32, key.public, nonce, 1_000, 2**32, Transfer(key.public, 7)) for key in keys]
        signed = [sign_transaction(each, key) for each, key in zip(transfers, keys, strict=True)]
        push = Push(tuple(Item(Topic.TRANSACTION, each.encoded) for each in signed))
        for fragment in fragments(*pack(push)):
            frame = encode_frame(fragment)
            whole, short = whole + len(frame), short + len(deflater.shell(frame))
    assert 2 * short < whole


def good() -> bytes:
    return encode_frame(Fragment(Channel.GOSSIP, Opening(30, 900), True, b"a" * 900))


def raw(data: bytes, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush(mode)


@pytest.mark.parametrize(
    "said",
    [
        shell(0, raw(b"")),
        shell(1, b""),
        bytes([TAG, 0]),
        shell(FRAME_BYTES + 1, raw(bytes(FRAME_BYTES + 1))),
        shell(len(good()) - 1, raw(good())),
        shell(len(good()) + 1, raw(good())),
        shell(len(good()), raw(good(), zlib.Z_FINISH)),
        shell(len(good()), raw(good()) + b"\xff\xff\xff"),
        shell(FRAME_BYTES, b"\xff" * 300),
        shell(len(shell(9, b"inside")), raw(shell(9, b"inside"))),
    ],
)
def test_what_is_no_deflated_frame_is_malformed(said: bytes) -> None:
    with pytest.raises(Malformed):
        Inflater().frame(said)


def test_a_bomb_is_refused_at_the_length_of_a_frame() -> None:
    bomb = shell(FRAME_BYTES, raw(bytes(64 * 1024 * 1024)))
    assert len(bomb) < 2**17
    inflater = Inflater()
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            inflater.frame(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@given(st.lists(st.binary(max_size=80), max_size=12))
@settings(max_examples=150, deadline=None)
def test_arbitrary_bytes_are_malformed_or_a_frame(datas: list[bytes]) -> None:
    inflater = Inflater()
    for data in datas:
        try:
            frame = inflater.frame(bytes([TAG]) + data)
            assert 0 < len(frame) <= FRAME_BYTES
            decode_frame(frame)
        except Malformed:
            return  # the link ends here
