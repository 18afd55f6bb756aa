"""Jobs that need no torch: reading weights, making the first model, summing updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from time import perf_counter_ns

import numpy as np

from potminer.base import limits
from potminer.base.digest import Domain, digest
from potminer.base.errors import Malformed
from potminer.train.aggregate import aggregate
from potminer.train.folder import Folder
from potminer.train.grid import Grid, decode_grid
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.shapes import check_task, parameters
from potminer.train.snap import decode_snapshot
from potminer.train.weights import (
    Model,
    decode_model,
    decode_part,
    encode_model,
    encode_part,
    encode_weights,
    initial_weights,
    model_size,
)
from potminer.wire.model import parameter_count
from potminer.wire.slice import excerpt_size, part_size, slice_span
from potminer.wire.task import TaskSpec, Unit, bits_of, snapshot_codings, snapshot_size, snapshot_tag
from potminer.wire.trainer import (
    Aggregated,
    AggregateJob,
    AssembleJob,
    Initialised,
    InitialiseJob,
    Sliced,
    SliceJob,
)

KEPT_NUMBERS = 2**26
"""Of all updates together, a byte each: 64 MiB."""

Work = tuple[Unit, bytes]
"""A unit and the name of its last snapshot, or of an excerpt of that."""


def read_model(folder: Folder, spec: TaskSpec, blob: bytes) -> Model:
    """The model *blob*; Refused where it is not here or no model of this task.

    A task with an outer momentum begins with weights alone, and has both from its second round on.
    """
    both = bool(spec.outer_momentum_nano)
    sizes = [model_size(spec.model, momentum=momentum) for momentum in (False, both)]
    try:
        return decode_model(spec.model, folder.read(blob, size=sizes[0], or_size=sizes[1]), momentum=both)
    except Malformed as error:
        raise Refused(Reason.BAD_WEIGHTS, str(error)) from error


def initialise(folder: Folder, job: InitialiseJob) -> Initialised:
    parameters(job.model)  # refuses what cannot exist
    flat = initial_weights(job.model, seed=job.seed)
    return Initialised(job.job, folder.write(encode_weights(job.model, flat)))


def aggregate_updates(folder: Folder, job: AggregateJob, checkpoint: Checkpoint) -> Aggregated:
    """The next model from every update that is one; the positions of the others.

    An update is malformed by its own bytes alone, so every replica leaves out the same ones.
    """
    started = perf_counter_ns()
    if len(job.units) != len(job.updates):
        raise Refused(Reason.BAD_TASK, f"{len(job.units)} units with {len(job.updates)} updates")
    check_task(job.spec)
    read = _kept(partial(_read_update, folder, job.spec), count=len(job.units), each=parameter_count(job.spec.model))
    good, malformed = _sorted_out(read, zip(job.units, job.updates, strict=True), checkpoint)
    if not good:
        return Aggregated(job.job, None, malformed, (perf_counter_ns() - started) // 1_000)
    base = read_model(folder, job.spec, job.base)
    model = _stepped(base, job.spec, read, good, checkpoint)
    blob = folder.write(encode_model(job.spec.model, model))
    return Aggregated(job.job, blob, malformed, (perf_counter_ns() - started) // 1_000)


def aggregate_slice(folder: Folder, job: SliceJob, checkpoint: Checkpoint) -> Sliced:
    """A slice of the next model: the same numbers that ``aggregate_updates`` puts there."""
    started = perf_counter_ns()
    if len(job.units) != len(job.excerpts) or job.index >= job.of:
        raise Refused(Reason.BAD_TASK, f"slice {job.index} of {job.of}, {len(job.units)} units")
    check_task(job.spec)
    read = _kept(partial(_read_excerpt, folder, job), count=len(job.units), each=parameter_count(job.spec.model))
    good, malformed = _sorted_out(read, zip(job.units, job.excerpts, strict=True), checkpoint)
    if not good:
        return Sliced(job.job, None, malformed, (perf_counter_ns() - started) // 1_000)
    span = slice(*slice_span(job.spec, job.index, job.of))
    base = read_model(folder, job.spec, job.base)
    momentum = None if base.momentum is None else base.momentum[span]
    model = _stepped(Model(base.weights[span], momentum), job.spec, read, good, checkpoint)
    blob = folder.write(encode_part(model))
    return Sliced(job.job, blob, malformed, (perf_counter_ns() - started) // 1_000)


def assemble(folder: Folder, job: AssembleJob) -> Aggregated:
    """The model of all its slices. More than a third of the power vouches for each, so a part that is none is no
    trainer's fault: Refused."""
    started = perf_counter_ns()
    check_task(job.spec)
    parts = [_read_part(folder, job, index) for index in range(len(job.parts))]
    weights = np.concatenate([part.weights for part in parts])
    momenta = [part.momentum for part in parts if part.momentum is not None]
    model = Model(weights, np.concatenate(momenta) if momenta else None)
    blob = folder.write(encode_model(job.spec.model, model))
    return Aggregated(job.job, blob, (), (perf_counter_ns() - started) // 1_000)


def _kept(read: Callable[[Work], Grid], *, count: int, each: int) -> Callable[[Work], Grid]:
    """Every update is looked at three times: so long as there is room, it is fetched from the disk, hashed and taken
    apart once."""
    return cache(read) if count * each <= KEPT_NUMBERS else read


def _stepped(
    base: Model, spec: TaskSpec, read: Callable[[Work], Grid], good: Sequence[Work], checkpoint: Checkpoint
) -> Model:
    def updates() -> Iterator[Grid]:
        for done, work in enumerate(good):
            yield read(work)
            checkpoint(done, len(good))

    return aggregate(
        base, updates, rate_nano=spec.outer_rate_nano, momentum_nano=spec.outer_momentum_nano,
        rule=spec.aggregation, seed=digest(Domain.DRAW, *(blob for _, blob in good)),
    )


def _sorted_out(
    read: Callable[[Work], Grid], works: Iterable[Work], checkpoint: Checkpoint
) -> tuple[Sequence[Work], tuple[int, ...]]:
    good: list[Work] = []
    malformed: list[int] = []
    for position, work in enumerate(works):
        try:
            read(work)
            good.append(work)
        except Malformed:
            malformed.append(position)
        checkpoint(position, limits.UNITS_PER_ROUND)
    # By content: everybody has this order, and nobody knew it when committing to one of them.
    return sorted(good, key=lambda work: work[1]), tuple(malformed)


def _read_update(folder: Folder, spec: TaskSpec, work: Work) -> Grid:
    unit, blob = work
    data = folder.read(blob, size=snapshot_size(spec, spec.segments))
    return decode_snapshot(data, spec=spec, unit=unit, segment=spec.segments).update


def _read_excerpt(folder: Folder, job: SliceJob, work: Work) -> Grid:
    """One slice of an update: its tag, then exponents and integers."""
    unit, blob = work
    data = folder.read(blob, size=excerpt_size(job.spec, job.index, job.of))
    tag = snapshot_tag(unit, job.spec.segments)
    if not data.startswith(tag):
        raise Malformed("the snapshot of another unit or segment")
    (coding,) = snapshot_codings(job.spec, job.spec.segments)
    first, last = slice_span(job.spec, job.index, job.of)
    return decode_grid(data[len(tag) :], count=last - first, bits=bits_of(coding))


def _read_part(folder: Folder, job: AssembleJob, index: int) -> Model:
    spec, of = job.spec, len(job.parts)
    try:
        data = folder.read(job.parts[index], size=part_size(spec, index, of))
        return decode_part(data, momentum=bool(spec.outer_momentum_nano))
    except Malformed as error:
        raise Refused(Reason.BAD_WEIGHTS, f"slice {index} of {of}: {error}") from error
