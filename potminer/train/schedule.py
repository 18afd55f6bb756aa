"""The inner learning rate at a step of the task."""

from __future__ import annotations

import math

from potminer.wire.task import InnerSpec, TaskSpec, Unit

_NANO = 1e-9


def rate_at(inner: InnerSpec, step: int) -> float:
    """Rate of step *step* (0 based): up to ``rate_nano`` in a line, down from it as a cosine."""
    if step < inner.warmup_steps:
        return inner.rate_nano * _NANO * (step + 1) / inner.warmup_steps
    if not inner.decay_steps:
        return inner.rate_nano * _NANO
    done = min(1.0, (step - inner.warmup_steps) / (inner.decay_steps - inner.warmup_steps))
    above = (inner.rate_nano - inner.least_rate_nano) * (1 + math.cos(math.pi * done)) / 2
    return (inner.least_rate_nano + above) * _NANO


def step_of(spec: TaskSpec, unit: Unit, batch: int) -> int:
    """Number of the inner step that micro-batch *batch* (0 based) of *unit* is, counted over the whole task."""
    return unit.round * spec.batches_per_unit + batch
