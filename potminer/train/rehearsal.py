"""Work to measure a device with: three templates, and any task with made-up data in place of its own.

What a unit costs follows from the model, the batches and the shape of the samples, never from what they show: numbers
drawn from a fixed key do as well as pictures, and nothing has to be fetched. Needs no torch.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from potminer.train import tensors
from potminer.train.folder import Folder
from potminer.wire.model import Cnn, Gpt, Mlp, ModelSpec, outputs
from potminer.wire.task import (
    AdamW,
    AuditSpec,
    DataSpec,
    Deadlines,
    InnerSpec,
    Momentum,
    Objective,
    Reward,
    TaskSpec,
    Unit,
)

DATA_BYTES = 32 * 2**20
"""Of made-up samples, at most: more than any cache holds, and written in a moment."""
SAMPLES = 4_096
_KEY = 0x706F746D696E6572
_NONE = bytes(32)


def template(name: str) -> TaskSpec:
    """One of TEMPLATES, as ``rehearse`` takes it; KeyError where there is none of that name."""
    model, shape, objective, inner, batches, micro_batch = TEMPLATES[name]
    return TaskSpec(
        name=f"bench-{name}", model=model, data=DataSpec(_NONE, _NONE, SAMPLES, SAMPLES, shape), objective=objective,
        mode="local", initial_model=_NONE, rounds=1, units_per_trainer=1, segments=2, batches_per_segment=batches,
        micro_batch=micro_batch, outer_rate_nano=10**9, audit=AuditSpec(100_000, 1_000),
        deadlines=Deadlines(60_000, 60_000, 60_000, 60_000, 60_000), reward=Reward(1, 1), min_trainers=1,
        max_trainers=1, inner=inner,
    )


def rehearse(folder: Folder, spec: TaskSpec) -> TaskSpec:
    """*spec* with made-up data in *folder*, of the same shape and no more of it than a measurement touches."""
    count = max(1, min(SAMPLES, spec.data.train_samples, DATA_BYTES // (4 * prod(spec.data.shape))))
    drawn = np.random.Generator(np.random.Philox(key=_KEY))
    kinds = outputs(spec.model)
    made: dict[str, npt.NDArray[Any]]
    if spec.objective == "language":
        made = {"tokens": drawn.integers(0, kinds, count + prod(spec.data.shape), dtype=np.int64)}
    else:
        x = drawn.standard_normal((count, *spec.data.shape), dtype=np.float32)
        classes = spec.objective == "classification"
        y = drawn.integers(0, kinds, count, dtype=np.int64) if classes else x.reshape(count, -1)[:, :1].repeat(kinds, 1)
        made = {"x": x, "y": y}
    blob = folder.write(tensors.encode(made))
    data = replace(spec.data, train=blob, validation=blob, train_samples=count, validation_samples=count)
    return replace(spec, data=data)


def unit(number: int) -> Unit:
    """The *number*-th unit of a measurement: each has samples and a dither of its own."""
    return Unit(_NONE, 0, 0, 0, _NONE, number.to_bytes(32, "big"))


_Template = tuple[ModelSpec, tuple[int, ...], Objective, InnerSpec, int, int]
TEMPLATES: dict[str, _Template] = {
    "mlp": (Mlp(784, (256, 128), 10), (1, 28, 28), "classification", InnerSpec(Momentum()), 32, 64),
    "cnn": (Cnn(1, 28, 28, (32, 64), 5, 512, 10), (1, 28, 28), "classification", InnerSpec(Momentum()), 4, 64),
    "gpt": (Gpt(128, 128, 4, 4, 128), (128,), "language", InnerSpec(AdamW(), rate_nano=1_000_000), 8, 8),
}
"""Model, shape of a sample, objective, inner steps, batches of a segment, samples of a batch. What tasks of today's
network are like; a card that has room for more shows more with a task of its own."""
