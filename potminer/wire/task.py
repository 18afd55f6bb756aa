"""A task: data, never code. What a requester orders and everybody trains.

Every number is an integer: learning rate in units of 1e-9, money in grains, errors in ppm.
"""

from __future__ import annotations

from enum import StrEnum
from math import prod
from typing import Annotated, Literal

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U32, BlobId, Grains, Hash, Name
from potminer.base.digest import Domain, digest
from potminer.base.errors import Malformed
from potminer.wire.codec import Wire, encode
from potminer.wire.model import Gpt, Logistic, ModelSpec, Width, outputs, parameter_count, takes, tensors

Duration = Annotated[int, Meta(ge=100, le=24 * 3_600_000)]
Share = Annotated[int, Meta(ge=0, lt=10**9)]
"""Below one, in 1e-9."""


Objective = Literal["classification", "regression", "language"]


class DataSpec(Wire, frozen=True):
    """Two safetensors blobs, each with ``x`` float32 [n, *shape] and ``y``: int64 [n] for the objective
    ``classification``, float32 [n, outputs] for ``regression``.

    For ``language`` each has ``tokens``, uint8 or int64 [n + context], and *shape* is [context]: sample i is the
    tokens from i on, and what is learnt is the next one at every place.
    """

    train: BlobId
    validation: BlobId
    train_samples: Annotated[int, Meta(ge=1, le=2**31)]
    validation_samples: Annotated[int, Meta(ge=1, le=2**31)]
    shape: Annotated[tuple[Width, ...], Meta(min_length=1, max_length=4)]


class Deadlines(Wire, frozen=True):
    """How long each phase of a round may last, in milliseconds of block time."""

    commit_ms: Duration
    reveal_ms: Duration
    audit_ms: Duration
    dispute_ms: Duration
    aggregate_ms: Duration


class AuditSpec(Wire, frozen=True):
    """How the work is checked. *rate_ppm* is the least share of units audited, *tolerance_ppm* the
    most relative L2 error of a segment that calibration may allow. *overlap*: the next round may train while
    this one is audited."""

    rate_ppm: Annotated[int, Meta(ge=30_000, le=1_000_000)]
    tolerance_ppm: Annotated[int, Meta(ge=10, le=20_000)]
    overlap: bool = False


class Reward(Wire, frozen=True):
    """*budget* is escrowed at submission; every accepted unit takes *price_per_unit* from it."""

    budget: Grains
    price_per_unit: Annotated[int, Meta(ge=1, le=2**53)]


class Sgd(Wire, frozen=True, tag="sgd"):
    """w - rate * gradient."""


class Momentum(Wire, frozen=True, tag="momentum"):
    """m = momentum * m + gradient; w - rate * m.

    *carry*: m does not begin at zero in every unit, but where the mean of the last round's updates shows that it was.
    Nothing travels for it but that mean, beside the next model's weights.
    """

    momentum_nano: Share = 900_000_000
    carry: bool = False


class AdamW(Wire, frozen=True, tag="adamw"):
    """Loshchilov and Hutter 2019, with bias correction. Weights of one dimension do not decay.

    The first step of a unit divides each gradient by its own size: where that is rounding error, machines differ by
    whole steps. *epsilon_nano* has to stand above it, so its usual value is a hundred times torch's.

    *carry*: the second moment does not begin at zero in every unit, but where the last round's ended: it travels in
    the payload behind the update, and the round's combined one with the model.
    """

    beta1_nano: Share = 900_000_000
    beta2_nano: Share = 999_000_000
    epsilon_nano: Annotated[int, Meta(ge=1, le=10**9)] = 1_000
    decay_nano: Annotated[int, Meta(ge=0, le=10**9)] = 0
    carry: bool = False


class InnerSpec(Wire, frozen=True):
    """The steps inside a unit of mode ``local``. All rates in 1e-9.

    Step t of a task is round * steps of a unit + step of the unit. The rate rises to ``rate_nano`` over
    the first ``warmup_steps`` steps; where ``decay_steps`` is not 0 it then falls as a cosine,
    to ``least_rate_nano`` at step ``decay_steps``, and stays there. A gradient longer than ``clip_nano`` (L2)
    is shortened to it; 0 does not clip.
    """

    optimiser: Sgd | Momentum | AdamW = Sgd()
    rate_nano: Annotated[int, Meta(ge=1, le=10**12)] = 10_000_000
    warmup_steps: U32 = 0
    decay_steps: U32 = 0
    least_rate_nano: Annotated[int, Meta(ge=0, le=10**12)] = 0
    clip_nano: Annotated[int, Meta(ge=0, le=10**12)] = 0


