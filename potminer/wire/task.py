"""A task: data, never code. What a requester orders and everybody trains.

Every number is an integer: learning rate in units of 1e-9, money in grains, errors in ppm.
"""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Annotated, Literal

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U32, BlobId, Grains, Hash, Name
from potminer.base.digest import Domain, digest
from potminer.wire.codec import Wire, encode

Width = Annotated[int, Meta(ge=1, le=65_536)]
Duration = Annotated[int, Meta(ge=100, le=24 * 3_600_000)]


class Mlp(Wire, frozen=True, tag="mlp"):
    """Fully connected network with ReLU between layers. Input is flattened."""

    inputs: Width
    hidden: Annotated[tuple[Width, ...], Meta(max_length=16)]
    classes: Width


class Cnn(Wire, frozen=True, tag="cnn"):
    """McMahan et al. 2017: two same-padded convolutions with ReLU and 2x2 max-pool, then a hidden layer."""

    channels: Width
    height: Width
    width: Width
    filters: tuple[Width, Width]
    kernel: Annotated[int, Meta(ge=1, le=15)]
    hidden: Width
    classes: Width


ModelSpec = Mlp | Cnn


class DataSpec(Wire, frozen=True):
    """Two safetensors blobs, each with ``x`` float32 [n, *shape] and ``y`` int64 [n]."""

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
    """How the work is checked. *rate_ppm* is the least share of units audited, *tolerance_ppm*
    the largest relative L2 error of a segment that passes."""

    rate_ppm: Annotated[int, Meta(ge=30_000, le=1_000_000)]
    tolerance_ppm: Annotated[int, Meta(ge=10, le=20_000)]


class Reward(Wire, frozen=True):
    """*budget* is escrowed at submission; every accepted unit takes *price_per_unit* from it."""

    budget: Grains
    price_per_unit: Annotated[int, Meta(ge=1, le=2**53)]


class TaskSpec(Wire, frozen=True):
    """Everything that defines a training task.

    A unit is ``segments`` segments of ``batches_per_segment`` micro-batches of
    ``micro_batch`` samples. A round's step is theta - eta * mean(accepted updates) with
    eta = ``outer_rate_nano`` * 1e-9.
    """

    name: Name
    model: ModelSpec
    data: DataSpec
    objective: Literal["classification"]
    mode: Literal["gradient"]
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


def parameter_count(model: ModelSpec) -> int:
    """How many weights *model* has: what every blob of it is bounded by."""
    match model:
        case Mlp():
            widths = (model.inputs, *model.hidden, model.classes)
            return sum((before + 1) * after for before, after in pairwise(widths))
        case Cnn():
            first, second = model.filters
            square = model.kernel**2
            flat = second * (model.height // 4) * (model.width // 4)
            convolutions = (model.channels * square + 1) * first + (first * square + 1) * second
            return convolutions + (flat + 1) * model.hidden + (model.hidden + 1) * model.classes


HEADER_BYTES = 65_536
"""Room for a safetensors header."""


def model_bytes(model: ModelSpec) -> int:
    """Most bytes a blob of *model*'s float32 weights may have."""
    return 4 * parameter_count(model) + HEADER_BYTES


def snapshot_bytes(model: ModelSpec) -> int:
    """Bytes of a snapshot: tag, a 16-bit exponent per block of 256, an int8 per weight."""
    count = parameter_count(model)
    return 32 + 2 * -(-count // 256) + count


def data_bytes(data: DataSpec, *, samples: int) -> int:
    """Most bytes a blob of *samples* examples may have: float32 inputs and int64 labels."""
    return samples * (4 * prod(data.shape) + 8) + HEADER_BYTES


def unit_digest(unit: Unit) -> bytes:
    """32-byte name of a unit: seeds its samples and heads its snapshots."""
    return digest(Domain.UNIT, encode(unit))


def snapshot_tag(unit: Unit, segment: int) -> bytes:
    """First 32 bytes of snapshot *segment* (1 .. S): a copied snapshot names its true author."""
    return digest(Domain.SNAPSHOTS, unit_digest(unit), segment.to_bytes(8, "big"))


def task_digest(spec: TaskSpec, *, requester: bytes, nonce: int) -> bytes:
    """Identity of a submitted task."""
    return digest(Domain.TASK, encode(spec), requester, nonce.to_bytes(8, "big"))


