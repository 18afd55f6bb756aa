"""Jobs that need no torch: reading weights, making the first model, summing updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter_ns

from potminer.base.errors import Malformed
from potminer.train.aggregate import aggregate
from potminer.train.folder import Folder
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.shapes import parameter_count
from potminer.train.snap import Snapshot, decode_snapshot, snapshot_bytes
from potminer.train.weights import Floats, decode_weights, encode_weights, initial_weights, weights_bytes
from potminer.wire.task import ModelSpec, TaskSpec, Unit
from potminer.wire.trainer import Aggregated, AggregateJob, Initialised, InitialiseJob

Work = tuple[Unit, bytes]
"""A unit and the name of its last snapshot."""


def read_weights(folder: Folder, model: ModelSpec, blob: bytes) -> Floats:
    """Flat weights of *blob*; Refused where it is not here or no model of this shape."""
    try:
        return decode_weights(model, folder.read(blob, size=weights_bytes(model)))
    except Malformed as error:
        raise Refused(Reason.BAD_WEIGHTS, str(error)) from error


def initialise(folder: Folder, job: InitialiseJob) -> Initialised:
    flat = initial_weights(job.model, seed=job.seed)
    return Initialised(job.job, folder.write(encode_weights(job.model, flat)))


def aggregate_updates(folder: Folder, job: AggregateJob, checkpoint: Checkpoint) -> Aggregated:
    """The next model from every update that is one; the positions of the others.

    An update is malformed by its own bytes alone, so every replica leaves out the same ones.
    """
    started = perf_counter_ns()
    if len(job.units) != len(job.updates):
        raise Refused(Reason.BAD_TASK, f"{len(job.units)} units with {len(job.updates)} updates")
    good, malformed = _sorted_out(folder, job, checkpoint)
    if not good:
        return Aggregated(job.job, None, malformed, (perf_counter_ns() - started) // 1_000)
    base = read_weights(folder, job.spec.model, job.base)

    def updates() -> Iterator[Snapshot]:
        for done, work in enumerate(good):
            yield _read_update(folder, job.spec, work)
            checkpoint(done, len(good))

    model = aggregate(base, updates, rate_nano=job.spec.outer_rate_nano)
    blob = folder.write(encode_weights(job.spec.model, model))
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
    return good, tuple(malformed)


def _read_update(folder: Folder, spec: TaskSpec, work: Work) -> Snapshot:
    unit, blob = work
    count = parameter_count(spec.model)
    data = folder.read(blob, size=snapshot_bytes(count))
    return decode_snapshot(data, unit=unit, segment=spec.segments, count=count)