class Mean(Wire, frozen=True, tag="mean"):
    """The plain mean of the accepted updates."""


class Trimmed(Wire, frozen=True, tag="trimmed"):
    """The mean without the share of values at either end of every coordinate."""

    share_ppm: Annotated[int, Meta(ge=1, lt=500_000)] = 200_000


class Clipped(Wire, frozen=True, tag="clipped"):
    """Centred clipping of random buckets of *bucket* updates; the radius is *radius_ppm* of their median distance."""

    bucket: Annotated[int, Meta(ge=1, le=4)] = 2
    radius_ppm: Annotated[int, Meta(ge=1_000, le=100_000_000)] = 1_000_000


Aggregation = Mean | Trimmed | Clipped


class Uniform(Wire, frozen=True, tag="uniform"):
    """Every sample is as likely in every unit."""


class Skewed(Wire, frozen=True, tag="skewed"):
    """Every trainer has its own mixture of classes, drawn from a Dirichlet distribution: the smaller the concentration,
    the fewer classes a trainer sees. For experiments with data that cannot be shared out evenly."""

    concentration_milli: Annotated[int, Meta(ge=1, le=10**6)]


Sampling = Uniform | Skewed


class Augmentation(Wire, frozen=True):
    """Images are mirrored left to right with probability 1/2, and moved by up to *shift* pixels either way."""

    mirror: bool = False
    shift: Annotated[int, Meta(ge=0, le=16)] = 0


class Evaluation(Wire, frozen=True):
    """How the model is scored on the validation split while it is trained.

    After every *every_rounds* rounds and after the last, *evaluators* drawn trainers score it; the lower median of
    what they say goes on the ledger. 0 rounds: never. A score of *target_ppm* ends the task; 0 asks for none.
    """

    every_rounds: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    evaluators: Annotated[int, Meta(ge=1, le=7)] = 3
    target_ppm: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class TaskSpec(Wire, frozen=True):
    """Everything that defines a training task.

    A unit is ``segments`` segments of ``batches_per_segment`` micro-batches of
    ``micro_batch`` samples. Its update is the mean gradient of all of them (mode ``gradient``), or
    theta - w where w is reached from theta by one inner step for every micro-batch (mode ``local``).
    A round's step is theta - eta * mean(accepted updates) with eta = ``outer_rate_nano`` * 1e-9; where
    ``outer_momentum_nano`` is not 0, Nesterov's with that momentum.
    ``compression`` says how many bits an update's integers have: ``lan`` 8, ``wan4`` 4, ``wan2`` 2.
    """

    name: Name
    model: ModelSpec
    data: DataSpec
    objective: Objective
    mode: Literal["gradient", "local"]
    initial_model: BlobId
    rounds: Annotated[int, Meta(ge=1, le=1_000_000)]
    units_per_trainer: Annotated[int, Meta(ge=1, le=64)]
    segments: Annotated[int, Meta(ge=1, le=limits.SEGMENTS)]
    batches_per_segment: Annotated[int, Meta(ge=1, le=4_096)]
    micro_batch: Annotated[int, Meta(ge=1, le=65_536)]
    outer_rate_nano: Annotated[int, Meta(ge=1, le=10**12)]
    audit: AuditSpec
    deadlines: Deadlines
    reward: Reward
    min_trainers: Annotated[int, Meta(ge=1, le=limits.TRAINERS_PER_TASK)]
    max_trainers: Annotated[int, Meta(ge=1, le=limits.TRAINERS_PER_TASK)]
    inner: InnerSpec = InnerSpec()
    outer_momentum_nano: Share = 0
    compression: Literal["lan", "wan4", "wan2"] = "lan"
    aggregation: Aggregation = Mean()
    sampling: Sampling = Uniform()
    augmentation: Augmentation = Augmentation()
    evaluation: Evaluation = Evaluation()

    @property
    def batches_per_unit(self) -> int:
        return self.segments * self.batches_per_segment

    @property
    def samples_per_unit(self) -> int:
        return self.batches_per_unit * self.micro_batch


