"""Residues: whoever recomputed has them, whoever guesses does not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from potminer.core.ledger.sketch import BORDER, FEWEST, differs
from potminer.train.bench import Bench
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.train.grid import PEAKS, snap_grid
from potminer.train.residue import FINER, PROBES, probes, residues
from potminer.train.shapes import parameters
from potminer.wire.model import Cnn, Logistic, Mlp, ModelSpec
from potminer.wire.residue import (
    LEAF_BYTES,
    LEAVES,
    LEVELS,
    PATH,
    SEGMENT_BYTES,
    VOID,
    leaf_holds,
    leaf_number,
    leaf_path,
    leaves_of,
    levels,
    residue_root,
)
from potminer.wire.task import AdamW, InnerSpec, Momentum, TaskSpec
from potminer.wire.trainer import Audited, AuditJob, Trained, TrainJob
from tests.unit.train_kit import MODEL, digits_task, go_on, local_task, unit

MOMENTUM = InnerSpec(Momentum(900_000_000), rate_nano=20_000_000)
ADAMW = InnerSpec(AdamW(), rate_nano=2_000_000)
CNN = Cnn(channels=1, height=8, width=8, filters=(8, 16), kernel=3, hidden=32, classes=10)


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


def bench(folder: Folder, *, threads: int = 1, kind: str | None = None) -> Bench:
    return Bench(folder, device="cpu", threads=threads, max_bytes=2**31, cheat=cheat(kind))


def train(folder: Folder, spec: TaskSpec) -> Trained:
    return bench(folder).train(TrainJob(1, spec, unit(), spec.initial_model), go_on)


def audit(worker: Bench, spec: TaskSpec, made: Trained, segment: int, leaf: int) -> Audited:
    before = made.snapshots[segment - 2] if segment > 1 else None
    job = AuditJob(2, spec, unit(), spec.initial_model, segment, before, made.snapshots[segment - 1], leaf)
    return worker.audit(job, go_on)


def committed(made: Trained, segment: int, leaf: int) -> bytes:
    return leaves_of(made.residues)[leaf_number(segment, leaf)]


# ---- who knows them ----------------------------------------------------------------------

TASKS = {
    "gradient": lambda folder: digits_task(folder, segments=4, batches=2, micro_batch=16),
    "gradient, cnn": lambda folder: digits_task(folder, model=CNN, segments=2, batches=2, micro_batch=16),
    "momentum, wan2": lambda folder: local_task(folder, MOMENTUM, compression="wan2"),
    "adamw, wan4": lambda folder: local_task(folder, ADAMW, compression="wan4"),
    "logistic": lambda folder: digits_task(folder, model=Logistic(64, 10), segments=2, batches=4, micro_batch=32),
}


@pytest.mark.parametrize("task", TASKS)
def test_who_recomputes_on_other_threads_agrees_and_who_guesses_never_does(tmp_path: Path, task: str) -> None:
    folder = Folder(tmp_path)
    spec = TASKS[task](folder)
    made = train(folder, spec)
    assert len(made.residues) == spec.segments * SEGMENT_BYTES
    honest, guessing = bench(folder, threads=2), bench(folder, kind="guess")
    torch.set_num_threads(2)
    for segment in range(1, spec.segments + 1):
        for leaf in (0, 17, 31):
            true, guessed = audit(honest, spec, made, segment, leaf), audit(guessing, spec, made, segment, leaf)
            bound = committed(made, segment, leaf)
            assert true.error_ppm <= spec.audit.tolerance_ppm
            assert guessed.error_ppm == 0
            assert not differs(true.sketch, bound)
            assert differs(guessed.sketch, bound)


def test_a_state_that_nobody_can_have_has_no_residues() -> None:
    state = np.linspace(1, 2, 1_000, dtype=np.float32)
    made = snap_grid(state, unit=unit(), segment=1)
    broken = np.full_like(state, np.nan)
    assert set(levels(residues(made, broken, np.zeros_like(state), np.arange(64)))) == {VOID}


# ---- ten thousand honest comparisons -----------------------------------------------------


@pytest.mark.parametrize(("bits", "noise"), [(8, 1e-6), (8, 1e-4), (8, 1e-3), (4, 1e-3), (2, 1e-3)])
def test_honest_noise_never_looks_like_a_guess(bits: int, noise: float) -> None:
    """2,000 leaves each: noise from what other kernels do (1e-6 of the segment's change) to a thousand times that,
    which an interval audit measures as hundreds of ppm."""
    chance = np.random.default_rng(bits)
    at, worst = np.arange(PROBES), 0.0
    for segment in range(1, 2_000 // LEAVES + 2):
        spread = np.repeat(np.exp(chance.normal(0, 1, PROBES // 256)), 256)
        before = (chance.standard_t(3, PROBES) * spread).astype(np.float32)
        change = chance.standard_t(3, PROBES) * spread
        reached = (before + change).astype(np.float32)
        other = (before + change + chance.normal(0, noise, PROBES) * spread).astype(np.float32)
        made = snap_grid(reached, unit=unit(), segment=segment, bits=bits)
        ours, theirs = (leaves_of(residues(made, state, before, at)) for state in (reached, other))
        assert not any(map(differs, ours, theirs))
        worst = max(worst, *(float(np.mean(_apart(a, b))) for a, b in zip(ours, theirs, strict=True)))
    assert worst < 1.5, "far from the border of 7/3"


def _apart(ours: bytes, theirs: bytes) -> list[int]:
    pairs = [(a, b) for a, b in zip(levels(ours), levels(theirs), strict=True) if not a == b == VOID]
    return [7 if VOID in pair else min(abs(pair[0] - pair[1]), LEVELS - abs(pair[0] - pair[1])) for pair in pairs]


# ---- guesses -----------------------------------------------------------------------------


def passing(counted: int) -> float:
    """Exactly how often uniform guesses pass where *counted* residues count."""
    single = np.array([1, *[2] * (LEVELS // 2)]) / LEVELS
    total = np.ones(1)
    for _ in range(counted):
        total = np.convolve(total, single)
    return float(total[: counted * BORDER[0] // BORDER[1] + 1].sum())


def test_a_blind_guess_passes_by_these_chances() -> None:
    table = {counted: passing(counted) for counted in (FEWEST, 64, 96, 128)}
    assert table[32] < 2e-4
    assert table[64] < 2e-7
    assert table[96] < 3e-10
    assert table[128] < 4e-13
    chance = np.random.default_rng(1)
    for _ in range(1_000):
        guess, truth = (chance.integers(0, LEVELS, (2, LEAF_BYTES)) for _ in range(2))
        assert differs(*(bytes((each[0] | each[1] << 4).astype(np.uint8)) for each in (guess, truth)))


def test_what_hardly_moved_is_void_and_saying_void_is_no_way_out() -> None:
    state = np.linspace(1, 2, 256, dtype=np.float32)
    made = snap_grid(state, unit=unit(), segment=1)
    at = np.arange(128)
    still = residues(made, state, state, at)
    moved = residues(made, state, np.zeros_like(state), at)
    assert set(levels(still)) == {VOID}
    assert VOID not in levels(moved)
    assert not differs(still, still), "nothing counts, nothing follows"
    assert differs(still, moved)
    assert differs(moved, still)


def test_too_few_residues_prove_nothing() -> None:
    def leaf(level: int, counted: int) -> bytes:
        return bytes([level | level << 4] * (counted // 2) + [255] * (LEAF_BYTES - counted // 2))

    assert differs(leaf(0, FEWEST), leaf(7, FEWEST))
    assert not differs(leaf(0, FEWEST - 2), leaf(7, FEWEST - 2))


# ---- layout ------------------------------------------------------------------------------


def test_a_residue_is_where_the_value_lay_on_its_circle() -> None:
    state = np.zeros(256, np.float32)
    state[0], state[1], state[2] = 100.0, 0.5 + 0.5 * 7.5 / 15, -0.5 * 0.5 / 15 - 1
    made = snap_grid(state, unit=unit(), segment=1)
    assert made.exponents[0] == 0
    packed = residues(made, state, np.zeros_like(state), np.array([0, 1, 2, 3]))
    assert levels(packed) == [0, 7, 14, VOID]


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_the_circle_follows_the_blocks_peak_whatever_the_width(bits: int) -> None:
    for peak in np.linspace(1, 2, 50):
        made = snap_grid(np.full(256, peak, np.float32), unit=unit(), segment=1, bits=bits)
        turns = peak / 2.0 ** (int(made.exponents[0]) - FINER[bits])
        assert PEAKS[bits] * 2 ** FINER[bits] / 2 < turns <= PEAKS[bits] * 2 ** FINER[bits]
        assert 112 <= turns <= 256


@pytest.mark.parametrize("model", [MODEL, CNN, Logistic(64, 10), Mlp(2, (), 2)])
def test_probes_come_from_every_tensor(model: ModelSpec) -> None:
    at, placed = probes(model, unit(), 1), parameters(model)
    assert at.shape == (PROBES,)
    assert not np.array_equal(at, probes(model, unit(), 2))
    assert not np.array_equal(at, probes(model, unit(1), 1))
    edges = [p.start for p in placed] + [placed[-1].stop]
    for leaf in at.reshape(LEAVES, -1):
        counts = [int(((leaf >= a) & (leaf < b)).sum()) for a, b in pairwise(edges)]
        assert sum(counts) == leaf.size
        assert min(counts) >= leaf.size // 2 // len(placed)


@pytest.mark.parametrize("segments", [1, 3, 64])
def test_every_leaf_proves_itself_in_its_own_place_only(segments: int) -> None:
    made = np.random.default_rng(segments).bytes(segments * SEGMENT_BYTES)
    root, leaves = residue_root(made), leaves_of(made)
    for segment, leaf in ((1, 0), (1, 31), (segments, 0), (segments, 17)):
        at = leaf_number(segment, leaf)
        siblings = leaf_path(made, at)
        assert len(siblings) <= PATH
        assert leaf_holds(root, leaves[at], siblings, number=at, segments=segments)
        assert not leaf_holds(root, leaves[at], siblings, number=at ^ 1, segments=segments)
        assert not leaf_holds(root, leaves[at][::-1], siblings, number=at, segments=segments)
        assert not leaf_holds(root, leaves[at], siblings[:-1], number=at, segments=segments)
        assert not leaf_holds(root, leaves[at], siblings, number=at, segments=segments + 1)
