"""Scoring a model between rounds: what an evaluator whom the ledger has drawn says, needs and computes."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.rounds.events import TaskSeen
from potminer.core.rounds.job import Running, Scoring
from potminer.wire.task import data_bytes, model_bytes
from potminer.wire.trainer import Evaluated
from potminer.wire.tx import EvaluateModel


@dataclass(frozen=True, slots=True)
class Asked:
    """What to say or, where nothing is known yet, the blobs and their largest sizes that a job for *purpose* needs."""

    purpose: Scoring
    said: EvaluateModel | None
    blobs: tuple[tuple[bytes, int], ...]


class Scorer:
    """*key* is ours: whether we are among the evaluators is read from every task that is seen."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._said: dict[Scoring, EvaluateModel] = {}

    def asked(self, seen: TaskSeen) -> Asked | None:
        under_way = seen.evaluation
        if under_way is None or self._key not in under_way.evaluators:
            return None
        if any(score.evaluator == self._key for score in under_way.scores):
            return None
        spec, purpose = seen.record.spec, Scoring(seen.task, under_way.closed)
        data = (spec.data.validation, data_bytes(spec, samples=spec.data.validation_samples))
        return Asked(purpose, self._said.get(purpose), ((under_way.model, model_bytes(spec)), data))

    def found(self, running: Running, report: Evaluated) -> None:
        purpose = running.purpose
        if not isinstance(purpose, Scoring):
            raise AssertionError("an Evaluated report answers a scoring")
        self._said[purpose] = EvaluateModel(purpose.task, purpose.closed, report.accuracy_ppm, report.loss_micro)

    def forget(self, seen: TaskSeen) -> None:
        """Drop what was said of models of this task that nobody asks for any more."""
        closed = None if seen.evaluation is None else seen.evaluation.closed
        self._said = {k: v for k, v in self._said.items() if k.task != seen.task or k.closed == closed}


def is_timely(purpose: Scoring, seen: TaskSeen | None) -> bool:
    return seen is not None and seen.evaluation is not None and seen.evaluation.closed == purpose.closed