class Unit(Wire, frozen=True):
    """Which unit: everything its samples and dither are a pure function of.

    *attempt* counts the reopenings of the round, so a failed attempt's work cannot be reused.
    """

    task: Hash
    round: U32
    attempt: U32
    slot: Annotated[int, Meta(ge=0, lt=limits.UNITS_PER_ROUND)]
    trainer: Hash
    seed: Hash


class Kept(StrEnum):
    """What a model's file may hold behind the weights: every tensor under its weight's name with this before it, in
    this order. Sorts behind every name that a weight can have."""

    MOMENTUM = "~outer_momentum."
    """Of the rounds; where they have none and units begin with it, the mean of the last one's updates alone."""
    MOMENT = "~second_moment."
    """Of the inner optimiser. Never below zero."""


class Coding(StrEnum):
    """How one vector of a snapshot is written."""

    INT8 = "int8"
    INT4 = "int4"
    INT2 = "int2"
    HALF = "half"
    """16 bits with an exponent of their own: for vectors whose neighbours differ by powers of ten."""


BLOCK = 256
"""Elements that share an exponent."""
_BITS = {Coding.INT8: 8, Coding.INT4: 4, Coding.INT2: 2}
_PAYLOAD = {"lan": Coding.INT8, "wan4": Coding.INT4, "wan2": Coding.INT2}
_TENSOR_HEADER = 256
"""Most bytes of one tensor in a safetensors header: a name below 100, a type, a shape, two offsets."""
HELD_BYTES = 2**32
"""Most bytes of updates, one an element and two of a carried moment, that a robust aggregation may have to hold."""
HEADER_BYTES = 65_536
"""Room for a safetensors header of data."""


def bits_of(coding: Coding) -> int:
    """Bits of one integer; Coding.HALF has none."""
    return _BITS[coding]


def state_codings(spec: TaskSpec) -> tuple[Coding, ...]:
    """How the running state of a unit is snapped between two segments: the update, then the inner optimiser's vectors.

    Of AdamW these are the second moment and the first: what may be carried on stands next to the update. One is
    divided by the root of the other, element by element, so both need a relative precision.
    """
    if spec.mode == "gradient" or isinstance(spec.inner.optimiser, Sgd):
        return (Coding.INT8,)
    if isinstance(spec.inner.optimiser, Momentum):
        return (Coding.INT8, Coding.INT8)
    return (Coding.INT8, Coding.HALF, Coding.HALF)


def snapshot_codings(spec: TaskSpec, segment: int) -> tuple[Coding, ...]:
    """What snapshot *segment* (1 .. S) holds: the whole state, or after the last segment the update and what is
    carried."""
    if segment < spec.segments:
        return state_codings(spec)
    return (_PAYLOAD[spec.compression], Coding.HALF) if carries(spec) else (_PAYLOAD[spec.compression],)


def carries(spec: TaskSpec) -> bool:
    """Whether units begin with the second moment that the last round ended with."""
    return spec.mode == "local" and isinstance(spec.inner.optimiser, AdamW) and spec.inner.optimiser.carry


def resumes(spec: TaskSpec) -> bool:
    """Whether units begin with the momentum that the mean of the last round's updates shows."""
    return spec.mode == "local" and isinstance(spec.inner.optimiser, Momentum) and spec.inner.optimiser.carry


def kept_beside(spec: TaskSpec) -> tuple[Kept, ...]:
    """What the task's models hold beside their weights, all but the first: that is weights alone."""
    wanted = {Kept.MOMENTUM: spec.outer_momentum_nano > 0 or resumes(spec), Kept.MOMENT: carries(spec)}
    return tuple(kept for kept in Kept if wanted[kept])


