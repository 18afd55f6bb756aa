from __future__ import annotations

from fractions import Fraction
from hashlib import sha256
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from potminer.base.errors import Malformed
from potminer.train.dither import dithers, half_words
from potminer.train.folder import Folder
from potminer.train.grid import (
    LEAST,
    MOST,
    PEAKS,
    decode_grid,
    encode_grid,
    exponents_of,
    part_of,
    powers,
    snap_grid,
)
from potminer.train.half import decode_half, intervals, snap_half
from potminer.train.refusal import Reason, Refused
from potminer.train.snap import decode_snapshot, encode_snapshot, nothing_yet, snap
from potminer.train.weights import flush
from potminer.wire.model import parameter_count
from potminer.wire.task import (
    BLOCK,
    AdamW,
    Coding,
    InnerSpec,
    coded_bytes,
    snapshot_bytes,
    snapshot_size,
    snapshot_tag,
)
from tests.unit.train_kit import digits_task, local_task, unit


def state_of(seed: int, count: int, power: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(0, 1, count) * np.exp2(power)
    return values.astype(np.float32)


widths = st.sampled_from(sorted(PEAKS))
states = st.builds(state_of, st.integers(0, 2**32), st.integers(1, 3 * BLOCK), st.integers(-118, 38))


@given(states, st.integers(1, 64), widths)
def test_every_value_lies_in_the_interval_of_its_integer(state: np.ndarray, segment: int, bits: int) -> None:
    made = snap_grid(state, unit=unit(), segment=segment, bits=bits)
    for part, dither in dithers(unit(), segment, len(state)):
        scale = powers(part_of(made.exponents, part))
        low = (made.levels[part] - dither) * scale
        assert np.all(low <= state[part])
        assert np.all(state[part] < low + scale)


@given(states, widths)
def test_an_exponent_is_the_least_that_holds_the_block(state: np.ndarray, bits: int) -> None:
    peak, exponents = PEAKS[bits], exponents_of(state, bits=bits).astype(np.int32)
    padded = np.pad(np.abs(state.astype(np.float64)), (0, -len(state) % BLOCK)).reshape(-1, BLOCK).max(axis=1)
    assert np.all(padded <= peak * powers(exponents))
    assert np.all((padded > peak * powers(exponents - 1)) | (exponents == LEAST))


@given(states, widths)
def test_integers_stay_within_their_bounds_and_survive_the_bytes(state: np.ndarray, bits: int) -> None:
    made = snap_grid(state, unit=unit(), segment=3, bits=bits)
    assert np.abs(made.levels.astype(int)).max() <= PEAKS[bits]
    data = encode_grid(made)
    assert len(data) == coded_bytes(Coding(f"int{bits}"), len(state))
    back = decode_grid(data, count=len(state), bits=bits)
    assert np.array_equal(back.values(), made.values())
    exact = made.levels * np.exp2(np.repeat(made.exponents, BLOCK)[: len(state)].astype(float))
    assert np.array_equal(back.values(), exact)


@pytest.mark.parametrize("bits", PEAKS)
def test_the_dither_is_unbiased(bits: int) -> None:
    state = np.full(BLOCK, 0.37, np.float32)
    state[0] = PEAKS[bits]  # fixes the scale at 1
    drawn = [snap_grid(state, unit=unit(round=r), segment=1, bits=bits).levels[1:].mean() for r in range(100)]
    assert abs(np.mean(drawn) - 0.37) < 0.012  # four standard errors of 25,500 draws


def test_units_and_segments_have_dithers_of_their_own() -> None:
    def first(slot: int, segment: int) -> np.ndarray:
        return next(dithers(unit(slot), segment, 64))[1]

    assert not np.array_equal(first(0, 1), first(0, 2))
    assert not np.array_equal(first(0, 1), first(1, 1))
    assert not np.array_equal(first(0, 1), next(dithers(unit(), 1, 64, vector=1))[1])
    assert np.array_equal(first(0, 1), first(0, 1))


def test_chunks_join_without_a_seam() -> None:
    count = BLOCK * 256 + 301
    parts = list(dithers(unit(), 1, count))
    assert [part.stop - part.start for part, _ in parts] == [BLOCK * 256, 301]
    state = state_of(5, count, 0)
    assert np.abs(snap_grid(state, unit=unit(), segment=1).values() - state).max() < 2 * np.abs(state).max() / PEAKS[8]


def test_the_bytes_are_the_same_for_ever() -> None:
    """A pinned vector: it changes only if numpy's Philox or our rule does, and either is a fork."""
    state = (np.arange(-300, 300) / 7).astype(np.float32)
    data = snapshot_tag(unit(), 2) + encode_grid(snap_grid(state, unit=unit(), segment=2))
    assert sha256(data).hexdigest() == "84693169d223b4fc98204b0f2292f677c4b96ec8fa487fd598ebd4ac3385bc21"


def test_zeros_and_denormals_are_nothing() -> None:
    state = np.zeros(BLOCK, np.float32)
    state[3] = np.array(1, np.uint32).view(np.float32)
    made = snap_grid(state, unit=unit(), segment=1)
    assert made.exponents.tolist() == [LEAST]
    assert not made.levels.any()


@pytest.mark.parametrize("bits", PEAKS)
def test_quick_integers_are_what_the_formula_says_in_exact_arithmetic(bits: int) -> None:
    """Blocks on both sides of what quick arithmetic can do, with neighbours of whole numbers and the tiniest there
    are, and zeros of both signs."""
    rng = np.random.default_rng(5)
    tops = np.array([2.0**power for power in (-126, -110, -97, -96, -95, -3, 0, 7, 24, 25, 30, 31, 39)])
    state = (rng.uniform(-1, 1, (len(tops), BLOCK)) * 0.99 * tops[:, None]).astype(np.float32)
    state[:, 0] = tops
    state[:, 1:9] = [-(2.0**-126), 2.0**-126, 0.0, -0.0, 1e-30, -1e-30, -1e-12, 1e-12]
    whole = tops[:, None] / 64 * np.array([1, -1, 3, -3])
    state[:, 9:13] = whole
    state[:, 13:17] = np.nextafter(whole.astype(np.float32), np.float32(0))
    flat = np.concatenate([state.reshape(-1), np.zeros(BLOCK, np.float32), state[5, :77]]).astype(np.float32)
    made = snap_grid(flat, unit=unit(), segment=2, bits=bits)
    words = np.concatenate([found for _, found in half_words(unit(), 2, len(flat))])
    for value, level, word, at in zip(flat, made.levels, words, range(len(flat)), strict=True):
        scaled = Fraction(float(value)) / Fraction(2) ** int(made.exponents[at // BLOCK])
        assert level == floor(scaled + Fraction(int(word) >> 8, 2**24)), (at, value)


def test_a_denormal_or_a_zero_without_a_sign_changes_nothing_in_any_chunk() -> None:
    state = np.random.default_rng(6).normal(size=3 * 2**16).astype(np.float32)
    state[2**16 + 5] = 0
    plain = snap_grid(state, unit=unit(), segment=1)
    for small in (-0.0, 1e-40, -1e-45):
        state[2**16 + 5] = small
        again = snap_grid(state, unit=unit(), segment=1)
        assert np.array_equal(again.levels, plain.levels)
        assert np.array_equal(again.exponents, plain.exponents)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 127 * 2.0**MOST])
def test_a_state_out_of_range_has_diverged(bad: float) -> None:
    state = np.zeros(BLOCK + 1, np.float32)
    state[-1] = bad
    with pytest.raises(Refused) as refused:
        snap_grid(state, unit=unit(), segment=1)
    assert refused.value.reason is Reason.DIVERGED


@pytest.mark.parametrize("bits", PEAKS)
def test_bytes_that_are_no_grid_are_malformed(bits: int) -> None:
    data = encode_grid(snap_grid(state_of(1, 301, 0), unit=unit(), segment=1, bits=bits))
    high, low = (MOST + 1).to_bytes(2, "little"), (LEAST - 1).to_bytes(2, "little", signed=True)
    least = {8: b"\x80", 4: b"\x08", 2: b"\x02"}[bits]  # -128, -8, -2: one more than the least there is
    for bad in (high + data[2:], data[:2] + low + data[4:], data[:-1] + least):
        with pytest.raises(Malformed):
            decode_grid(bad, count=301, bits=bits)
    if bits < 8:
        behind = bytes([data[-1] | 1 << bits])
        with pytest.raises(Malformed, match="more than its last"):
            decode_grid(data[:-1] + behind, count=301, bits=bits)


def test_bytes_that_are_no_snapshot_are_malformed(tmp_path: Path) -> None:
    for spec in (digits_task(Folder(tmp_path)), local_task(Folder(tmp_path), InnerSpec(AdamW()), compression="wan2")):
        state = tuple(np.abs(state_of(at, parameter_count(spec.model), 0)) for at in range(len(nothing_yet(spec))))
        for segment in (1, spec.segments):
            data = encode_snapshot(snap(state, spec=spec, unit=unit(), segment=segment), unit=unit(), segment=segment)
            assert len(data) == snapshot_size(spec, segment) <= snapshot_bytes(spec)
            decode_snapshot(data, spec=spec, unit=unit(), segment=segment)
            for bad in (b"", data[:-1], data + b"\0", bytes(32) + data[32:]):
                with pytest.raises(Malformed):
                    decode_snapshot(bad, spec=spec, unit=unit(), segment=segment)
            for other, number in ((unit(1), segment), (unit(), segment + 1), (unit(), segment % spec.segments + 1)):
                with pytest.raises(Malformed):
                    decode_snapshot(data, spec=spec, unit=other, segment=number)


# ---- sixteen bits ------------------------------------------------------------------------


@given(states)
def test_every_value_lies_in_the_interval_of_its_half_float(state: np.ndarray) -> None:
    state = flush(state)
    made = snap_half(state, unit=unit(), segment=2, vector=1)
    for part, words in half_words(unit(), 2, len(state), vector=1):
        low, high = intervals(made.magnitudes()[part], words)
        size = np.abs(state[part])
        assert np.all((low <= size) & (size < high))
    values = made.values()
    assert np.all(np.abs(values - state) <= np.abs(state) * 2.0**-7)
    assert np.all(np.signbit(values) == np.signbit(state))
    assert np.array_equal(decode_half(made.levels.astype("<u2").tobytes()).values(), values)


def test_the_half_float_is_unbiased() -> None:
    state = np.full(1_000, 1.7e-9, np.float32) * np.where(np.arange(1_000) % 2, 1, -1).astype(np.float32)
    drawn = [(snap_half(state, unit=unit(round=r), segment=1, vector=2).values() / state).mean() for r in range(20)]
    assert abs(np.mean(drawn) - 1) < 1e-4  # four standard errors of 20,000 draws


def test_half_floats_are_the_same_for_ever() -> None:
    step = np.arange(-300, 300) / 7
    state = (step * step * step * 1e-9).astype(np.float32)
    data = snap_half(state, unit=unit(), segment=2, vector=1).levels.astype("<u2").tobytes()
    assert sha256(data).hexdigest() == "da38c004ce418e458bbd61149278210e32403858e7913ab22559d24972b8fc77"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, np.finfo(np.float32).max])
def test_a_half_float_out_of_range_has_diverged(bad: float) -> None:
    with pytest.raises(Refused) as refused:
        snap_half(np.array([0, bad] * 300, np.float32), unit=unit(), segment=1, vector=1)
    assert refused.value.reason is Reason.DIVERGED


def test_zeros_and_denormals_are_no_half_floats() -> None:
    state = np.array([0x0000_0000, 0x8000_0000, 0x0000_0001, 0x807F_FFFF], np.uint32).view(np.float32)
    assert not snap_half(state, unit=unit(), segment=1, vector=1).levels.any()


@pytest.mark.parametrize("level", [0x7F80, 0xFF80, 0x7FC0, 0x0001, 0x007F, 0x8000, 0x8001])
def test_bytes_that_are_no_half_floats_are_malformed(level: int) -> None:
    with pytest.raises(Malformed):
        decode_half(level.to_bytes(2, "little"))
