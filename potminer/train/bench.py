"""The work bench: a device with a model and data on it, and the jobs that need torch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter_ns

from potminer.base.errors import Malformed
from potminer.train.audit import segment_error_ppm
from potminer.train.bookwork import read_model
from potminer.train.cheat import Cheat, guess
from potminer.train.conduct import smallest_cheat
from potminer.train.data import Split, training_split, validation_split
from potminer.train.device import choose, device_class, free_bytes, prepare
from potminer.train.evaluate import evaluate
from potminer.train.folder import Folder
from potminer.train.lengths import said_of_slices
from potminer.train.refusal import Checkpoint, Reason, Refused
from potminer.train.residue import probes, residues
from potminer.train.shapes import check_task, samples_that_fit, training_bytes
from potminer.train.snap import Snapshot, State, decode_snapshot, encode_snapshot, nothing_yet, snap
from potminer.train.step import Engine, Work, run_segment, run_segment_twice, train_unit
from potminer.wire.model import ModelSpec, outputs
from potminer.wire.residue import PER_LEAF
from potminer.wire.task import Objective, TaskSpec, snapshot_size
from potminer.wire.trainer import Audited, AuditJob, Evaluated, EvaluateJob, Trained, TrainJob
from potminer.wire.tx import Finding

_SPLITS_KEPT = 4


class Bench:
    """Does one job at a time. The newest engine and a few data splits stay for the next job.

    A micro-batch that memory has no room for is done in parts; each step of *thrift* halves them.
    """

    def __init__(
        self, folder: Folder, *, device: str, threads: int, max_bytes: int, cheat: Cheat, bus: str = "",
        thrift: int = 0,
    ) -> None:
        prepare(threads)
        self.choice = choose(device, bus=bus)
        self._folder = folder
        self._max_bytes = max_bytes
        self._cheat = cheat
        self._thrift = thrift
        self._engines: OrderedDict[tuple[ModelSpec, Objective], Engine] = OrderedDict()
        self._splits: OrderedDict[tuple[object, ...], Split] = OrderedDict()

    def train(self, job: TrainJob, checkpoint: Checkpoint) -> Trained:
        started = perf_counter_ns()
        made: list[bytes] = []
        lengths: tuple[int, ...] = ()
        proof: list[bytes] = []

        def keep(segment: int, snapshot: Snapshot, residue: bytes) -> None:
            nonlocal lengths
            if segment == job.spec.segments:
                lengths = said_of_slices(snapshot.update, job.spec, job.slices)
            made.append(self._folder.write(encode_snapshot(snapshot, unit=job.unit, segment=segment)))
            proof.append(residue)

        engine = self._loaded(job.spec, self._cheat.base(job.base))
        work = Work(engine, self._training(job.spec), job.spec, job.unit, self._cheat.conduct)
        loss = train_unit(work, keep=keep, checkpoint=checkpoint)
        taken = _us_since(started)
        device = device_class(self.choice.device)
        samples, residue = job.spec.samples_per_unit, b"".join(proof)
        return Trained(job.job, tuple(made), loss, samples, taken, residue, lengths, device)

    def audit(self, job: AuditJob, checkpoint: Checkpoint) -> Audited:
        """Recompute and measure. (Who lies about audits without looking at anything does so in the node.)"""
        started = perf_counter_ns()
        if job.segment > job.spec.segments or (job.segment > 1) != (job.before is not None):
            raise Refused(Reason.BAD_TASK, f"segment {job.segment} of {job.spec.segments} has no such beginning")
        check_task(job.spec)
        try:
            said = None if job.before is None else self._snapshot(job, job.before, job.segment - 1).values()
            claimed = self._snapshot(job, job.after, job.segment)
        except Malformed:
            return Audited(job.job, Finding.MALFORMED, 0, 0, _us_since(started), b"")
        samples = job.spec.batches_per_segment * job.spec.micro_batch
        if self._cheat.guesses:
            guessed = guess(claimed, unit=job.unit, segment=job.segment)
            sketch = _sketch(job, claimed, guessed, said or nothing_yet(job.spec))
            return Audited(job.job, Finding.MEASURED, 0, samples, _us_since(started), sketch)
        work = Work(self._loaded(job.spec, job.base), self._training(job.spec), job.spec, job.unit)
        before = said or work.opening()
        reached, cheat_ppm = self._recomputed(work, job, before, checkpoint)
        error = segment_error_ppm(
            claimed=claimed, recomputed=reached, before=before, unit=job.unit, segment=job.segment
        )
        sketch = _sketch(job, claimed, reached, before)
        return Audited(job.job, Finding.MEASURED, error, samples, _us_since(started), sketch, cheat_ppm)

    def _recomputed(self, work: Work, job: AuditJob, before: State, checkpoint: Checkpoint) -> tuple[State, int]:
        """The segment's state; where the job calibrates, what the smallest cheat would measure, done and measured: at
        least 1, or 0 where it diverges."""
        if not job.calibrate:
            return run_segment(work, job.segment, before, checkpoint)[0], 0
        conduct = smallest_cheat(job.spec, job.segment)
        cheating = Work(work.engine, work.split, job.spec, job.unit, conduct)
        reached, short = run_segment_twice(work, cheating, job.segment, before, checkpoint)
        try:
            shown = snap(short, spec=job.spec, unit=job.unit, segment=job.segment)
        except Refused:
            return reached, 0
        found = segment_error_ppm(
            claimed=shown, recomputed=reached, before=before, unit=job.unit, segment=job.segment
        )
        return reached, max(1, found)

    def evaluate(self, job: EvaluateJob, checkpoint: Checkpoint) -> Evaluated:
        spec = job.spec
        split = self._kept((spec.data.validation, _view(spec)), lambda: validation_split(self._folder, spec))
        accuracy, loss, trial = evaluate(self._loaded(spec, job.model), split, checkpoint, job.seed)
        return Evaluated(job.job, accuracy, loss, trial, len(split.every()))

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
        check_task(spec)
        fit = samples_that_fit(spec, room=min(self._max_bytes, free_bytes(self.choice.device)))
        if not fit:
            raise Refused(Reason.OUT_OF_MEMORY, f"about {training_bytes(spec)} bytes needed, {self._max_bytes} allowed")
        model = read_model(self._folder, spec, base)
        key = (spec.model, spec.objective)
        if key not in self._engines:
            self._engines.clear()  # one model at a time: memory is what a rig lacks
            self._engines[key] = Engine(spec.model, self.choice.device, spec.objective)
        engine = self._engines[key]
        engine.at_once = max(1, fit >> self._thrift)
        engine.load(model.weights, moment=model.moment, momentum=model.momentum)
        return engine

    def _snapshot(self, job: AuditJob, blob: bytes, segment: int) -> Snapshot:
        data = self._folder.read(blob, size=snapshot_size(job.spec, segment))
        return decode_snapshot(data, spec=job.spec, unit=job.unit, segment=segment)


def _sketch(job: AuditJob, claimed: Snapshot, reached: State, before: State) -> bytes:
    """The leaf that *job* asks for, of the auditor's own *reached*."""
    at = probes(job.spec.model, job.unit, job.segment)[job.leaf * PER_LEAF : (job.leaf + 1) * PER_LEAF]
    return residues(claimed.update, reached[0], before[0], at)


def _view(spec: TaskSpec) -> tuple[object, ...]:
    """What of a task decides whether a data file is good."""
    return (spec.data, spec.objective, outputs(spec.model))


def _us_since(started_ns: int) -> int:
    return (perf_counter_ns() - started_ns) // 1_000
