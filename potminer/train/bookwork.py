"""Jobs that need no torch: reading weights, making the first model, summing updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from time import perf_counter_ns
from typing import NamedTuple

import numpy as np

from potminer.base import limits
from potminer.base.digest import Domain, digest
from potminer.base.errors import Malformed
from potminer.train import moments, robust
from potminer.train.aggregate import aggregate
from potminer.train.folder import Folder
from potminer.train.lengths import said_of
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.shapes import check_task, parameters
from potminer.train.snap import Snapshot, decode_excerpt, decode_snapshot
from potminer.train.weights import (
    Model,
    decode_model,
    decode_part,
    encode_model,
    encode_part,
    encode_weights,
    initial_weights,
    model_of,
    model_size,
)
from potminer.wire.slice import LENGTH_BYTES, excerpt_size, is_measured, lengths_size, part_size, slice_span
from potminer.wire.task import Clipped, TaskSpec, Unit, carries, held_each, kept_beside, resumes, snapshot_size
from potminer.wire.trainer import (
    Aggregated,
    AggregateJob,
    AssembleJob,
    Initialised,
    InitialiseJob,
    Sliced,
    SliceJob,
)

KEPT_BYTES = 2**26
"""Of all updates together, bytes: 64 MiB."""


class Work(NamedTuple):
    """A unit's last *update*, where it is read (the *blob* of that name, or an excerpt's), and how long that is said
    to be; None where nobody said it."""

    unit: Unit
    update: bytes
    blob: bytes
    said: int | None


def read_model(folder: Folder, spec: TaskSpec, blob: bytes) -> Model:
    """The model *blob*; Refused where it is not here or no model of this task.

    A task begins with weights alone, and has all that is kept beside them from its second round on.
    """
    beside = kept_beside(spec)
    sizes = [model_size(spec.model, beside=kept) for kept in ((), beside)]
    try:
        return decode_model(spec.model, folder.read(blob, size=sizes[0], or_size=sizes[1]), beside=beside)
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
    if len(job.units) != len(job.updates) or len(job.said) not in (0, len(job.units)):
        raise Refused(Reason.BAD_TASK, f"{len(job.units)} units with {len(job.updates)} updates")
    check_task(job.spec)
    read = _kept(partial(_read_update, folder, job.spec), count=len(job.units), each=held_each(job.spec))
    good, malformed = _sorted_out(read, map(Work, job.units, job.updates, job.updates, _said(job)), checkpoint)
    if not good:
        return Aggregated(job.job, None, malformed, (perf_counter_ns() - started) // 1_000)
    base = read_model(folder, job.spec, job.base)
    model = _stepped(base, job.spec, read, good, checkpoint)
    blob = folder.write(encode_model(job.spec.model, model))
    return Aggregated(job.job, blob, malformed, (perf_counter_ns() - started) // 1_000)


def aggregate_slice(folder: Folder, job: SliceJob, checkpoint: Checkpoint) -> Sliced:
    """A slice of the next model: the same numbers that ``aggregate_updates`` puts there. Or the lengths on it."""
    started = perf_counter_ns()
    if not len(job.units) == len(job.excerpts) == len(job.updates) or job.index >= job.of:
        raise Refused(Reason.BAD_TASK, f"slice {job.index} of {job.of}, {len(job.units)} units")
    if len(job.said) not in (0, len(job.units)):
        raise Refused(Reason.BAD_TASK, f"{len(job.units)} units with {len(job.said)} lengths said")
    if len(job.lengths) not in ((0, job.of) if is_measured(job.spec) else (0,)):
        raise Refused(Reason.BAD_TASK, f"{len(job.lengths)} lengths for {job.of} slices")
    check_task(job.spec)
    read = _kept(partial(_read_excerpt, folder, job), count=len(job.units), each=held_each(job.spec))
    good, malformed = _sorted_out(read, map(Work, job.units, job.updates, job.excerpts, _said(job)), checkpoint)
    blob = None
    if good:
        measure = is_measured(job.spec) and not job.lengths
        blob = folder.write(_lengths(job.spec, read, good) if measure else _part(folder, job, read, good, checkpoint))
    return Sliced(job.job, blob, malformed, (perf_counter_ns() - started) // 1_000)


def _part(
    folder: Folder, job: SliceJob, read: Callable[[Work], Snapshot], good: Sequence[Work], checkpoint: Checkpoint
) -> bytes:
    span = slice(*slice_span(job.spec, job.index, job.of))
    base = read_model(folder, job.spec, job.base)
    part = model_of([vector[span] for vector in base.vectors], base.beside)
    lengths = _summed(folder, job, len(good)) if job.lengths else None
    return encode_part(_stepped(part, job.spec, read, good, checkpoint, lengths))


def _lengths(spec: TaskSpec, read: Callable[[Work], Snapshot], good: Sequence[Work]) -> bytes:
    if not isinstance(spec.aggregation, Clipped):
        raise AssertionError("only what is clipped is measured")
    found = robust.lengths([read(work).update for work in good], spec.aggregation, seed=_seed(good))
    return b"".join(each.to_bytes(LENGTH_BYTES, "big") for each in found)


def _summed(folder: Folder, job: SliceJob, units: int) -> tuple[int, ...]:
    """The lengths of whole updates. More than a third of the power vouches for those on each slice."""
    size = lengths_size(job.spec, units)
    try:
        said = [folder.read(blob, size=size) for blob in job.lengths]
    except Malformed as error:
        raise Refused(Reason.BAD_TASK, f"lengths: {error}") from error
    places = range(0, size, LENGTH_BYTES)
    return tuple(sum(int.from_bytes(each[at : at + LENGTH_BYTES], "big") for each in said) for at in places)


def assemble(folder: Folder, job: AssembleJob) -> Aggregated:
    """The model of all its slices. More than a third of the power vouches for each, so a part that is none is no
    trainer's fault: Refused."""
    started = perf_counter_ns()
    check_task(job.spec)
    parts = [_read_part(folder, job, index) for index in range(len(job.parts))]
    vectors = [np.concatenate(pieces) for pieces in zip(*(part.vectors for part in parts), strict=True)]
    model = model_of(vectors, kept_beside(job.spec))
    blob = folder.write(encode_model(job.spec.model, model))
    return Aggregated(job.job, blob, (), (perf_counter_ns() - started) // 1_000)


def _kept(read: Callable[[Work], Snapshot], *, count: int, each: int) -> Callable[[Work], Snapshot]:
    """Every update is looked at three times, a carried moment twice more: so long as there is room, it is fetched from
    the disk, hashed and taken apart once."""
    return cache(read) if count * each <= KEPT_BYTES else read


def _stepped(
    base: Model, spec: TaskSpec, read: Callable[[Work], Snapshot], good: Sequence[Work], checkpoint: Checkpoint,
    lengths: Sequence[int] | None = None,
) -> Model:
    def payloads() -> Iterator[Snapshot]:
        for done, work in enumerate(good):
            yield read(work)
            checkpoint(done, len(good))

    model = aggregate(
        base, lambda: (payload.update for payload in payloads()), rate_nano=spec.outer_rate_nano,
        momentum_nano=spec.outer_momentum_nano, kept=resumes(spec), rule=spec.aggregation,
        seed=_seed(good), lengths=lengths,
    )  # fmt: skip
    if not carries(spec):
        return model
    return replace(model, moment=moments.combined(lambda: (each.moment for each in payloads()), spec.aggregation))


def _said(job: AggregateJob | SliceJob) -> Sequence[int | None]:
    return job.said or (None,) * len(job.units)


def _seed(good: Sequence[Work]) -> bytes:
    """What buckets are drawn by: all updates that count."""
    return digest(Domain.DRAW, *(work.update for work in good))


def _sorted_out(
    read: Callable[[Work], Snapshot], works: Iterable[Work], checkpoint: Checkpoint
) -> tuple[Sequence[Work], tuple[int, ...]]:
    good: list[Work] = []
    malformed: list[int] = []
    for position, work in enumerate(works):
        try:
            update = read(work).update
            if work.said is not None and said_of(update) != work.said:
                raise Malformed("the update is not as long as was said")
            good.append(work)
        except Malformed:
            malformed.append(position)
        checkpoint(position, limits.UNITS_PER_ROUND)
    # By content: everybody has this order, and nobody knew it when committing to one of them.
    return sorted(good, key=lambda work: work.update), tuple(malformed)


def _read_update(folder: Folder, spec: TaskSpec, work: Work) -> Snapshot:
    data = folder.read(work.blob, size=snapshot_size(spec, spec.segments))
    return decode_snapshot(data, spec=spec, unit=work.unit, segment=spec.segments)


def _read_excerpt(folder: Folder, job: SliceJob, work: Work) -> Snapshot:
    """One slice of an update."""
    data = folder.read(work.blob, size=excerpt_size(job.spec, job.index, job.of))
    first, last = slice_span(job.spec, job.index, job.of)
    return decode_excerpt(data, spec=job.spec, unit=work.unit, count=last - first)


def _read_part(folder: Folder, job: AssembleJob, index: int) -> Model:
    spec, of = job.spec, len(job.parts)
    try:
        data = folder.read(job.parts[index], size=part_size(spec, index, of))
        return decode_part(data, beside=kept_beside(spec))
    except Malformed as error:
        raise Refused(Reason.BAD_WEIGHTS, f"slice {index} of {of}: {error}") from error
