from __future__ import annotations

from fractions import Fraction
from hashlib import sha256
from itertools import permutations
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given
from hypothesis import strategies as st

from potminer.base.blobs import file_name
from potminer.train.aggregate import HEADROOM, aggregate
from potminer.train.bookwork import aggregate_updates, read_model
from potminer.train.folder import Folder
from potminer.train.grid import LEAST, PEAKS, Grid
from potminer.train.refusal import Reason, Refused
from potminer.train.snap import encode_snapshot, snap
from potminer.train.sums import add, moved, roomy_grid
from potminer.train.weights import Model, decode_model, encode_model, encode_weights
from potminer.wire.model import parameter_count
from potminer.wire.task import BLOCK, Kept, model_bytes
from potminer.wire.trainer import Aggregated, AggregateJob
from tests.unit.train_kit import digits_task, go_on, unit

COUNT = BLOCK + 44


def update(seed: int, *, exponents: tuple[int, int] | None = None) -> Grid:
    rng = np.random.default_rng(seed)
    chosen = rng.integers(-30, 0, 2) if exponents is None else np.array(exponents)
    return Grid(chosen.astype(np.int16), rng.integers(-126, 127, COUNT).astype(np.int8))


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=4))
def test_every_order_of_arrival_gives_the_same_bits(seeds: list[int]) -> None:
    base = Model(np.random.default_rng(0).normal(0, 1, COUNT).astype(np.float32))
    results = {
        aggregate(base, lambda order=order: [update(seed) for seed in order], rate_nano=10**9).weights.tobytes()
        for order in permutations(seeds)
    }
    assert len(results) == 1


