from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from potminer.base.bounded import DeviceClass
from potminer.base.errors import UsageError
from potminer.train.audit import WORST_PPM, segment_error_ppm
from potminer.train.bench import Bench
from potminer.train.cheat import cheat
from potminer.train.conduct import Conduct, smallest_cheat
from potminer.train.device import device_class
from potminer.train.folder import Folder
from potminer.train.grid import Grid, snap_grid
from potminer.train.refusal import Reason, Refused
from potminer.train.snap import Snapshot
from potminer.train.weights import encode_weights, initial_weights
from potminer.wire.model import Cnn, ModelSpec
from potminer.wire.task import BLOCK, InnerSpec, Momentum, TaskSpec
from potminer.wire.trainer import Audited, AuditJob, TrainJob
from potminer.wire.tx import Finding
from tests.unit.train_kit import MODEL, digits_task, go_on, unit

CNN = Cnn(channels=1, height=8, width=8, filters=(8, 16), kernel=3, hidden=32, classes=10)
TOLERANCE = 1_000
ROOM = 2 * 1024**3


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


def bench(folder: Folder, *, threads: int = 1, kind: str | None = None, room: int = ROOM) -> Bench:
    return Bench(folder, device="cpu", threads=threads, max_bytes=room, cheat=cheat(kind))


def train(folder: Folder, spec: TaskSpec, kind: str | None = None, *, base: bytes | None = None) -> list[bytes]:
    worker = bench(folder, kind=kind)
    if kind == "stale":  # it has to see a model before the one it will not use
        worker.train(TrainJob(1, spec, unit(), other_model(folder, spec)), go_on)
    return list(worker.train(TrainJob(2, spec, unit(), base or spec.initial_model), go_on).snapshots)


def other_model(folder: Folder, spec: TaskSpec) -> bytes:
    return folder.write(encode_weights(spec.model, initial_weights(spec.model, seed=77)))


def audit(folder: Folder, spec: TaskSpec, made: list[bytes], segment: int, *, threads: int = 1) -> Audited:
    before = made[segment - 2] if segment > 1 else None
    job = AuditJob(3, spec, unit(), spec.initial_model, segment, before, made[segment - 1], 0)
    return bench(folder, threads=threads).audit(job, go_on)


@pytest.mark.parametrize("model", [MODEL, CNN])
@pytest.mark.parametrize("threads", [1, 2])
def test_honest_work_passes_on_other_threads(tmp_path: Path, model: ModelSpec, threads: int) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder, model=model)
    made = train(folder, spec)
    for segment in range(1, 5):
        report = audit(folder, spec, made, segment, threads=threads)
        assert report.finding is Finding.MEASURED
        assert report.error_ppm <= 5
        assert report.samples == 32


@pytest.mark.parametrize("kind", ["garbage", "signflip", "labelflip", "stale", "lazy-2"])
def test_every_cheat_is_far_beyond_tolerance_in_every_segment(tmp_path: Path, kind: str) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    made = train(folder, spec, kind)
    errors = [audit(folder, spec, made, segment) for segment in range(1, 5)]
    assert all(report.finding is Finding.MEASURED for report in errors)
    assert min(report.error_ppm for report in errors) > 20 * TOLERANCE


