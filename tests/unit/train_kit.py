"""What tests of the train room share: the digits task, its data in a blob folder, units, and a quiet torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from potminer.train.folder import Folder
from potminer.train.snap import Snapshot
from potminer.train.weights import encode_weights, initial_weights
from potminer.wire.model import Mlp, ModelSpec
from potminer.wire.task import AuditSpec, DataSpec, Deadlines, InnerSpec, Reward, TaskSpec, Unit

DIGITS = Path(__file__).parents[2] / "assets" / "digits"
MODEL = Mlp(64, (32,), 10)


def digits_task(
    folder: Folder,
    *,
    model: ModelSpec = MODEL,
    segments: int = 4,
    batches: int = 2,
    micro_batch: int = 16,
    **changes: Any,
) -> TaskSpec:
    data = DataSpec(
        train=folder.write((DIGITS / "train.safetensors").read_bytes()),
        validation=folder.write((DIGITS / "validation.safetensors").read_bytes()),
        train_samples=1_437,
        validation_samples=360,
        shape=(1, 8, 8),
    )
    spec = TaskSpec(
        name="digits",
        model=model,
        data=data,
        objective="classification",
        mode="gradient",
        initial_model=folder.write(encode_weights(model, initial_weights(model, seed=1))),
        rounds=12,
        units_per_trainer=2,
        segments=segments,
        batches_per_segment=batches,
        micro_batch=micro_batch,
        outer_rate_nano=2_000_000_000,
        audit=AuditSpec(rate_ppm=200_000, tolerance_ppm=1_000),
        deadlines=Deadlines(10_000, 10_000, 10_000, 10_000, 10_000),
        reward=Reward(budget=10**12, price_per_unit=10**9),
        min_trainers=1,
        max_trainers=8,
    )
    return msgspec.structs.replace(spec, **changes)


def local_task(folder: Folder, inner: InnerSpec, **changes: Any) -> TaskSpec:
    """The same in mode local: 4 segments of 5 steps of 16 samples."""
    return digits_task(folder, **{"batches": 5, "mode": "local", "outer_rate_nano": 10**9, "inner": inner, **changes})


def unit(slot: int = 0, round: int = 0) -> Unit:
    trainer = bytes([slot]) * 32
    return Unit(task=bytes(32), round=round, attempt=0, slot=slot, trainer=trainer, seed=b"s" * 32)


def go_on(done: int, total: int) -> None:
    """A checkpoint that lets everything pass."""


def keep_in(made: list[Snapshot]) -> Callable[[int, Snapshot, bytes], None]:
    return lambda segment, snapshot, residue: made.append(snapshot)
