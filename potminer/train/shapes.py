"""The parameters of a model, without torch: names, shapes, order and size.

Wherever parameters lie in one flat vector, they lie in the order of their names (by code
point), each in row-major order. Names are those of the torch modules' ``state_dict``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import assert_never

from potminer.train.refusal import Reason, Refused
from potminer.wire.task import Cnn, Mlp, ModelSpec, TaskSpec

MOST_PARAMETERS = 2**30
"""4 GiB of float32: larger models need sharding, which no rig of this network does."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor: *start* is its first element in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        return self.start + math.prod(self.shape)


def parameters(model: ModelSpec) -> tuple[Parameter, ...]:
    """Every parameter in flat order; Refused where the model cannot exist or is too large."""
    placed: list[Parameter] = []
    start = 0
    for name, shape in sorted(_shapes(model).items()):
        placed.append(Parameter(name, shape, start))
        start = placed[-1].stop
    if start > MOST_PARAMETERS:
        raise Refused(Reason.BAD_TASK, f"{start} parameters where at most {MOST_PARAMETERS} are carried")
    return tuple(placed)


def parameter_count(model: ModelSpec) -> int:
    return parameters(model)[-1].stop


def input_shape(model: ModelSpec) -> tuple[int, ...]:
    match model:
        case Mlp():
            return (model.inputs,)
        case Cnn():
            return (model.channels, model.height, model.width)
        case _:
            assert_never(model)


def check_data_fits(spec: TaskSpec) -> None:
    """An Mlp flattens its input; a Cnn takes it as it is."""
    wanted, given = input_shape(spec.model), spec.data.shape
    fits = math.prod(given) == math.prod(wanted) if isinstance(spec.model, Mlp) else given == wanted
    if not fits:
        raise Refused(Reason.BAD_TASK, f"samples of shape {given} do not fit a model of inputs {wanted}")


def training_bytes(spec: TaskSpec) -> int:
    """Rough memory of one unit: weights, gradient, copies of the state, and a micro-batch's activations twice."""
    activations = math.prod(spec.data.shape) + _activations(spec.model)
    return 24 * parameter_count(spec.model) + 8 * spec.micro_batch * activations


def _shapes(model: ModelSpec) -> dict[str, tuple[int, ...]]:
    match model:
        case Mlp():
            widths = (model.inputs, *model.hidden, model.classes)
            layers = enumerate(pairwise(widths))
            return {name: shape for at, pair in layers for name, shape in _linear(f"layers.{at}", *pair).items()}
        case Cnn():
            return _cnn_shapes(model)
        case _:
            assert_never(model)


def _cnn_shapes(model: Cnn) -> dict[str, tuple[int, ...]]:
    pooled = (model.height // 4) * (model.width // 4)
    if not pooled:
        raise Refused(Reason.BAD_TASK, "a Cnn halves height and width twice: both must be at least 4")
    first, second = model.filters
    kernel = (model.kernel, model.kernel)
    return {
        "conv1.weight": (first, model.channels, *kernel),
        "conv1.bias": (first,),
        "conv2.weight": (second, first, *kernel),
        "conv2.bias": (second,),
        **_linear("hidden", second * pooled, model.hidden),
        **_linear("output", model.hidden, model.classes),
    }


def _linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def _activations(model: ModelSpec) -> int:
    match model:
        case Mlp():
            return sum(model.hidden) + model.classes
        case Cnn():
            first, second = model.filters
            area = model.height * model.width
            return 2 * area * first + area * second // 2 + model.hidden + model.classes
        case _:
            assert_never(model)
