"""A second moment that goes from round to round: how units' become one, what an audit sees of it, who may lie."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from potminer.base.errors import Malformed
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_slice, aggregate_updates, assemble, read_model
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.train.half import INFINITE, SMALLEST, Half
from potminer.train.moments import combined
from potminer.train.snap import Snapshot, decode_snapshot, encode_snapshot
from potminer.train.weights import encode_weights
from potminer.wire.model import Mlp, parameter_count
from potminer.wire.slice import excerpt_ranges, excerpt_size, part_size, slice_count, slice_span
from potminer.wire.task import (
    AdamW,
    Clipped,
    InnerSpec,
    Kept,
    Mean,
    TaskSpec,
    Trimmed,
    Unit,
    model_bytes,
    snapshot_size,
    spec_fault,
)
from potminer.wire.trainer import AggregateJob, AssembleJob, AuditJob, SliceJob, TrainJob
from potminer.wire.tx import Finding
from tests.unit.train_kit import go_on, local_task, unit

CARRIED = InnerSpec(AdamW(beta2_nano=990_000_000, carry=True), rate_nano=2_000_000)
NARROW = pytest.mark.parametrize("compression", ["lan", "wan2"])


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


def half(seed: int, count: int = 700, *, least: int = SMALLEST, most: int = INFINITE - 1) -> Half:
    """Half floats of every size, a tenth of them zero."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(least, most, count, endpoint=True).astype(np.uint16)
    levels[rng.random(count) < 0.1] = 0
    return Half(levels)


def number(level: int) -> Fraction:
    """What a level stands for, by the book."""
    if level == 0:
        return Fraction(0)
    power = (level >> 7) - 127
    return (1 + Fraction(level & 0x7F, 128)) * Fraction(2) ** power


# ---- many moments become one -------------------------------------------------------------


def test_the_mean_is_exact_where_the_units_are_within_a_billion_of_each_other() -> None:
    made = [half(seed, least=100 << 7, most=131 << 7) for seed in range(5)]
    found = combined(lambda: made, Mean())
    for at in range(0, 700, 7):
        mean = sum((number(int(one.levels[at])) for one in made), Fraction(0)) / 5
        assert found[at] == np.float32(float(mean))


def test_the_mean_cuts_off_what_is_nothing_beside_the_largest() -> None:
    small, large = Half(np.array([SMALLEST, 0], np.uint16)), Half(np.array([0x3F80, 0], np.uint16))
    assert combined(lambda: [small, large], Mean()).tolist() == [0.5, 0.0]
    most = Half(np.full(3, INFINITE - 1, np.uint16))
    assert combined(lambda: [most] * 4_096, Mean()).tobytes() == most.values().tobytes()


def test_the_order_of_units_and_the_cut_into_slices_change_no_bit() -> None:
    made = [half(seed) for seed in range(6)]
    for rule in (Mean(), Trimmed(), Clipped()):
        whole = combined(lambda: made, rule)
        assert combined(lambda: made[::-1], rule).tobytes() == whole.tobytes()
        pieces = [Half(one.levels[256:512]) for one in made]
        assert combined(lambda: pieces, rule).tobytes() == whole[256:512].tobytes()  # noqa: B023


def test_the_mean_is_the_same_for_ever() -> None:
    """Pinned: whoever changes a rounding forks the network."""
    data = combined(lambda: [half(seed) for seed in range(7)], Mean()).tobytes()
    assert sha256(data).hexdigest() == "0f57e9f53f36e2aef0b70023e682abde91c2f4f3f745ff1f53b13790e8a40eda"


def test_a_minority_cannot_steer_a_median() -> None:
    honest = [half(seed, least=100 << 7, most=110 << 7) for seed in range(3)]
    for bad in (INFINITE - 1, 0):
        found = combined(lambda: [*honest, *[Half(np.full(700, bad, np.uint16))] * 2], Trimmed())  # noqa: B023
        held = np.array([one.values() for one in honest])
        assert np.all(found >= held.min(axis=0))
        assert np.all(found <= held.max(axis=0))


# ---- rounds ------------------------------------------------------------------------------


