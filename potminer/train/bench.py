"""The work bench: a device with a model and data on it, and the jobs that need torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter_ns

import numpy as np

from potminer.base.errors import Malformed
from potminer.train.audit import segment_error_ppm
from potminer.train.bookwork import read_weights
from potminer.train.cheat import Cheat
from potminer.train.data import Split, training_split, validation_split
from potminer.train.device import choose, prepare
from potminer.train.evaluate import evaluate
from potminer.train.folder import Folder
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.shapes import check_data_fits, parameter_count, training_bytes
from potminer.train.snap import Snapshot, decode_snapshot, encode_snapshot, snapshot_bytes
from potminer.train.step import Engine, run_segment, train_unit
from potminer.train.weights import Floats
from potminer.wire.task import ModelSpec, TaskSpec
from potminer.wire.trainer import Audited, AuditJob, Evaluated, EvaluateJob, Trained, TrainJob
from potminer.wire.tx import Finding

_SPLITS_KEPT = 4


class Bench:
    """Does one job at a time. The newest engine and a few data splits stay for the next job."""

    def __init__(self, folder: Folder, *, device: str, threads: int, max_bytes: int, cheat: Cheat) -> None:
        prepare(threads)
        self.choice = choose(device)
        self._folder = folder
        self._max_bytes = max_bytes
        self._cheat = cheat
        self._engines: OrderedDict[ModelSpec, Engine] = OrderedDict()
        self._splits: OrderedDict[tuple[object, ...], Split] = OrderedDict()

    def train(self, job: TrainJob, checkpoint: Checkpoint) -> Trained:
        started = perf_counter_ns()
        made: list[bytes] = []

        def keep(segment: int, snapshot: Snapshot) -> None:
            made.append(self._folder.write(encode_snapshot(snapshot, unit=job.unit, segment=segment)))

        split = self._training(job.spec)
        loss = train_unit(
            self._loaded(job.spec, self._cheat.base(job.base)),
            split,
            spec=job.spec,
            unit=job.unit,
            keep=keep,
            checkpoint=checkpoint,
            conduct=self._cheat.conduct,
        )
        return Trained(job.job, tuple(made), loss, job.spec.samples_per_unit, _us_since(started))

    def audit(self, job: AuditJob, checkpoint: Checkpoint) -> Audited:
        """Always honest, whatever the cheat: who lies about audits does so in the node."""
        started = perf_counter_ns()
        if job.segment > job.spec.segments or (job.segment > 1) != (job.before is not None):
            raise Refused(Reason.BAD_TASK, f"segment {job.segment} of {job.spec.segments} has no such beginning")
        try:
            before = self._state_before(job)
            claimed = self._snapshot(job, job.after, job.segment)
        except Malformed:
            return Audited(job.job, Finding.MALFORMED, 0, 0, _us_since(started))
        split = self._training(job.spec)
        reached, _ = run_segment(
            self._loaded(job.spec, job.base),
            split,
            spec=job.spec,
            unit=job.unit,
            segment=job.segment,
            state=before,
            checkpoint=checkpoint,
        )
        error = segment_error_ppm(
            claimed=claimed, recomputed=reached, before=before, unit=job.unit, segment=job.segment
        )
        samples = job.spec.batches_per_segment * job.spec.micro_batch
        return Audited(job.job, Finding.MEASURED, error, samples, _us_since(started))

    def evaluate(self, job: EvaluateJob, checkpoint: Checkpoint) -> Evaluated:
        spec = job.spec
        split = self._kept((spec.data.validation, _view(spec)), lambda: validation_split(self._folder, spec))
        accuracy, loss = evaluate(self._loaded(spec, job.model), split, checkpoint)
        return Evaluated(job.job, accuracy, loss, len(split))

    def _training(self, spec: TaskSpec) -> Split:
        return self._kept((spec.data.train, _view(spec)), lambda: training_split(self._folder, spec))

    def _kept(self, key: tuple[object, ...], opened: Callable[[], Split]) -> Split:
        if key not in self._splits:
            self._splits[key] = opened()
        self._splits.move_to_end(key)
        while len(self._splits) > _SPLITS_KEPT:
            self._splits.popitem(last=False)
        return self._splits[key]

    def _loaded(self, spec: TaskSpec, base: bytes) -> Engine:
        """The engine of the task's model with the weights *base*; memory is checked before it is taken."""
        check_data_fits(spec)
        needed = training_bytes(spec)
        if needed > self._max_bytes:
            raise Refused(Reason.OUT_OF_MEMORY, f"about {needed} bytes needed, {self._max_bytes} allowed")
        weights = read_weights(self._folder, spec.model, base)
        if spec.model not in self._engines:
            self._engines.clear()  # one model at a time: memory is what a rig lacks
            self._engines[spec.model] = Engine(spec.model, self.choice.device)
        engine = self._engines[spec.model]
        engine.load(weights)
        return engine

    def _state_before(self, job: AuditJob) -> Floats:
        if job.before is None:
            return np.zeros(parameter_count(job.spec.model), np.float32)
        return self._snapshot(job, job.before, job.segment - 1).values()

    def _snapshot(self, job: AuditJob, blob: bytes, segment: int) -> Snapshot:
        count = parameter_count(job.spec.model)
        data = self._folder.read(blob, size=snapshot_bytes(count))
        return decode_snapshot(data, unit=job.unit, segment=segment, count=count)


def _view(spec: TaskSpec) -> tuple[object, ...]:
    """What of a task decides whether a data file is good."""
    return (spec.data, spec.model.classes)


def _us_since(started_ns: int) -> int:
    return (perf_counter_ns() - started_ns) // 1_000
