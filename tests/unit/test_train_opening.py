"""Momentum that goes from round to round: what a unit begins with follows from the mean of the last round's updates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_slice, aggregate_updates, assemble, read_model
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.train.opening import opening
from potminer.train.refusal import Refused
from potminer.train.schedule import rate_at
from potminer.train.snap import nothing_yet
from potminer.train.weights import Model, encode_model, encode_weights
from potminer.wire.model import parameter_count
from potminer.wire.slice import excerpt_ranges, part_size
from potminer.wire.task import (
    AdamW,
    InnerSpec,
    Kept,
    Mean,
    Momentum,
    TaskSpec,
    Trimmed,
    Unit,
    kept_beside,
    model_bytes,
    resumes,
    snapshot_size,
    spec_fault,
)
from potminer.wire.trainer import AggregateJob, AssembleJob, AuditJob, SliceJob, TrainJob
from potminer.wire.tx import Finding
from tests.unit.test_taskfile import LOCAL, load, mistakes, save_data
from tests.unit.train_kit import go_on, local_task, unit

CARRIED = InnerSpec(Momentum(carry=True), 20_000_000, warmup_steps=15, decay_steps=200, least_rate_nano=1_000_000)
PLAIN = msgspec.structs.replace(CARRIED, optimiser=Momentum())


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


class Round:
    """A round of a task whose units begin with the last one's momentum, and everything that is made of it."""

    def __init__(self, place: Path, **changes: object) -> None:
        self.folder = Folder(place)
        self.spec: TaskSpec = local_task(
            self.folder, CARRIED, **{"segments": 2, "micro_batch": 64, "compression": "wan4", **changes}
        )

    def bench(self, threads: int = 1) -> Bench:
        return Bench(self.folder, device="cpu", threads=threads, max_bytes=2**33, cheat=cheat(None))

    def train(self, base: bytes, of: Unit, *, threads: int = 1) -> tuple[bytes, ...]:
        return self.bench(threads).train(TrainJob(1, self.spec, of, base), go_on).snapshots

    def job(self, number: int, base: bytes) -> AggregateJob:
        units = tuple(unit(slot, number) for slot in range(3))
        return AggregateJob(1, self.spec, base, units, tuple(self.train(base, each)[-1] for each in units))

    def aggregated(self, job: AggregateJob) -> bytes:
        model = aggregate_updates(self.folder, job, go_on).model
        assert model is not None
        return model

    def ended(self, number: int, base: bytes) -> bytes:
        return self.aggregated(self.job(number, base))

    def audit(self, base: bytes, of: Unit, snapshots: tuple[bytes, ...], segment: int, *, threads: int = 1) -> int:
        before = snapshots[segment - 2] if segment > 1 else None
        job = AuditJob(1, self.spec, of, base, segment, before, snapshots[segment - 1], 0)
        found = self.bench(threads).audit(job, go_on)
        assert found.finding is Finding.MEASURED
        return found.error_ppm

    def held(self, blob: bytes) -> Model:
        return read_model(self.folder, self.spec, blob)


# ---- the number itself -------------------------------------------------------------------


def test_a_step_at_rest_moves_by_rate_times_momentum(tmp_path: Path) -> None:
    """Every step of the last round with the momentum m moves by m * (sum of its rates): m is found again."""
    spec = local_task(Folder(tmp_path), CARRIED, segments=2)
    was = np.linspace(-3, 3, parameter_count(spec.model), dtype=np.float32)
    rates = [rate_at(spec.inner, step) for step in range(20, 30)]
    moved = (was.astype(np.float64) * math.fsum(rates)).astype(np.float32)
    update, found = opening(spec, unit(round=3), moment=None, momentum=moved)
    assert np.allclose(found, was, rtol=3e-7)
    assert not update.any()
    slow = msgspec.structs.replace(spec, outer_momentum_nano=750_000_000)  # at rest four times the mean
    assert np.allclose(opening(slow, unit(round=3), moment=None, momentum=4 * moved)[1], was, rtol=3e-7)
    assert opening(spec, unit(1, 3), moment=None, momentum=moved)[1].tobytes() == found.tobytes()


