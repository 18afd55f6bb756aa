"""The form of a ``task.toml``: its sections and keys, what each may hold, and what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from potminer.base import limits
from potminer.base.errors import Malformed
from potminer.node.form import billionths, choice, integer, many, parsed, setting, text, yes_or_no
from potminer.wire.codec import decode, encode
from potminer.wire.model import (
    Average,
    Cnn,
    Convolution,
    Dense,
    Drop,
    Flatten,
    Gelu,
    Gpt,
    Halve,
    Layer,
    Layers,
    Logistic,
    Mlp,
    ModelSpec,
    Norm,
    Relu,
    ResNet,
)

_WIDTH = integer(1, 65_536)
_DURATION = integer(100, 24 * 3_600_000)
_PATH = text(4_000, what="a path")
_SHARE = billionths("0", "0.999999999")
_LAYERS: dict[str, tuple[type[Layer], int, int]] = {
    "dense": (Dense, 1, 1),
    "conv": (Convolution, 2, 3),
    "relu": (Relu, 0, 0),
    "gelu": (Gelu, 0, 0),
    "halve": (Halve, 0, 0),
    "average": (Average, 0, 0),
    "flatten": (Flatten, 0, 0),
    "norm": (Norm, 1, 1),
    "dropout": (Drop, 1, 1),
}
"""Layers by name, and how few and how many numbers follow."""


def parse_layer(said: str) -> Layer:
    """``conv 32 3``: filters, kernel and, where it is not 1, stride; ``dense 10``: outputs; ``norm 8``: groups;
    ``dropout 20``: per cent."""
    name, *numbers = said.split()
    if name not in _LAYERS:
        raise ValueError(f"must begin with one of {', '.join(_LAYERS)}")
    kind, least, most = _LAYERS[name]
    if not least <= len(numbers) <= most or not all(re.fullmatch(r"[1-9]\d{0,4}", number) for number in numbers):
        raise ValueError(f"must have {least}{f' or {most}' if most > least else ''} whole numbers after {name}")
    try:
        return decode(kind, encode(kind(*(int(number) for number in numbers))), max_bytes=limits.TASK_BYTES)
    except Malformed as error:
        raise ValueError(f"is out of bounds: {error}") from error


_LAYER = parsed(text(40, pattern=r"[a-z]+( \d+)*", what="a layer such as conv 32 3, relu or dense 10"), parse_layer)
OPTIMISERS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("momentum", "carry"),
    "adamw": ("beta1", "beta2", "epsilon", "weight_decay", "carry"),
}
"""Inner optimisers and the keys that only they have."""


AGGREGATIONS: dict[str, tuple[str, ...]] = {"mean": (), "trimmed": ("trim",), "clipped": ("bucket", "radius")}
"""Rules of aggregation and the keys that only they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSection:
    name: str = setting(
        text(64, pattern=r"[a-z0-9][a-z0-9._-]*", what="at most 64 of a-z, 0-9, . _ -, beginning with a-z or 0-9"),
        "what the task is called",
    )
    objective: Literal["classification", "regression", "language"] = setting(
        choice("classification", "regression", "language"), "what is learnt", default="classification"
    )
    mode: Literal["gradient", "local"] = setting(
        choice("gradient", "local"),
        "what a unit computes: the mean gradient of its samples, or where inner steps lead",
        default="gradient",
    )
    compression: Literal["lan", "wan4", "wan2"] = setting(
        choice("lan", "wan4", "wan2"), "bits of a number in an update: 8, 4 or 2", default="lan"
    )
    rounds: int = setting(integer(1, 1_000_000), "steps of the model")
    units_per_trainer: int = setting(integer(1, 64), "units of work that each trainer gets in a round", default=1)
    min_trainers: int = setting(integer(1, limits.TRAINERS_PER_TASK), "fewest trainers that a round opens with")
    max_trainers: int = setting(integer(1, limits.TRAINERS_PER_TASK), "most trainers that are paid in a round")


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSection:
    inputs: int = setting(_WIDTH, "numbers in a sample: the product of data.shape")
    hidden: tuple[int, ...] = setting(many(_WIDTH, most=16), "widths of the hidden layers", default=())
    classes: int = setting(_WIDTH, "classes to tell apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class CnnSection:
    channels: int = setting(_WIDTH, "channels of a sample")
    height: int = setting(_WIDTH, "height of a sample, in pixels")
    width: int = setting(_WIDTH, "width of a sample, in pixels")
    filters: tuple[int, ...] = setting(many(_WIDTH, least=2, most=2), "filters of the two convolutions")
    kernel: int = setting(integer(1, 15), "side of a convolution's kernel, in pixels")
    hidden: int = setting(_WIDTH, "width of the hidden layer")
    classes: int = setting(_WIDTH, "classes to tell apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticSection:
    inputs: int = setting(_WIDTH, "numbers in a sample: the product of data.shape")
    classes: int = setting(_WIDTH, "classes to tell apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetSection:
    channels: int = setting(_WIDTH, "channels of a sample")
    height: int = setting(_WIDTH, "height of a sample, in pixels")
    width: int = setting(_WIDTH, "width of a sample, in pixels")
    filters: int = setting(integer(1, 1_024), "filters of the first stage; the second has twice as many", default=16)
    groups: int = setting(integer(1, 1_024), "groups of channels that are normalised together", default=8)
    blocks: int = setting(integer(1, 32), "blocks in each of three stages: 3 makes ResNet-20", default=3)
    classes: int = setting(_WIDTH, "classes to tell apart")


@dataclass(frozen=True, slots=True, kw_only=True)
class GptSection:
    vocabulary: int = setting(_WIDTH, "tokens there are")
    context: int = setting(integer(1, 8_192), "tokens that are looked at together")
    layers: int = setting(integer(1, 64), "layers")
    heads: int = setting(integer(1, 64), "heads of a layer's attention")
    width: int = setting(integer(1, 8_192), "numbers that a token becomes")
    dropout_percent: int = setting(integer(0, 95), "how much falls out while it is trained, by unit", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersSection:
    inputs: tuple[int, ...] = setting(many(_WIDTH, least=1, most=3), "shape of a sample: the same as data.shape")
    layers: tuple[Layer, ...] = setting(many(_LAYER, least=1, most=64), "what the model does, one after the other")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSection:
    kind: str = setting(
        choice("mlp", "cnn", "logistic", "resnet", "gpt", "layers"),
        "architecture: mlp, cnn, logistic, resnet, gpt or layers",
    )
    seed: int = setting(integer(0, 2**63 - 1), "seed of the first weights", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSection:
    train: str = setting(
        _PATH,
        "safetensors file with x float32 [n, ...shape] and y: int64 [n], or float32 [n, outputs] for regression;"
        " for language with tokens uint8 or int64 [n]",
    )
    validation: str = setting(_PATH, "the same for samples that are never trained on")
    shape: tuple[int, ...] = setting(many(_WIDTH, least=1, most=4), "shape of one sample; for language the context")
    skew: int = setting(
        billionths("0", "1000"),
        "0: every trainer draws from all samples; else each has its own mixture of classes: Dirichlet's concentration",
        default=0,
    )
    mirror: bool = setting(yes_or_no(), "images are mirrored left to right, every second one", default=False)
    shift: int = setting(integer(0, 16), "images are moved by up to so many pixels", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSection:
    segments: int = setting(integer(1, limits.SEGMENTS), "pieces of a unit that can be audited", default=8)
    batches_per_segment: int = setting(integer(1, 4_096), "micro-batches in a segment", default=1)
    micro_batch: int = setting(integer(1, 65_536), "samples in a micro-batch")


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerSection:
    """Only for mode ``local``."""

    optimiser: str = setting(choice(*OPTIMISERS), "of the steps inside a unit", default="sgd")
    rate: int = setting(billionths("0.000000001", "1000"), "learning rate of an inner step", default=10_000_000)
    momentum: int = setting(_SHARE, "only of optimiser momentum", default=900_000_000)
    beta1: int = setting(_SHARE, "only of adamw: decay of the first moment", default=900_000_000)
    beta2: int = setting(_SHARE, "only of adamw: decay of the second moment", default=999_000_000)
    epsilon: int = setting(
        billionths("0.000000001", "1"),
        "only of adamw: added to the root; below a millionth honest machines differ",
        default=1_000,
    )
    weight_decay: int = setting(billionths("0", "1"), "only of adamw: of tensors with two dimensions", default=0)
    carry: bool = setting(
        yes_or_no(),
        "of momentum: a unit begins with the last round's, nothing more is sent; "
        "of adamw: with its second moment, two bytes more a weight",
        default=False,
    )
    warmup_steps: int = setting(integer(0, 2**32 - 1), "inner steps of the task until the rate is reached", default=0)
    decay_steps: int = setting(
        integer(0, 2**32 - 1), "inner step of the task at which the cosine ends; 0 keeps the rate", default=0
    )
    least_rate: int = setting(billionths("0", "1000"), "learning rate after the cosine", default=0)
    clip: int = setting(billionths("0", "1000"), "longest gradient (L2); 0 does not clip", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OuterSection:
    rate: int = setting(billionths("0.000000001", "1000"), "learning rate: theta - rate * mean update")
    momentum: int = setting(_SHARE, "Nesterov's; 0 is plain SGD", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregationSection:
    rule: str = setting(
        choice("mean", "trimmed", "clipped"),
        "how updates become one: mean; or, where a minority may be bad, trimmed or clipped",
        default="mean",
    )
    trim: int = setting(
        billionths("0.000001", "0.499999"), "only of trimmed: share left out at either end", default=200_000_000
    )
    bucket: int = setting(integer(1, 4), "only of clipped: updates averaged before they are compared", default=2)
    radius: int = setting(
        billionths("0.001", "100"), "only of clipped: of the median distance, how far is not too far",
        default=1_000_000_000,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSection:
    rate_ppm: int = setting(
        integer(30_000, 1_000_000), "share of the work that is audited once bonds are full, in ppm", default=30_000
    )
    tolerance_ppm: int = setting(
        integer(10, 20_000), "most relative error that calibration may allow a segment, in ppm", default=1_000
    )
    overlap: bool = setting(
        yes_or_no(), "the next round may train while this one is audited, where all trainers have a bond", default=False
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSection:
    every_rounds: int = setting(
        integer(0, 1_000_000), "rounds after which the model is scored on the validation split; 0 is never", default=0
    )
    evaluators: int = setting(integer(1, 7), "trainers that score it; each costs a tenth of a unit", default=3)
    target: int = setting(
        billionths("0", "1"), "score at which the task ends, 0.97 for 97 % right; 0 trains all rounds", default=0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinesSection:
    commit_ms: int = setting(_DURATION, "time to compute and commit, in ms", default=60_000)
    reveal_ms: int = setting(_DURATION, "time to reveal, in ms", default=20_000)
    audit_ms: int = setting(_DURATION, "time to audit, in ms", default=60_000)
    dispute_ms: int = setting(_DURATION, "time to settle a dispute, in ms", default=60_000)
    aggregate_ms: int = setting(_DURATION, "time to agree on the next model, in ms", default=60_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardSection:
    budget_pot: int = setting(billionths("0", "9000000000"), "escrowed at submission, in POT; the rest comes back")
    price_per_unit_pot: int = setting(billionths("0.000000001", "9000000"), "paid for an accepted unit, in POT")


SECTIONS: dict[str, type[Any]] = {
    "task": TaskSection,
    "model": ModelSection,
    "data": DataSection,
    "unit": UnitSection,
    "inner": InnerSection,
    "outer": OuterSection,
    "aggregation": AggregationSection,
    "audit": AuditSection,
    "evaluation": EvaluationSection,
    "deadlines": DeadlinesSection,
    "reward": RewardSection,
}
MODELS: dict[str, tuple[type[Any], type[ModelSpec]]] = {
    "mlp": (MlpSection, Mlp),
    "cnn": (CnnSection, Cnn),
    "logistic": (LogisticSection, Logistic),
    "resnet": (ResNetSection, ResNet),
    "gpt": (GptSection, Gpt),
    "layers": (LayersSection, Layers),
}
"""Form and architecture of every kind; they have the same keys."""
