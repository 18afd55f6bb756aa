"""Jobs that need no torch: reading weights, making the first model, summing updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter_ns

from potminer.base.digest import Domain, digest
from potminer.base.errors import Malformed
from potminer.train.aggregate import aggregate
from potminer.train.folder import Folder
from potminer.train.grid import Grid
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.shapes import check_task, parameters
from potminer.train.snap import decode_snapshot
from potminer.train.weights import Model, decode_model, encode_model, encode_weights, initial_weights, model_size
from potminer.wire.task import TaskSpec, Unit, snapshot_size
from potminer.wire.trainer import Aggregated, AggregateJob, Initialised, InitialiseJob

Work = tuple[Unit, bytes]
"""A unit and the name of its last snapshot."""


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
    good, malformed = _sorted_out(folder, job, checkpoint)
    if not good:
        return Aggregated(job.job, None, malformed, (perf_counter_ns() - started) // 1_000)
    base = read_model(folder, job.spec, job.base)

    def updates() -> Iterator[Grid]:
        for done, work in enumerate(good):
            yield _read_update(folder, job.spec, work)
            checkpoint(done, len(good))

    spec = job.spec
    model = aggregate(
        base, updates, rate_nano=spec.outer_rate_nano, momentum_nano=spec.outer_momentum_nano,
        rule=spec.aggregation, seed=digest(Domain.DRAW, *(blob for _, blob in good)),
    )
    blob = folder.write(encode_model(spec.model, model))
    return Aggregated(job.job, blob, malformed, (perf_counter_ns() - started) // 1_000)


def _sorted_out(folder: Folder, job: AggregateJob, checkpoint: Checkpoint) -> tuple[Sequence[Work], tuple[int, ...]]:
    good: list[Work] = []
    malformed: list[int] = []
    for position, work in enumerate(zip(job.units, job.updates, strict=True)):
        try:
            _read_update(folder, job.spec, work)
            good.append(work)
        except Malformed:
            malformed.append(position)
        checkpoint(0, len(job.units))
    # By content: everybody has this order, and nobody knew it when committing to one of them.
    return sorted(good, key=lambda work: work[1]), tuple(malformed)


def _read_update(folder: Folder, spec: TaskSpec, work: Work) -> Grid:
    unit, blob = work
    data = folder.read(blob, size=snapshot_size(spec, spec.segments))
    return decode_snapshot(data, spec=spec, unit=unit, segment=spec.segments).update
