"""Robust aggregation: exact, without an order, and not to be steered by a minority."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import permutations
from pathlib import Path

import msgspec
import numpy as np
import pytest

from potminer.train import robust
from potminer.train.aggregate import aggregate
from potminer.train.bookwork import aggregate_updates
from potminer.train.folder import Folder
from potminer.train.grid import PEAKS, Grid, powers
from potminer.train.sums import Total
from potminer.train.weights import Model
from potminer.wire.task import BLOCK, Aggregation, Clipped, Mean, Trimmed, spec_fault
from potminer.wire.trainer import AggregateJob
from tests.unit.test_train_aggregate import payload
from tests.unit.train_kit import digits_task, go_on, unit

COUNT = 3 * BLOCK + 44
RULES: tuple[Aggregation, ...] = (Trimmed(200_000), Clipped(1, 1_000_000), Clipped(2, 1_500_000), Clipped(3, 500_000))


def near(seed: int, *, bits: int = 8, exponent: int = -9, scale: float = 1.0) -> Grid:
    """An update that resembles every other of these."""
    peak = PEAKS[bits]
    common = np.random.default_rng(0).normal(0, peak / 4, COUNT)
    own = np.random.default_rng(seed + 1).normal(0, peak / 16, COUNT)
    levels = np.clip(np.round(scale * (common + own)), -peak, peak).astype(np.int8)
    return Grid(np.full(4, exponent, np.int16), levels, bits)


def values(total: Total) -> np.ndarray:
    return (total.sums * powers(total.grid)[:, None] / total.divisor).reshape(-1)[:COUNT]


def exact(updates: list[Grid], at: int) -> list[Fraction]:
    return [int(u.levels[at]) * Fraction(2) ** int(u.exponents[at // BLOCK]) for u in updates]


def test_trimming_is_the_formula() -> None:
    updates = [near(seed, exponent=-9 - seed % 3) for seed in range(7)]
    found = values(robust.trimmed(updates, Trimmed(300_000)))
    for at in (0, 300, BLOCK - 1, BLOCK, COUNT - 1):
        kept = sorted(exact(updates, at))[2:-2]
        assert Fraction(float(found[at])) == pytest.approx(float(sum(kept) / len(kept)), rel=1e-15, abs=0)


def test_a_share_that_trims_nothing_is_the_mean() -> None:
    updates = [near(seed) for seed in range(4)]
    base = Model(np.zeros(COUNT, np.float32))
    plain, rule = (aggregate(base, lambda: updates, rate_nano=10**9, rule=rule) for rule in (Mean(), Trimmed(240_000)))
    assert plain.weights.tobytes() == rule.weights.tobytes()


def test_clipping_is_the_formula() -> None:
    """Buckets of one, so that no draw matters: against real numbers, within the 1,024ths of a factor."""
    updates = [near(seed) for seed in range(4)] + [near(9, scale=-3.0)]
    found = values(robust.clipped(updates, Clipped(1, 1_000_000), seed=b"seed"))
    told = np.array([u.values().astype(np.float64) for u in updates])
    middle = np.sort(told, axis=0)[2]
    distances = np.sqrt(((told - middle) ** 2).sum(axis=1))
    radius = np.sort(distances)[2]
    expected = middle + (np.minimum(1, radius / distances)[:, None] * (told - middle)).mean(axis=0)
    assert np.abs(found - expected).max() <= np.abs(told - middle).max() / robust.WHOLE
    assert np.linalg.norm(found - expected) <= 0.01 * np.linalg.norm(expected - middle)


def test_one_update_alone_is_itself() -> None:
    base = Model(np.zeros(COUNT, np.float32))
    for rule in RULES:
        found = aggregate(base, lambda: [near(3)], rate_nano=10**9, rule=rule)
        assert np.array_equal(found.weights, -near(3).values())


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_every_order_of_arrival_gives_the_same_model(tmp_path: Path, rule: Aggregation) -> None:
    folder = Folder(tmp_path)
    spec = msgspec.structs.replace(digits_task(folder), aggregation=rule)
    works = [(unit(slot), payload(folder, slot)) for slot in range(4)]
    models = set()
    for order in permutations(works):
        units, blobs = zip(*order, strict=True)
        models.add(aggregate_updates(folder, AggregateJob(1, spec, spec.initial_model, units, blobs), go_on).model)
    assert len(models) == 1


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_size_of_a_chunk_changes_nothing(rule: Aggregation) -> None:
    """The same values when every block is a chunk of its own and its neighbours are others."""
    updates = [near(seed) for seed in range(5)]
    base = Model(np.zeros(COUNT, np.float32))
    whole = aggregate(base, lambda: updates, rate_nano=10**9, rule=rule, seed=b"s").weights
    wide = [Grid(np.tile(u.exponents, 400), np.tile(np.resize(u.levels, 4 * BLOCK), 400)) for u in updates]
    many = aggregate(Model(np.zeros(1_600 * BLOCK, np.float32)), lambda: wide, rate_nano=10**9, rule=rule, seed=b"s")
    if isinstance(rule, Trimmed):
        assert np.array_equal(many.weights[:COUNT], whole)
    assert np.array_equal(many.weights[: 4 * BLOCK], many.weights[-4 * BLOCK :])


def test_an_update_beyond_the_room_is_held_at_its_end() -> None:
    updates = [near(seed, exponent=-9) for seed in range(4)] + [near(5, exponent=30)]
    total = robust.trimmed(updates, Trimmed(1))
    assert np.abs(total.sums).max() <= 12 * (126 * 2**robust.HEADROOM + 4 * 126 * 2**16)


@pytest.mark.parametrize("attack", [
    [near(77, scale=-4.0)] * 2,
    [Grid(np.full(4, 40, np.int16), np.full(COUNT, 126, np.int8))] * 2,
    [Grid(np.full(4, -126, np.int16), np.zeros(COUNT, np.int8))] * 2,
], ids=["signflip", "enormous", "nothing"])  # fmt: skip
@pytest.mark.parametrize("rule", RULES[:2], ids=str)
def test_two_of_ten_do_not_steer(rule: Aggregation, attack: list[Grid]) -> None:
    honest = [near(seed) for seed in range(8)]
    base = Model(np.zeros(COUNT, np.float32))

    def step(updates: list[Grid], rule: Aggregation) -> np.ndarray:
        return aggregate(base, lambda: updates, rate_nano=10**9, rule=rule, seed=b"s").weights

    wanted = step(honest, Mean())
    spread = np.linalg.norm([u.values() + wanted for u in honest], axis=1).mean()
    held = np.linalg.norm(step(honest + attack, rule) - wanted)
    bent = np.linalg.norm(step(honest + attack, Mean()) - wanted)
    assert held < spread
    assert held < bent


def test_numbers_at_their_limits_do_not_overflow() -> None:
    """The largest that may be added up, in 4,096 updates of one block."""
    most = [Grid(np.array([40], np.int16), np.full(BLOCK, 126 if at % 2 else -126, np.int8)) for at in range(4_096)]
    for rule in (Trimmed(1), Clipped(4, 100_000_000), Clipped(1, 1_000)):
        base = Model(np.zeros(BLOCK, np.float32))
        found = aggregate(base, lambda: most, rate_nano=10**9, rule=rule, seed=b"s").weights
        assert np.abs(found).max() <= 126 * 2.0**40
    assert robust.WHOLE * 12 * 4_096 * 2 * 126 * 2**robust.HEADROOM * 12 < 2**63
    assert math.log2(256 * (2 * 12 * 126 * 2 ** (robust.HEADROOM - 14)) ** 2) < 53


def test_a_round_too_large_to_hold_is_refused_at_submission(tmp_path: Path) -> None:
    spec = digits_task(Folder(tmp_path))
    wide = msgspec.structs.replace(spec.model, hidden=(16_384,))
    large = msgspec.structs.replace(spec, max_trainers=4_096, model=wide)
    assert spec_fault(large) == ""
    assert "robust" in spec_fault(msgspec.structs.replace(large, aggregation=Clipped()))
    assert spec_fault(msgspec.structs.replace(spec, aggregation=Clipped())) == ""