def test_the_step_is_the_formula() -> None:
    """Against exact fractions: three roundings to float64 and one to float32 are all that differs."""
    base = np.random.default_rng(1).normal(0, 1, COUNT).astype(np.float32)
    updates = [update(seed) for seed in range(3)]
    found = aggregate(Model(base), lambda: updates, rate_nano=700_000_000).weights
    for at in (0, 17, BLOCK - 1, BLOCK, COUNT - 1):
        total = sum(int(u.levels[at]) * Fraction(2) ** int(u.exponents[at // BLOCK]) for u in updates)
        exact = Fraction(float(base[at])) - Fraction(7, 10) * total / 3
        assert abs(Fraction(float(found[at])) - exact) <= abs(exact) * Fraction(2) ** -23


@pytest.mark.parametrize("count", [1, BLOCK, 300 * BLOCK, 300 * BLOCK + 44])
def test_sums_of_doubles_are_the_sums_of_moved_integers(count: int) -> None:
    """On every distance from the largest exponent, with blocks of zeros, and in the cut that caches like."""
    rng = np.random.default_rng(count)
    size = -(-count // BLOCK)
    spread = [rng.integers(-60, 0, size), rng.integers(-8, 8, size), np.where(rng.integers(0, 2, size), LEAST, -3)]
    updates = [Grid(e.astype(np.int16), rng.integers(-126, 127, count).astype(np.int8)) for e in spread]
    grid, _ = roomy_grid(updates, headroom=HEADROOM)
    sums = np.zeros((size, BLOCK))
    for one in updates:
        add(sums, one, grid)
    assert np.array_equal(sums, sum(moved(one, grid, headroom=HEADROOM) for one in updates))


def test_integers_far_below_the_largest_are_rounded_alone() -> None:
    base = Model(np.zeros(COUNT, np.float32))
    large, small = update(1, exponents=(0, 0)), update(2, exponents=(-126, -41))
    found = aggregate(base, lambda: [large, small], rate_nano=10**9).weights
    assert np.array_equal(found[:BLOCK], (-large.levels[:BLOCK] / 2).astype(np.float32))


def test_extreme_exponents_do_not_overflow() -> None:
    base = Model(np.zeros(COUNT, np.float32))
    many = [update(seed, exponents=(40, -126)) for seed in range(40)]
    found = aggregate(base, lambda: many, rate_nano=1).weights
    assert np.all(np.isfinite(found))
    smallest = np.abs(found[found != 0]).min()
    assert smallest >= 2.0**-126


def test_tiny_results_are_plus_zero() -> None:
    tiny = Grid(np.array([-126], np.int16), np.ones(3, np.int8))
    found = aggregate(Model(np.zeros(3, np.float32)), lambda: [tiny], rate_nano=10**8).weights
    assert found.tobytes() == bytes(12)


def test_a_result_that_is_not_finite_stops() -> None:
    base = Model(np.full(COUNT, 3.0e38, np.float32))
    down = Grid(np.array([40, 40], np.int16), np.full(COUNT, -126, np.int8))
    with pytest.raises(Refused) as refused:
        aggregate(base, lambda: [down] * 2, rate_nano=10**36)
    assert refused.value.reason is Reason.DIVERGED
    assert np.all(np.isfinite(aggregate(base, lambda: [down], rate_nano=10**12).weights))


def job_of(folder: Folder, blobs: list[bytes]) -> AggregateJob:
    spec = digits_task(folder)
    units = tuple(unit(slot) for slot in range(len(blobs)))
    return AggregateJob(job=1, spec=spec, base=spec.initial_model, units=units, updates=tuple(blobs))


def payload(folder: Folder, slot: int, *, segment: int = 4) -> bytes:
    spec = digits_task(folder)
    state = np.random.default_rng(slot).normal(0, 0.1, parameter_count(spec.model))
    made = snap((state.astype(np.float32),), spec=spec, unit=unit(slot), segment=segment)
    return folder.write(encode_snapshot(made, unit=unit(slot), segment=segment))


def test_malformed_updates_are_left_out_and_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    good, copied = payload(folder, 0), payload(folder, 0)
    blobs = [good, copied, payload(folder, 2, segment=3), folder.write(b"no snapshot"), payload(folder, 4)]
    report = aggregate_updates(folder, job_of(folder, blobs), go_on)
    assert report.malformed == (1, 2, 3)
    two = AggregateJob(1, digits_task(folder), digits_task(folder).initial_model, (unit(4), unit(0)), (blobs[4], good))
    again = aggregate_updates(folder, two, go_on)
    assert again.model == report.model is not None


def test_nothing_left_gives_no_model(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    report = aggregate_updates(folder, job_of(folder, [folder.write(b"x")]), go_on)
    assert report == Aggregated(1, None, (0,), report.compute_us)


def test_a_blob_that_is_missing_or_damaged_here_is_nobodys_fault(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for damage in (False, True):
        blob = payload(folder, 0)
        path = tmp_path / file_name(blob)
        if damage:
            path.write_bytes(path.read_bytes()[:-1] + b"\x05")
        else:
            path.unlink()
        with pytest.raises(Refused) as refused:
            aggregate_updates(folder, job_of(folder, [blob]), go_on)
        assert refused.value.reason is Reason.MISSING_BLOB


def test_a_base_that_is_no_model_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    with pytest.raises(Refused) as refused:
        read_model(folder, spec, spec.data.train)
    assert refused.value.reason is Reason.BAD_WEIGHTS
    model = read_model(folder, spec, spec.initial_model)
    assert folder.write(encode_model(spec.model, model)) == spec.initial_model


# ---- Nesterov ----------------------------------------------------------------------------

NESTEROV = {"rate_nano": 700_000_000, "momentum_nano": 900_000_000}


def test_nesterovs_step_is_torchs(tmp_path: Path) -> None:
    """Three rounds against torch.optim.SGD(nesterov=True) in float64 with the same mean updates as gradients."""
    base = Model(np.random.default_rng(1).normal(0, 1, COUNT).astype(np.float32))
    weights = torch.nn.Parameter(torch.from_numpy(base.weights.astype(np.float64)))
    torchs = torch.optim.SGD([weights], lr=0.7, momentum=0.9, nesterov=True)
    model = base
    for round in range(3):
        updates = [update(10 * round + at, exponents=(-9, -12)) for at in range(3)]
        model = aggregate(model, lambda updates=updates: updates, **NESTEROV)
        weights.grad = torch.from_numpy(np.mean([u.values().astype(np.float64) for u in updates], axis=0))
        torchs.step()
    assert model.momentum is not None
    assert np.abs(model.weights - weights.detach().numpy()).max() < 1e-6
    assert np.abs(model.momentum - torchs.state[weights]["momentum_buffer"].numpy()).max() < 1e-6


def test_nesterovs_step_is_the_same_for_ever() -> None:
    """Pinned: whoever changes a rounding or an order of operations forks the network."""
    model = Model(np.linspace(-1, 1, COUNT).astype(np.float32))
    for round in range(3):
        updates = [Grid(u.exponents, u.levels) for u in (update(round), update(round + 50))]
        model = aggregate(model, lambda updates=updates: updates, **NESTEROV)
    assert model.momentum is not None
    data = model.weights.tobytes() + model.momentum.tobytes()
    assert sha256(data).hexdigest() == "952313bff89d819b4f5e796e05b65049f0821760bd9ecbad1b94826af5fc169e"


@pytest.mark.parametrize("bits", PEAKS)
def test_updates_of_every_width_are_summed_exactly(bits: int) -> None:
    base, peak = Model(np.zeros(COUNT, np.float32)), PEAKS[bits]
    rng = np.random.default_rng(bits)
    updates = [
        Grid(np.array([-3, -5], np.int16), rng.integers(-peak, peak + 1, COUNT).astype(np.int8), bits) for _ in range(4)
    ]
    found = aggregate(base, lambda: updates, rate_nano=10**9).weights
    assert np.array_equal(found, -np.sum([u.values() for u in updates], axis=0, dtype=np.float64).astype("f4") / 4)


def test_the_momentum_travels_with_the_model_and_comes_off(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    plain = digits_task(folder)
    spec = msgspec.structs.replace(plain, outer_momentum_nano=900_000_000)
    job = AggregateJob(1, spec, spec.initial_model, (unit(0),), (payload(folder, 0),))
    first = aggregate_updates(folder, job, go_on)
    assert first.model is not None
    second = aggregate_updates(folder, msgspec.structs.replace(job, base=first.model), go_on)
    assert second.model is not None
    assert folder.path(second.model).stat().st_size <= model_bytes(spec)
    model = read_model(folder, spec, second.model)
    assert model.momentum is not None
    assert np.array_equal(decode_model(spec.model, encode_weights(spec.model, model.weights)).weights, model.weights)
    loaded = safetensors.numpy.load_file(folder.path(second.model))
    assert np.array_equal(loaded["layers.0.bias"], model.weights[:32])
    assert np.array_equal(loaded[f"{Kept.MOMENTUM}layers.0.bias"], model.momentum[:32])
    with pytest.raises(Refused):  # a task without an outer momentum has no such models
        read_model(folder, plain, second.model)
