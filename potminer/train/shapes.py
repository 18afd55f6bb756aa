"""Where a model's tensors lie in one flat vector, and what a unit of it needs, without torch.

Wherever parameters lie in one flat vector, they lie in the order of their names (by code
point), each in row-major order. What tensors there are is ``wire.model``'s to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from potminer.base.errors import Malformed
from potminer.train.refusal import Reason, Refused
from potminer.wire.model import First, ModelSpec, activations, parameter_count, tensors
from potminer.wire.task import TaskSpec, spec_fault, state_codings


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor: *start* is its first element in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int
    first: First
    depth: int

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)


def parameters(model: ModelSpec) -> tuple[Parameter, ...]:
    """Every parameter in flat order; Refused where the model cannot exist or is too large."""
    try:
        found = tensors(model)
    except Malformed as error:
        raise Refused(Reason.BAD_TASK, str(error)) from error
    placed: list[Parameter] = []
    start = 0
    for name, tensor in found:
        placed.append(Parameter(name, tensor.shape, start, tensor.first, tensor.depth))
        start = placed[-1].stop
    return tuple(placed)


def check_task(spec: TaskSpec) -> None:
    """Refused where the task contradicts itself: the ledger takes none of these, a job by pipe may be one."""
    fault = spec_fault(spec)
    if fault:
        raise Refused(Reason.BAD_TASK, fault)


def training_bytes(spec: TaskSpec) -> int:
    """Rough memory of one unit: weights and gradient, every vector of the state thrice, a micro-batch's activations."""
    return _standing_bytes(spec) + spec.micro_batch * _sample_bytes(spec)


def samples_that_fit(spec: TaskSpec, *, room: int) -> int:
    """How many samples of a micro-batch *room* bytes hold at once, at most all of them; 0 where not even one."""
    return max(0, min(spec.micro_batch, (room - _standing_bytes(spec)) // _sample_bytes(spec)))


def _standing_bytes(spec: TaskSpec) -> int:
    vectors = 3 + 3 * len(state_codings(spec))
    return 4 * vectors * parameter_count(spec.model)


def _sample_bytes(spec: TaskSpec) -> int:
    return 8 * (math.prod(spec.data.shape) + activations(spec.model))