def coded_bytes(coding: Coding, count: int) -> int:
    """Bytes of *count* numbers: a 16-bit exponent per block and packed integers, or 16 bits each."""
    if coding == Coding.HALF:
        return 2 * count
    return 2 * -(-count // BLOCK) + -(-count * bits_of(coding) // 8)


def snapshot_size(spec: TaskSpec, segment: int) -> int:
    """Bytes of snapshot *segment*, exactly: a tag of 32, then its vectors."""
    count = parameter_count(spec.model)
    return 32 + sum(coded_bytes(coding, count) for coding in snapshot_codings(spec, segment))


def snapshot_bytes(spec: TaskSpec) -> int:
    """Most bytes any snapshot of a unit has."""
    return max(snapshot_size(spec, 1), snapshot_size(spec, spec.segments))


def model_bytes(spec: TaskSpec) -> int:
    """Most bytes a model of the task has: float32 weights and what is kept beside them."""
    copies = 1 + len(kept_beside(spec))
    return copies * (4 * parameter_count(spec.model) + _TENSOR_HEADER * len(tensors(spec.model))) + 1_024


def spec_fault(spec: TaskSpec) -> str:
    """What in *spec* contradicts itself; empty where nothing does. All else may be asked of a sound spec only."""
    try:
        tensors(spec.model)
    except Malformed as error:
        return str(error)
    if not takes(spec.model, spec.data.shape):
        return f"samples of shape {list(spec.data.shape)} do not fit the model"
    if (spec.objective == "language") != isinstance(spec.model, Gpt):
        return "a gpt learns language, and nothing else does"
    if spec.objective == "regression" and isinstance(spec.model, Logistic):
        return "logistic tells classes apart; for linear regression take an mlp without hidden layers"
    if spec.mode == "gradient" and spec.inner != InnerSpec():
        return "inner steps are for mode local"
    if resumes(spec) and spec.inner.optimiser == Momentum(0, carry=True):
        return "a momentum of 0 remembers nothing that a unit could begin with"
    if spec.inner.least_rate_nano > spec.inner.rate_nano:
        return "the least inner rate is above the rate"
    if spec.evaluation.target_ppm and not spec.evaluation.every_rounds:
        return "a target is reached by evaluations, and this task has none"
    if isinstance(spec.sampling, Skewed) and spec.objective != "classification":
        return "only classes can be skewed"
    if spec.augmentation != Augmentation() and len(spec.data.shape) != 3:
        return "only images of shape [channels, height, width] are mirrored or moved"
    if not isinstance(spec.aggregation, Mean) and _most_held(spec) > HELD_BYTES:
        return "a robust aggregation holds all updates of a round at once: these are more than 4 GiB"
    if 0 < spec.inner.decay_steps <= spec.inner.warmup_steps:
        return "the inner rate falls before it has risen"
    return ""


def _most_held(spec: TaskSpec) -> int:
    return spec.max_trainers * spec.units_per_trainer * held_each(spec)


def held_each(spec: TaskSpec) -> int:
    """Bytes of one update in memory: one a number, and two of a carried moment."""
    return (3 if carries(spec) else 1) * parameter_count(spec.model)


def data_bytes(spec: TaskSpec, *, samples: int) -> int:
    """Most bytes a blob of *samples* examples may have."""
    if spec.objective == "language":
        return 8 * (samples + prod(spec.data.shape)) + HEADER_BYTES
    label = 8 if spec.objective == "classification" else 4 * outputs(spec.model)
    return samples * (4 * prod(spec.data.shape) + label) + HEADER_BYTES


def is_evaluated(spec: TaskSpec, closed: int) -> bool:
    """Whether the model is scored after *closed* rounds."""
    every = spec.evaluation.every_rounds
    return bool(every) and (closed % every == 0 or closed == spec.rounds)


def evaluations(spec: TaskSpec) -> int:
    """How often the model is scored if no round is left out."""
    every = spec.evaluation.every_rounds
    return -(-spec.rounds // every) if every else 0


def evaluation_fee(spec: TaskSpec) -> int:
    """Grains that an evaluator earns: a tenth of a unit's price."""
    return spec.reward.price_per_unit // 10


def unit_digest(unit: Unit) -> bytes:
    """32-byte name of a unit: seeds its samples and heads its snapshots."""
    return digest(Domain.UNIT, encode(unit))


def snapshot_tag(unit: Unit, segment: int) -> bytes:
    """First 32 bytes of snapshot *segment* (1 .. S): a copied snapshot names its true author."""
    return digest(Domain.SNAPSHOTS, unit_digest(unit), segment.to_bytes(8, "big"))


def task_digest(spec: TaskSpec, *, requester: bytes, nonce: int) -> bytes:
    """Identity of a submitted task."""
    return digest(Domain.TASK, encode(spec), requester, nonce.to_bytes(8, "big"))