def test_it_is_zero_where_there_is_no_round_to_look_back_on(tmp_path: Path) -> None:
    spec = local_task(Folder(tmp_path), CARRIED, segments=2)
    some = np.ones(parameter_count(spec.model), np.float32)
    still = msgspec.structs.replace(spec, inner=msgspec.structs.replace(CARRIED, decay_steps=20, least_rate_nano=0))
    plain = msgspec.structs.replace(spec, inner=PLAIN)
    for of, task, momentum in ((0, spec, some), (2, spec, None), (5, still, some), (2, plain, some)):
        state = opening(task, unit(round=of), moment=None, momentum=momentum)
        assert [each.tobytes() for each in state] == [each.tobytes() for each in nothing_yet(task)]


def test_what_is_no_normal_number_is_zero_or_refused(tmp_path: Path) -> None:
    spec = local_task(Folder(tmp_path), CARRIED, segments=2)
    small = np.full(parameter_count(spec.model), 2.0**-126, np.float32)
    slow = msgspec.structs.replace(spec, outer_momentum_nano=999_999_999)
    assert not opening(slow, unit(round=1), moment=None, momentum=small)[1].any()
    with pytest.raises(Refused):
        opening(spec, unit(round=1), moment=None, momentum=np.full_like(small, 3e38))


# ---- rounds ------------------------------------------------------------------------------


def test_a_round_begins_with_the_momentum_of_the_last_and_nothing_more_is_sent(tmp_path: Path) -> None:
    made = Round(tmp_path)
    plain = msgspec.structs.replace(made.spec, inner=PLAIN)
    assert [snapshot_size(made.spec, at) for at in (1, 2)] == [snapshot_size(plain, at) for at in (1, 2)]
    assert (kept_beside(made.spec), kept_beside(plain), spec_fault(made.spec)) == ((Kept.MOMENTUM,), (), "")
    first = made.job(0, made.spec.initial_model)
    base = made.aggregated(first)
    bare = aggregate_updates(made.folder, msgspec.structs.replace(first, spec=plain), go_on).model
    assert bare is not None
    held = made.held(base)
    assert held.weights.tobytes() == read_model(made.folder, plain, bare).weights.tobytes()
    assert held.momentum is not None
    gone = made.held(made.spec.initial_model).weights.astype(np.float64) - held.weights
    assert np.linalg.norm(held.momentum - gone) < 1e-5 * np.linalg.norm(gone)
    assert made.folder.path(base).stat().st_size <= model_bytes(made.spec)
    later = made.held(made.ended(1, base))
    assert later.momentum is not None  # ten steps from zero lead 0.41 as far as ten with momentum at rest
    assert np.linalg.norm(later.momentum) > 1.3 * np.linalg.norm(held.momentum)


@pytest.mark.parametrize("outer", [0, 600_000_000])
def test_honest_units_measure_nothing_and_who_begins_with_another_momentum_is_out(tmp_path: Path, outer: int) -> None:
    made = Round(tmp_path, outer_momentum_nano=outer)
    base = made.ended(1, made.ended(0, made.spec.initial_model))
    of, held = unit(1, 2), made.held(base)
    assert held.momentum is not None
    honest = made.train(base, of)
    assert made.train(base, of, threads=2) == honest
    assert [made.audit(base, of, honest, segment, threads=2) for segment in (1, 2)] == [0, 0]
    others = [None, -held.momentum, held.momentum[::-1].copy(), np.float32(1.05) * held.momentum]
    for momentum in others:
        lie = made.folder.write(encode_model(made.spec.model, Model(held.weights, momentum)))
        told = made.train(lie, of)
        assert made.audit(base, of, told, 1) > 10_000
        assert made.audit(lie, of, told, 1) == 0