def test_a_lazy_trainer_is_caught_where_it_skipped(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    made = train(folder, spec, "lazy-4")
    assert min(audit(folder, spec, made, segment).error_ppm for segment in (2, 4)) > 100 * TOLERANCE


def test_one_sample_of_a_micro_batch_less_is_seen(tmp_path: Path) -> None:
    """The smallest cheat measured in research: one of 64 examples dropped."""
    folder = Folder(tmp_path)
    spec = digits_task(folder, segments=1, batches=1, micro_batch=64)
    short = msgspec.structs.replace(spec, micro_batch=63)
    made = train(folder, short)
    assert audit(folder, spec, made, 1).error_ppm > TOLERANCE


def test_snapshots_of_another_are_malformed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    made = train(folder, spec)
    for bad in ([made[1], made[1]], [made[0], made[2]], [made[0], folder.write(b"?")], [made[0], spec.data.train]):
        assert audit(folder, spec, bad, 2).finding is Finding.MALFORMED
    with pytest.raises(Refused) as refused:
        audit(folder, spec, [made[0], bytes(32)], 2)
    assert refused.value.reason is Reason.MISSING_BLOB


def test_an_audit_without_its_beginning_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    made = train(folder, spec)
    for segment, before in ((2, None), (1, made[0]), (5, made[3])):
        job = AuditJob(1, spec, unit(), spec.initial_model, segment, before, made[1], 0)
        with pytest.raises(Refused) as refused:
            bench(folder).audit(job, go_on)
        assert refused.value.reason is Reason.BAD_TASK


def test_a_task_larger_than_memory_is_refused_first(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    with pytest.raises(Refused) as refused:
        bench(folder, room=10_000).train(TrainJob(1, spec, unit(), spec.initial_model), go_on)
    assert refused.value.reason is Reason.OUT_OF_MEMORY


# ---- the measure itself ------------------------------------------------------------------

COUNT = 5 * BLOCK


def honest_state() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 1e-3, COUNT).astype(np.float32)


def error(claimed: Grid, recomputed: np.ndarray) -> int:
    before = np.zeros(COUNT, np.float32)
    return segment_error_ppm(
        claimed=Snapshot((claimed,)), recomputed=(recomputed,), before=(before,), unit=unit(), segment=1
    )


def with_exponents(made: Grid, by: int, levels: np.ndarray) -> Grid:
    return Grid((made.exponents + by).astype(np.int16), levels.astype(np.int8))


def test_noise_of_a_millionth_measures_as_almost_nothing() -> None:
    state = honest_state()
    noise = 1 + np.random.default_rng(4).normal(0, 1e-6, COUNT)
    assert error(snap_grid(state, unit=unit(), segment=1), (state * noise).astype(np.float32)) <= 1


def test_a_peak_at_the_boundary_of_two_scales_is_forgiven() -> None:
    state = honest_state()
    boundary = np.float32(126 * 2.0**-14)
    state[7] = boundary
    above = state.copy()
    above[7] = np.nextafter(boundary, np.float32(1))
    ours, theirs = snap_grid(state, unit=unit(), segment=1), snap_grid(above, unit=unit(), segment=1)
    assert ours.exponents[0] + 1 == theirs.exponents[0]
    assert error(ours, above) <= 1
    assert error(theirs, state) <= 1


@pytest.mark.parametrize("by", [-3, -1, 1, 2, 6, 30])
def test_intervals_of_another_width_count_whole_blocks(by: int) -> None:
    """Wide intervals contain anything, so they must not be allowed to."""
    state = honest_state()
    made = snap_grid(state, unit=unit(), segment=1)
    honest_levels = np.clip(np.floor(made.levels * 2.0**-by), -126, 126)
    assert error(with_exponents(made, by, honest_levels), state) >= 1_000_000


def test_a_quiet_block_hides_nothing() -> None:
    """A block whose honest change is zero, filled with large numbers, costs more than its own change."""
    state = honest_state()
    state[:BLOCK] = 0
    made = snap_grid(state, unit=unit(), segment=1)
    exponents, levels = made.exponents.copy(), made.levels.copy()
    exponents[0], levels[:BLOCK] = -5, 126
    assert error(Grid(exponents, levels), state) > 10**6


def test_states_that_nobody_can_have_are_the_worst() -> None:
    state = honest_state()
    made = snap_grid(state, unit=unit(), segment=1)
    broken = state.copy()
    broken[0] = np.nan
    assert error(made, broken) == WORST_PPM
    assert error(made, np.zeros(COUNT, np.float32)) == WORST_PPM
    still = snap_grid(np.zeros(COUNT, np.float32), unit=unit(), segment=1)
    assert error(still, np.zeros(COUNT, np.float32)) == 0


def test_cheats_have_names() -> None:
    for name in ("", "copy", "lazy", "lazy-1", "lazy-x", "lazy--3", "lazy-99999"):
        with pytest.raises(UsageError):
            cheat(name)


@pytest.mark.parametrize("compression", ["lan", "wan2"])
@pytest.mark.parametrize("mode", ["gradient", "local"])
def test_the_smallest_cheat_is_done_and_measured_where_it_is_asked_for(
    tmp_path: Path, mode: str, compression: str
) -> None:
    """One sample of a segment's 32 less. It is what a trainer that left it out would be found with."""
    folder = Folder(tmp_path)
    spec = digits_task(folder, model=MODEL, mode=mode, compression=compression)
    made = train(folder, spec)
    for segment in range(1, 5):
        before = made[segment - 2] if segment > 1 else None
        job = AuditJob(3, spec, unit(), spec.initial_model, segment, before, made[segment - 1], 0, calibrate=True)
        report = bench(folder).audit(job, go_on)
        assert report.error_ppm <= 5
        assert report.cheat_ppm > 100 * 10, "a tolerance of ten ppm is far from it"
        assert audit(folder, spec, made, segment).cheat_ppm == 0
        dropping = bench(folder)
        dropping._cheat.conduct = Conduct(drops=segment * spec.batches_per_segment - 1)
        short = list(dropping.train(TrainJob(2, spec, unit(), spec.initial_model), go_on).snapshots)
        if segment == 1:
            assert audit(folder, spec, short, 1).error_ppm == report.cheat_ppm


@pytest.mark.parametrize(
    ("batches", "micro_batch", "fewer"), [(1, 16, 1), (4, 32, 1), (5, 64, 3), (23, 64, 14), (400, 64, 63), (300, 1, 1)]
)
def test_the_smallest_cheat_saves_a_hundredth_of_its_segment_in_the_last_micro_batch(
    tmp_path: Path, batches: int, micro_batch: int, fewer: int
) -> None:
    spec = digits_task(Folder(tmp_path), model=MODEL, batches=batches, micro_batch=micro_batch)
    assert smallest_cheat(spec, 3) == Conduct(drops=3 * batches - 1, fewer=fewer)


def test_in_a_long_segment_the_smallest_cheat_measures_more_than_a_single_sample(tmp_path: Path) -> None:
    """A single one would hide in the last snapshot of a long walk, which holds no moments, and the task be refused."""
    folder = Folder(tmp_path)
    walk = InnerSpec(Momentum(900_000_000), rate_nano=20_000_000)
    spec = digits_task(folder, model=MODEL, batches=40, micro_batch=32, mode="local", inner=walk)
    made = train(folder, spec)
    job = AuditJob(3, spec, unit(), spec.initial_model, 4, made[2], made[3], 0, calibrate=True)
    report = bench(folder).audit(job, go_on)
    dropping = bench(folder)
    dropping._cheat.conduct = Conduct(drops=4 * 40 - 1)
    short = list(dropping.train(TrainJob(2, spec, unit(), spec.initial_model), go_on).snapshots)
    assert report.error_ppm <= 5
    assert report.cheat_ppm > 8 * audit(folder, spec, [*made[:3], short[3]], 4).error_ppm > 0


def test_a_device_class_is_short_and_says_how_the_device_rounds() -> None:
    name = device_class("cpu")
    assert name.startswith("cpu-")
    assert msgspec.convert(name, DeviceClass) == name