class Round:
    """A round of a task whose units carry, and everything that is made of it."""

    def __init__(self, place: Path, *, kind: str | None = None, **changes: object) -> None:
        self.folder = Folder(place)
        self.spec: TaskSpec = local_task(self.folder, CARRIED, segments=2, **changes)
        self.trainer, self.auditor = self._bench(kind), self._bench(None)

    def _bench(self, kind: str | None) -> Bench:
        return Bench(self.folder, device="cpu", threads=1, max_bytes=2**33, cheat=cheat(kind))

    def train(self, base: bytes, of: Unit) -> tuple[bytes, ...]:
        return self.trainer.train(TrainJob(1, self.spec, of, base), go_on).snapshots

    def ended(self, number: int, base: bytes) -> tuple[list[Unit], list[bytes], bytes]:
        """Its units, their payloads, and the model they lead to."""
        units = [unit(slot, number) for slot in range(3)]
        payloads = [self.train(base, each)[-1] for each in units]
        model = aggregate_updates(
            self.folder, AggregateJob(1, self.spec, base, tuple(units), tuple(payloads)), go_on
        ).model
        assert model is not None
        return units, payloads, model

    def audit(self, base: bytes, of: Unit, snapshots: tuple[bytes, ...], segment: int) -> tuple[Finding, int]:
        before = snapshots[segment - 2] if segment > 1 else None
        job = AuditJob(1, self.spec, of, base, segment, before, snapshots[segment - 1], 0)
        found = self.auditor.audit(job, go_on)
        return found.finding, found.error_ppm

    def retold(self, of: Unit, blob: bytes, levels: np.ndarray[tuple[int], np.dtype[np.uint16]]) -> bytes:
        """The payload *blob* with another moment in it."""
        last = self.spec.segments
        made = self.payload(of, blob)
        return self.folder.write(
            encode_snapshot(Snapshot((made.vectors[0], Half(levels))), unit=of, segment=last)
        )

    def payload(self, of: Unit, blob: bytes) -> Snapshot:
        last = self.spec.segments
        data = self.folder.read(blob, size=snapshot_size(self.spec, last))
        return decode_snapshot(data, spec=self.spec, unit=of, segment=last)


@NARROW
def test_a_round_begins_where_the_last_one_ended(tmp_path: Path, compression: str) -> None:
    made = Round(tmp_path, compression=compression, outer_momentum_nano=600_000_000)
    models = [made.spec.initial_model]
    for round_number in range(3):
        units, payloads, model = made.ended(round_number, models[-1])
        models.append(model)
        moments = [made.payload(*each).moment.values() for each in zip(units, payloads, strict=True)]
        moment = read_model(made.folder, made.spec, model).moment
        assert moment is not None
        assert np.allclose(moment, np.mean(moments, axis=0), rtol=1e-6)
        assert made.folder.path(model).stat().st_size <= model_bytes(made.spec)
    first, *later = (read_model(made.folder, made.spec, model) for model in models)
    assert (first.beside, later[0].beside) == ((), tuple(Kept))
    # beta2 = 0.99: after 10, 20 and 30 steps about 10, 18 and 26 hundredths of a mean square
    sums = [float(model.moment.sum()) for model in later if model.moment is not None]
    assert all(newer > 1.2 * older for older, newer in pairwise(sums[:2]))


@NARROW
def test_honest_units_measure_nothing_and_a_lie_about_the_moment_is_out(tmp_path: Path, compression: str) -> None:
    made = Round(tmp_path, compression=compression, micro_batch=64)
    _, _, base = made.ended(0, made.spec.initial_model)
    of = unit(1, 1)
    snapshots = made.train(base, of)
    assert [made.audit(base, of, snapshots, segment) for segment in (1, 2)] == [(Finding.MEASURED, 0)] * 2
    levels = made.payload(of, snapshots[-1]).moment.levels
    for lie in (levels >> 1, np.where(levels > 0, levels + 0x10, 0), levels[::-1], np.zeros_like(levels)):
        told = made.retold(of, snapshots[-1], lie.astype(np.uint16))
        finding, error = made.audit(base, of, (snapshots[0], told), 2)
        assert finding is Finding.MEASURED
        assert error > 50_000
    for level in (0xBF80, INFINITE, 0x0001, 0x8000):
        broken = levels.copy()
        broken[3] = level
        told = made.retold(of, snapshots[-1], broken)
        assert made.audit(base, of, (snapshots[0], told), 2)[0] is Finding.MALFORMED


