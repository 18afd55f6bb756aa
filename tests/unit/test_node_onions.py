"""Onions that lie beside the key: the same as if they were made anew, and never another's."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from potminer.core.ledger.beacon import Onion
from potminer.node.onions import OwnOnions, onion_of
from potminer.wire.record import Validator
from tests.unit.ledger_world import key

KEY = key("validator")
FIRST = onion_of(KEY)


def registered(onion: Onion, following: Onion | None = None) -> Validator:
    return Validator(onion.outside, 1, next_onion=None if following is None else following.outside)


def test_kept_layers_make_the_same_onion() -> None:
    again = onion_of(KEY, kept=FIRST.kept)
    assert again.outside == FIRST.outside
    for revealed in (FIRST.outside, FIRST.kept[7]):
        assert again.inside(revealed) == FIRST.inside(revealed)
    with pytest.raises(AssertionError, match="of this size"):
        Onion(FIRST.kept[0], kept=FIRST.kept[:-1])


def test_the_file_is_private_and_read_at_the_next_start(tmp_path: Path) -> None:
    file = tmp_path / "node.key.onions"
    made = OwnOnions(KEY, registered(FIRST), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    written = file.stat().st_mtime_ns
    again = OwnOnions(KEY, registered(FIRST), file)
    assert file.stat().st_mtime_ns == written, "what is at hand is not made again"
    assert again.held.inside(FIRST.outside) == made.held.inside(FIRST.outside) == FIRST.inside(FIRST.outside)


@pytest.mark.parametrize("at", [0, 40, -1])
def test_a_damaged_file_is_made_anew(tmp_path: Path, at: int) -> None:
    file = tmp_path / "node.key.onions"
    OwnOnions(KEY, registered(FIRST), file)
    whole = file.read_bytes()
    damaged = bytearray(whole)
    damaged[at] ^= 1
    file.write_bytes(damaged)
    assert OwnOnions(KEY, registered(FIRST), file).held.holds(FIRST.outside)
    assert file.read_bytes() == whole
    file.write_bytes(whole[:-7])
    assert OwnOnions(KEY, registered(FIRST), file).held.holds(FIRST.outside)


def test_another_keys_file_is_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "node.key.onions"
    other = key("another")
    OwnOnions(other, None, file)
    own = OwnOnions(KEY, registered(FIRST), file)
    assert own.held.holds(FIRST.outside)
    assert not own.held.holds(onion_of(other).outside)


def test_the_next_onion_is_at_hand_after_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "node.key.onions"
    before = OwnOnions(KEY, registered(FIRST), file)
    second = asyncio.run(before.following(FIRST.outside))
    after = OwnOnions(KEY, registered(FIRST, second), file)
    assert after.held.holds(FIRST.outside)
    assert after.held.holds(second.outside)
    third = asyncio.run(after.following(second.outside))
    assert third.outside not in (FIRST.outside, second.outside)
    written = file.stat().st_mtime_ns
    moved = OwnOnions(KEY, registered(second, third), file)
    assert moved.held.holds(third.outside)
    assert file.stat().st_mtime_ns == written


def test_who_is_no_candidate_holds_its_first_whatever_is_at_hand(tmp_path: Path) -> None:
    file = tmp_path / "node.key.onions"
    before = OwnOnions(KEY, registered(FIRST), file)
    asyncio.run(before.following(FIRST.outside))
    assert OwnOnions(KEY, None, file).held.holds(FIRST.outside)


def test_a_folder_that_cannot_be_written_costs_the_next_start_its_hashing_and_no_more(tmp_path: Path) -> None:
    assert OwnOnions(KEY, registered(FIRST), tmp_path / "nowhere" / "node.key.onions").held.holds(FIRST.outside)