def test_half_of_the_work_is_seen_in_every_segment_of_a_later_round(tmp_path: Path) -> None:
    """What was carried on moves the weights without any work: it must not hide that there was none."""
    made = Round(tmp_path)
    base, of = made.ended(0, made.spec.initial_model), unit(2, 1)
    lazy = Bench(made.folder, device="cpu", threads=1, max_bytes=2**33, cheat=cheat("lazy-2"))
    told = lazy.train(TrainJob(1, made.spec, of, base), go_on).snapshots
    assert all(made.audit(base, of, told, segment) > 50_000 for segment in (1, 2))


@pytest.mark.parametrize("rule", [Mean(), Trimmed(400_000)], ids=["mean", "trimmed"])
def test_slices_and_another_order_are_the_whole(tmp_path: Path, rule: Mean | Trimmed) -> None:
    made = Round(tmp_path, aggregation=rule, micro_batch=16)
    base = made.ended(0, made.spec.initial_model)
    job = made.job(1, base)
    whole = made.aggregated(job)
    turned = msgspec.structs.replace(job, units=job.units[::-1], updates=job.updates[::-1])
    assert made.aggregated(turned) == whole
    parts = []
    for index in range(2):
        excerpts = []
        for payload in job.updates:
            data = made.folder.path(payload).read_bytes()
            ranges = excerpt_ranges(made.spec, index, 2)
            excerpts.append(made.folder.write(b"".join(data[first:last] for first, last in ranges)))
        part = aggregate_slice(
            made.folder, SliceJob(1, made.spec, base, job.units, job.updates, tuple(excerpts), index, 2), go_on
        ).part
        assert part is not None
        assert made.folder.path(part).stat().st_size == part_size(made.spec, index, 2)
        parts.append(part)
    assert assemble(made.folder, AssembleJob(1, made.spec, tuple(parts))).model == whole


# ---- what it does not fit ----------------------------------------------------------------


def test_a_model_of_another_task_is_none(tmp_path: Path) -> None:
    made = Round(tmp_path, micro_batch=16)
    base, bare = made.ended(0, made.spec.initial_model), made.spec.initial_model
    plain = msgspec.structs.replace(made.spec, inner=PLAIN)
    with pytest.raises(Refused):
        read_model(made.folder, plain, base)
    torn = made.folder.write(made.folder.path(base).read_bytes()[:-4])
    with pytest.raises(Refused):
        read_model(made.folder, made.spec, torn)
    held = made.held(base)
    assert held.momentum is not None
    wild = held.momentum.copy()
    wild[0] = np.nan
    data = made.folder.path(base).read_bytes()
    with pytest.raises(Refused):
        made.held(made.folder.write(data[: -wild.nbytes] + wild.tobytes()))
    assert made.held(made.folder.write(encode_weights(made.spec.model, made.held(bare).weights))).momentum is None


def test_a_task_that_has_nothing_to_carry_is_refused(tmp_path: Path) -> None:
    spec = local_task(Folder(tmp_path), CARRIED)
    assert resumes(spec)
    nothing = msgspec.structs.replace(CARRIED, optimiser=Momentum(0, carry=True))
    assert "remembers nothing" in spec_fault(msgspec.structs.replace(spec, inner=nothing))
    assert "mode local" in spec_fault(msgspec.structs.replace(spec, mode="gradient"))
    for inner in (PLAIN, InnerSpec(AdamW(carry=True))):
        assert not resumes(msgspec.structs.replace(spec, inner=inner))


def test_a_task_file_says_so_and_is_told_what_is_wrong(tmp_path: Path) -> None:
    save_data(tmp_path)
    keys = 'optimiser = "momentum"\nmomentum = 0.8\ncarry = true\n'
    text = LOCAL[: LOCAL.index('optimiser = "adamw"')] + keys + LOCAL[LOCAL.index("warmup_steps") :]
    assert load(tmp_path, text).inner.optimiser == Momentum(800_000_000, carry=True)
    for old, new, reason in (
        ('"momentum"', '"sgd"', "inner.carry: is not a key of optimiser sgd"),
        ("momentum = 0.8", "momentum = 0", "inner.carry: a momentum of 0 remembers nothing"),
        ("carry = true", "carry = 1", "inner.carry: 1 must be"),
    ):
        assert any(reason in line for line in mistakes(tmp_path, text.replace(old, new)))