def test_who_begins_with_nothing_where_the_model_carries_is_out(tmp_path: Path) -> None:
    """The weights of the base without its moment: what a stale or thrifty trainer would begin with."""
    made = Round(tmp_path, micro_batch=64)
    _, _, base = made.ended(0, made.spec.initial_model)
    held = read_model(made.folder, made.spec, base)
    bare = made.folder.write(encode_weights(made.spec.model, held.weights))
    of = unit(2, 1)
    snapshots = made.train(bare, of)
    assert made.audit(base, of, snapshots, 1)[1] > 50_000
    assert made.audit(bare, of, snapshots, 1) == (Finding.MEASURED, 0)


def test_a_payload_with_a_moment_below_zero_is_left_out_of_the_round(tmp_path: Path) -> None:
    made = Round(tmp_path)
    units, payloads, _ = made.ended(0, made.spec.initial_model)
    levels = made.payload(units[1], payloads[1]).moment.levels.copy()
    levels[-1] = 0xBF80
    payloads[1] = made.retold(units[1], payloads[1], levels)
    job = AggregateJob(1, made.spec, made.spec.initial_model, tuple(units), tuple(payloads))
    report = aggregate_updates(made.folder, job, go_on)
    assert report.malformed == (1,)
    alone = AggregateJob(1, made.spec, made.spec.initial_model, (units[2], units[0]), (payloads[2], payloads[0]))
    assert report.model == aggregate_updates(made.folder, alone, go_on).model


def test_a_payload_without_the_moment_is_none_of_this_task(tmp_path: Path) -> None:
    made = Round(tmp_path)
    units, payloads, _ = made.ended(0, made.spec.initial_model)
    data = made.folder.read(payloads[0], size=snapshot_size(made.spec, 2))
    plain = msgspec.structs.replace(made.spec, inner=InnerSpec(AdamW()))
    assert len(data) - snapshot_size(plain, 2) == 2 * parameter_count(made.spec.model)
    with pytest.raises(Malformed):
        decode_snapshot(data[: snapshot_size(plain, 2)], spec=made.spec, unit=units[0], segment=2)


@pytest.mark.parametrize("rule", [Mean(), Trimmed(400_000)], ids=["mean", "trimmed"])
def test_slices_are_the_whole(tmp_path: Path, rule: Mean | Trimmed) -> None:
    made = Round(tmp_path, aggregation=rule, outer_momentum_nano=600_000_000, compression="wan4")
    _, _, base = made.ended(0, made.spec.initial_model)
    units, payloads, whole = made.ended(1, base)
    parts = []
    for index in range(2):
        excerpts = []
        for payload in payloads:
            data = made.folder.path(payload).read_bytes()
            excerpt = b"".join(data[first:last] for first, last in excerpt_ranges(made.spec, index, 2))
            assert len(excerpt) == excerpt_size(made.spec, index, 2)
            excerpts.append(made.folder.write(excerpt))
        job = SliceJob(1, made.spec, base, tuple(units), tuple(payloads), tuple(excerpts), index, 2)
        part = aggregate_slice(made.folder, job, go_on).part
        assert part is not None
        assert made.folder.path(part).stat().st_size == part_size(made.spec, index, 2)
        parts.append(part)
    assert assemble(made.folder, AssembleJob(1, made.spec, tuple(parts))).model == whole
    spans = [span for index in range(2) for span in excerpt_ranges(made.spec, index, 2)[1:]]
    assert sum(last - first for first, last in spans) == snapshot_size(made.spec, 2) - 32
    assert slice_span(made.spec, 0, 2)[1] == slice_span(made.spec, 1, 2)[0]
    assert slice_count(made.spec, units=3, members=4, whole_bytes=2**40) == 1


def test_robust_rules_hold_the_moments_too(tmp_path: Path) -> None:
    """Two bytes more of every number in memory: 2.8 thousand million updates fit where 8.4 do not."""
    folder = Folder(tmp_path)
    fits = local_task(
        folder, InnerSpec(AdamW()), model=Mlp(64, (14_500,), 10), aggregation=Trimmed(), units_per_trainer=64,
        max_trainers=40,
    )  # fmt: skip
    assert spec_fault(fits) == ""
    assert "more than 4 GiB" in spec_fault(msgspec.structs.replace(fits, inner=CARRIED))
