"""One unit of work: micro-batches accumulated, snapped after every segment, continued from the snap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from potminer.train.conduct import HONEST, Conduct
from potminer.train.data import Labels, Split
from potminer.train.model import build
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.samples import batch_indices
from potminer.train.shapes import parameter_count, parameters
from potminer.train.snap import Snapshot, snap
from potminer.train.weights import Floats
from potminer.wire.task import ModelSpec, TaskSpec, Unit

Keep = Callable[[int, Snapshot], None]
"""Given every segment's number and snapshot as it is made."""

LOSS_MOST = 2**53


@dataclass(slots=True)
class Engine:
    """A model on a device whose weights and gradient are two flat vectors."""

    model: ModelSpec
    device: str
    _weights: torch.Tensor = field(init=False)
    _gradient: torch.Tensor = field(init=False)
    _module: torch.nn.Module = field(init=False)

    def __post_init__(self) -> None:
        """The module's tensors become views of the flat vectors, so that backward adds into *_gradient* in place."""
        count = parameter_count(self.model)
        self._module = build(self.model, self.device)
        self._weights = torch.zeros(count, device=self.device)
        self._gradient = torch.zeros(count, device=self.device)
        named = dict(self._module.named_parameters())
        for place in parameters(self.model):
            tensor = named.pop(place.name)
            tensor.data = self._weights[place.start : place.stop].view(place.shape)
            tensor.grad = self._gradient[place.start : place.stop].view(place.shape)
        if named:
            raise AssertionError(f"shapes.py does not know {sorted(named)}")

    def load(self, flat: Floats) -> None:
        self._weights.copy_(torch.from_numpy(flat))

    def set_state(self, state: Floats) -> None:
        self._gradient.copy_(torch.from_numpy(state))

    def state(self) -> Floats:
        return np.array(self._gradient.cpu().numpy(), np.float32)

    def accumulate(self, x: Floats, y: Labels, *, scale: float) -> float:
        """Add *scale* times the mean gradient of a micro-batch to the state; its mean loss."""
        loss = cross_entropy(self._module(self._on_device(x)), torch.from_numpy(y).to(self.device))
        (loss * scale).backward()  # type: ignore[no-untyped-call]
        return float(loss.item())

    def logits(self, x: Floats) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = self._module(self._on_device(x)).cpu()
        return found

    def _on_device(self, x: Floats) -> torch.Tensor:
        return torch.from_numpy(x).to(self.device)


def run_segment(
    engine: Engine,
    split: Split,
    *,
    spec: TaskSpec,
    unit: Unit,
    segment: int,
    state: Floats,
    checkpoint: Checkpoint,
    conduct: Conduct = HONEST,
) -> tuple[Floats, float]:
    """State after *segment* (1 .. S) from the *state* before it, not yet snapped, and the sum of its losses.

    The state is the sum over the micro-batches so far of gradient / K, K = micro-batches of the unit.
    """
    engine.set_state(state)
    total = 0.0
    first = (segment - 1) * spec.batches_per_segment
    for batch in range(first, first + spec.batches_per_segment):
        weight = conduct.weight(batch)
        if weight:
            x, y = split.batch(batch_indices(spec, unit, batch))
            total += weight * engine.accumulate(x, conduct.labels(y), scale=weight / spec.batches_per_unit)
        checkpoint(batch + 1 - first, spec.batches_per_segment)
    return engine.state(), total


def train_unit(
    engine: Engine,
    split: Split,
    *,
    spec: TaskSpec,
    unit: Unit,
    keep: Keep,
    checkpoint: Checkpoint,
    conduct: Conduct = HONEST,
) -> int:
    """Compute *unit* at the engine's weights, hand every snapshot to *keep*; the mean loss in millionths."""
    state = np.zeros(parameter_count(spec.model), np.float32)
    total = 0.0
    for segment in range(1, spec.segments + 1):
        before = (segment - 1) * spec.batches_per_segment

        def seen(done: int, _: int, before: int = before) -> None:
            checkpoint(before + done, spec.batches_per_unit)

        reached, loss = run_segment(
            engine, split, spec=spec, unit=unit, segment=segment, state=state, checkpoint=seen, conduct=conduct
        )
        snapshot = snap(conduct.state(reached, state), unit=unit, segment=segment)
        keep(segment, snapshot)
        state = snapshot.values()
        total += loss
    return loss_micro(total / spec.batches_per_unit)


def loss_micro(loss: float) -> int:
    """A mean loss in millionths; Refused where it is no number."""
    if not math.isfinite(loss):
        raise Refused(Reason.DIVERGED, "the loss is infinite or not a number")
    return max(0, min(LOSS_MOST, round(loss * 1e6)))
