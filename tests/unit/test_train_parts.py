"""A micro-batch that memory has no room for is done in parts, and nobody can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from potminer.train.bench import Bench
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.train.refusal import Reason, Refused
from potminer.train.shapes import samples_that_fit, training_bytes
from potminer.wire.model import ModelSpec, ResNet
from potminer.wire.task import InnerSpec, Momentum, TaskSpec
from potminer.wire.trainer import AuditJob, TrainJob
from tests.unit.train_kit import MODEL, digits_task, go_on, local_task, unit


def bench(folder: Folder, room: int, **how: int) -> Bench:
    return Bench(folder, device="cpu", threads=1, max_bytes=room, cheat=cheat(None), **how)


@pytest.mark.parametrize("model", [MODEL, ResNet(1, 8, 8, 4, 2, 1, 10)], ids=["mlp", "resnet"])
@pytest.mark.parametrize("thrift", [1, 2, 10])
def test_work_done_in_parts_passes_the_audit_of_work_done_at_once(
    tmp_path: Path, model: ModelSpec, thrift: int
) -> None:
    folder = Folder(tmp_path)
    spec = local_task(folder, InnerSpec(Momentum()), model=model, batches=2)
    job = TrainJob(1, spec, unit(), spec.initial_model)
    made = bench(folder, 2**32, thrift=thrift).train(job, go_on)
    whole = bench(folder, 2**32)
    for segment in range(1, spec.segments + 1):
        before = made.snapshots[segment - 2] if segment > 1 else None
        audit = AuditJob(2, spec, unit(), spec.initial_model, segment, before, made.snapshots[segment - 1], 0)
        assert whole.audit(audit, go_on).error_ppm <= 10


def test_room_decides_how_many_samples_are_looked_at_together(tmp_path: Path) -> None:
    spec: TaskSpec = digits_task(Folder(tmp_path), micro_batch=64)
    needed = training_bytes(spec)
    assert samples_that_fit(spec, room=2**40) == samples_that_fit(spec, room=needed) == 64
    assert samples_that_fit(spec, room=needed - 1) == 63
    least = training_bytes(digits_task(Folder(tmp_path), micro_batch=1))
    assert samples_that_fit(spec, room=least) == 1
    assert samples_that_fit(spec, room=least - 1) == samples_that_fit(spec, room=0) == 0


def test_too_little_room_for_one_sample_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    least = training_bytes(digits_task(folder, micro_batch=1))
    job = TrainJob(1, spec, unit(), spec.initial_model)
    assert bench(folder, least).train(job, go_on).samples == spec.samples_per_unit
    with pytest.raises(Refused) as refused:
        bench(folder, least - 1).train(job, go_on)
    assert refused.value.reason is Reason.OUT_OF_MEMORY
