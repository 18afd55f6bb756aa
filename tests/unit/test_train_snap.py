from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potminer.base.errors import Malformed
from potminer.train.refusal import Reason, Refused
from potminer.train.snap import (
    BLOCK,
    LEAST,
    MOST,
    PEAK,
    decode_snapshot,
    dithers,
    encode_snapshot,
    exponents_of,
    part_of,
    powers,
    snap,
    snapshot_bytes,
)
from tests.unit.train_kit import unit


def state_of(seed: int, count: int, power: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, 1, count) * np.exp2(power)
    return values.astype(np.float32)


states = st.builds(state_of, st.integers(0, 2**32), st.integers(1, 3 * BLOCK), st.integers(-118, 38))


@given(states, st.integers(1, 64))
def test_every_value_lies_in_the_interval_of_its_integer(state: np.ndarray, segment: int) -> None:
    made = snap(state, unit=unit(), segment=segment)
    for part, dither in dithers(unit(), segment, len(state)):
        scale = powers(part_of(made.exponents, part))
        low = (made.levels[part] - dither) * scale
        assert np.all(low <= state[part])
        assert np.all(state[part] < low + scale)


@given(states)
def test_an_exponent_is_the_least_that_holds_the_block(state: np.ndarray) -> None:
    exponents = exponents_of(state).astype(np.int32)
    padded = np.pad(np.abs(state.astype(np.float64)), (0, -len(state) % BLOCK)).reshape(-1, BLOCK).max(axis=1)
    assert np.all(padded <= PEAK * powers(exponents))
    assert np.all((padded > PEAK * powers(exponents - 1)) | (exponents == LEAST))


@given(states)
def test_integers_stay_within_their_bounds_and_survive_the_bytes(state: np.ndarray) -> None:
    made = snap(state, unit=unit(), segment=3)
    assert np.abs(made.levels.astype(int)).max() <= PEAK
    data = encode_snapshot(made, unit=unit(), segment=3)
    assert len(data) == snapshot_bytes(len(state))
    back = decode_snapshot(data, unit=unit(), segment=3, count=len(state))
    assert np.array_equal(back.values(), made.values())
    exact = made.levels * np.exp2(np.repeat(made.exponents, BLOCK)[: len(state)].astype(float))
    assert np.array_equal(back.values(), exact)


def test_the_dither_is_unbiased() -> None:
    state = np.full(BLOCK, 0.37, np.float32)
    state[0] = 126  # fixes the scale at 1
    mean = np.mean([snap(state, unit=unit(round=r), segment=1).levels[1:].mean() for r in range(100)])
    assert abs(mean - 0.37) < 0.012  # four standard errors of 25,500 draws


def test_units_and_segments_have_dithers_of_their_own() -> None:
    def first(slot: int, segment: int) -> np.ndarray:
        return next(dithers(unit(slot), segment, 64))[1]

    assert not np.array_equal(first(0, 1), first(0, 2))
    assert not np.array_equal(first(0, 1), first(1, 1))
    assert np.array_equal(first(0, 1), first(0, 1))


def test_chunks_join_without_a_seam() -> None:
    count = BLOCK * 4_096 + 301
    parts = list(dithers(unit(), 1, count))
    assert [part.stop - part.start for part, _ in parts] == [BLOCK * 4_096, 301]
    state = state_of(5, count, 0)
    assert np.abs(snap(state, unit=unit(), segment=1).values() - state).max() < 2 * np.abs(state).max() / PEAK


def test_the_bytes_are_the_same_for_ever() -> None:
    """A pinned vector: it changes only if numpy's Philox or our rule does, and either is a fork."""
    state = (np.arange(-300, 300) / 7).astype(np.float32)
    data = encode_snapshot(snap(state, unit=unit(), segment=2), unit=unit(), segment=2)
    assert sha256(data).hexdigest() == "84693169d223b4fc98204b0f2292f677c4b96ec8fa487fd598ebd4ac3385bc21"


def test_zeros_and_denormals_are_nothing() -> None:
    state = np.zeros(BLOCK, np.float32)
    state[3] = np.array(1, np.uint32).view(np.float32)
    made = snap(state, unit=unit(), segment=1)
    assert made.exponents.tolist() == [LEAST]
    assert not made.levels.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 127 * 2.0**MOST])
def test_a_state_out_of_range_has_diverged(bad: float) -> None:
    state = np.zeros(BLOCK + 1, np.float32)
    state[-1] = bad
    with pytest.raises(Refused) as refused:
        snap(state, unit=unit(), segment=1)
    assert refused.value.reason is Reason.DIVERGED


def test_bytes_that_are_no_snapshot_are_malformed() -> None:
    data = encode_snapshot(snap(state_of(1, 300, 0), unit=unit(), segment=1), unit=unit(), segment=1)
    high, low = (MOST + 1).to_bytes(2, "little"), (LEAST - 1).to_bytes(2, "little", signed=True)
    for bad in (
        b"",
        data[:-1],
        data + b"\0",
        bytes(32) + data[32:],
        data[:32] + high + data[34:],
        data[:34] + low + data[36:],
        data[:-1] + b"\x7f",
        data[:-1] + b"\x80",
    ):
        with pytest.raises(Malformed):
            decode_snapshot(bad, unit=unit(), segment=1, count=300)
    with pytest.raises(Malformed):
        decode_snapshot(data, unit=unit(), segment=2, count=300)
    with pytest.raises(Malformed):
        decode_snapshot(data, unit=unit(1), segment=1, count=300)
