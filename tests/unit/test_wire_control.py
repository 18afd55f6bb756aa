"""Photographs and letters as JSON: strict where a face speaks, lenient where a newer node does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from potminer.base.errors import Malformed
from potminer.wire.control import (
    COMMAND_BYTES,
    Command,
    Drain,
    EarningsView,
    Mode,
    Pause,
    Resume,
    SetMode,
    SetPayout,
    UnitCounts,
    YieldNow,
    from_json,
    to_json,
)


@pytest.mark.parametrize(
    "letter",
    [
        Pause(), Pause("01:00.0", 5), Resume(), YieldNow("cpu"), SetPayout("pot1x"), Drain(), Drain("cpu"),
        SetMode(Mode.MINE, 60_000),
    ],
)
def test_letters_survive_json(letter: Command) -> None:
    assert from_json(Command, to_json(letter), max_bytes=COMMAND_BYTES) == letter


def test_letters_name_their_command_and_leave_out_what_was_not_said() -> None:
    assert to_json(Pause()) == b'{"command":"pause"}'
    assert to_json(SetMode(Mode.AUTO)) == b'{"command":"mode","mode":"auto"}'


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_anything_else_is_malformed(data: bytes | str) -> None:
    with pytest.raises(Malformed):
        from_json(Command, data, max_bytes=COMMAND_BYTES)


def test_the_size_is_checked_before_anything_is_parsed() -> None:
    with pytest.raises(Malformed, match="at most 18"):
        from_json(Command, b'{"command":"pause"}', max_bytes=18)


def test_a_face_ignores_what_a_newer_node_adds() -> None:
    data = b'{"today":1,"pending":2,"paid":3,"total":4,"burned":5}'
    assert from_json(EarningsView, data, max_bytes=100) == EarningsView(today=1, pending=2, paid=3, total=4)


def test_unit_counts_do_not_share_their_table() -> None:
    assert UnitCounts().rejected is not UnitCounts().rejected
