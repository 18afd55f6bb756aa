"""Frames: what is cut comes together again, and nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from potminer.base.errors import Malformed
from potminer.wire.frame import (
    FRAGMENT_BYTES,
    FRAME_BYTES,
    Fragment,
    Grant,
    Opening,
    Ping,
    Pong,
    Reassembler,
    decode_frame,
    encode_frame,
    fragments,
)
from potminer.wire.registry import REGISTRY, Channel, Row

ROWS = st.sampled_from(REGISTRY)


def anybody(_row: Row) -> None:
    return None


@st.composite
def messages(draw: st.DrawFn) -> tuple[Row, bytes]:
    row = draw(ROWS)
    size = draw(st.integers(1, min(row.max_bytes, 5 * FRAGMENT_BYTES)))
    return row, draw(st.binary(min_size=1, max_size=8)).ljust(size, b"\xa5")[:size]


@given(st.lists(messages(), min_size=1, max_size=6, unique_by=lambda m: m[0].channel), st.randoms())
@settings(max_examples=60, deadline=None)
def test_messages_of_several_channels_come_together_however_they_interleave(
    sent: list[tuple[Row, bytes]], chance: object
) -> None:
    queues = [list(fragments(row, body)) for row, body in sent]
    reassembler, received = Reassembler(anybody), []
    while any(queues):
        queue = chance.choice([q for q in queues if q])  # type: ignore[attr-defined]
        encoded = encode_frame(queue.pop(0))
        assert len(encoded) <= FRAME_BYTES
        frame = decode_frame(encoded)
        assert isinstance(frame, Fragment)
        if complete := reassembler.feed(frame):
            received.append(complete)
    assert sorted(received) == sorted(sent)
    assert reassembler.held_bytes == 0


@given(st.sampled_from(Channel), st.integers(0, 2**32 - 1))
def test_control_frames_survive(channel: Channel, size: int) -> None:
    for frame in (Grant(channel, size), Ping(), Pong()):
        assert decode_frame(encode_frame(frame)) == frame


@given(st.lists(st.binary(max_size=64), max_size=20))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_are_malformed_or_frames_never_anything_else(datas: list[bytes]) -> None:
    reassembler = Reassembler(anybody)
    for data in datas:
        try:
            frame = decode_frame(data)
            assert encode_frame(frame) == data
            if isinstance(frame, Fragment):
                reassembler.feed(frame)
        except Malformed:
            pass
    assert reassembler.held_bytes <= 64 * len(datas)


@given(messages(), st.data())
@settings(max_examples=100, deadline=None)
def test_a_changed_stream_of_fragments_is_malformed_or_bounded(message: tuple[Row, bytes], data: st.DataObject) -> None:
    row, body = message
    reassembler = Reassembler(anybody)
    encoded = [bytearray(encode_frame(fragment)) for fragment in fragments(row, body)]
    victim = data.draw(st.sampled_from(encoded))
    victim[data.draw(st.integers(0, min(len(victim) - 1, 8)))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        for part in encoded:
            frame = decode_frame(bytes(part))
            if isinstance(frame, Fragment):
                reassembler.feed(frame)
            assert reassembler.held_bytes <= max(r.max_bytes for r in REGISTRY)
    except Malformed:
        pass


@pytest.mark.parametrize("row", REGISTRY, ids=lambda row: row.type.__name__)
def test_a_length_above_the_limit_is_refused_before_anything_is_kept(row: Row) -> None:
    reassembler = Reassembler(anybody)
    announced = Fragment(row.channel, Opening(row.number, row.max_bytes + 1), False, b"x" * FRAGMENT_BYTES)
    with pytest.raises(Malformed, match="announced"):
        reassembler.feed(announced)
    assert reassembler.held_bytes == 0


@pytest.mark.parametrize(
    "wrong",
    [
        Fragment(Channel.BLOB, None, True, b"x"),
        Fragment(Channel.BLOB, Opening(44, 0), True, b""),
        Fragment(Channel.BLOB, Opening(11, 5), True, b"votes"),
        Fragment(Channel.BLOB, Opening(9999, 5), True, b"what?"),
        Fragment(Channel.BLOB, Opening(44, 100), False, b"too short"),
        Fragment(Channel.BLOB, Opening(44, 5), False, b"whole"),
        Fragment(Channel.BLOB, Opening(44, 4), True, b"longer"),
    ],
)
def test_fragments_that_fit_nothing(wrong: Fragment) -> None:
    with pytest.raises(Malformed):
        Reassembler(anybody).feed(wrong)


def test_a_message_may_not_begin_inside_another() -> None:
    reassembler = Reassembler(anybody)
    first = Fragment(Channel.BLOB, Opening(44, 2 * FRAGMENT_BYTES), False, bytes(FRAGMENT_BYTES))
    reassembler.feed(first)
    with pytest.raises(Malformed):
        reassembler.feed(first)
