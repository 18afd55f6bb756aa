"""Scoring a model between rounds: what an evaluator whom the ledger has drawn says, needs and computes, and what a
validator does where evaluators contradict each other.

What opens a commitment is durable before the commitment is said: a restart opens the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from potminer.base.digest import Domain, digest, number
from potminer.core.machine import Persist
from potminer.core.rounds.conduct import Conduct
from potminer.core.rounds.events import TaskSeen
from potminer.core.rounds.job import Running, Scoring
from potminer.wire.codec import decode, encode
from potminer.wire.record import EvaluationPhase, EvaluationRecord
from potminer.wire.task import data_bytes, model_bytes
from potminer.wire.trainer import Evaluated
from potminer.wire.tx import EvaluateModel, ScoreModel, score_commitment

PREFIX = b"score/"
_SCORE_BYTES = 1_024
UNSALTED = bytes(32)


@dataclass(frozen=True, slots=True)
class Asked:
    """What to say or, where nothing is known yet, the blobs and their largest sizes that a job for *purpose* needs.
    *owed*: also without duty, as a validator."""

    purpose: Scoring
    said: EvaluateModel | ScoreModel | None
    blobs: tuple[tuple[bytes, int], ...]
    seed: bytes
    owed: bool


class Scorer:
    """*key* is ours: whether we are among the evaluators is read from every task that is seen."""

    def __init__(self, key: bytes, *, secret: bytes, persisted: Mapping[bytes, bytes], conduct: Conduct) -> None:
        self._key = key
        self._secret = secret
        self._conduct = conduct
        self._found: dict[Scoring, ScoreModel] = {}
        for name, value in persisted.items():
            if name.startswith(PREFIX):
                kept = decode(ScoreModel, value, max_bytes=_SCORE_BYTES)
                self._found[Scoring(kept.task, kept.closed)] = kept

    def asked(self, seen: TaskSeen, *, validator: bool) -> Asked | None:
        under_way = seen.evaluation
        if under_way is None or not self._is_our_turn(under_way, validator=validator):
            return None
        spec, purpose = seen.record.spec, Scoring(seen.task, under_way.closed)
        found = self._found.get(purpose)
        judges = under_way.phase == EvaluationPhase.JUDGE
        if found is None and under_way.phase == EvaluationPhase.REVEAL:
            return None  # what we are bound to is lost
        data = (spec.data.validation, data_bytes(spec, samples=spec.data.validation_samples))
        blobs = ((under_way.model, model_bytes(spec)), data)
        return Asked(purpose, self._words(found, under_way), blobs, under_way.seed, judges)

    def _is_our_turn(self, under_way: EvaluationRecord, *, validator: bool) -> bool:
        bound = any(each.evaluator == self._key for each in under_way.bound)
        match under_way.phase:
            case EvaluationPhase.COMMIT:
                return self._key in under_way.evaluators and not bound
            case EvaluationPhase.REVEAL:
                return bound and all(each.scorer != self._key for each in under_way.scores)
            case EvaluationPhase.JUDGE:
                return validator and all(each.scorer != self._key for each in under_way.judges)

    def _words(self, found: ScoreModel | None, under_way: EvaluationRecord) -> EvaluateModel | ScoreModel | None:
        if found is None:
            return None
        if under_way.phase == EvaluationPhase.COMMIT:
            return EvaluateModel(found.task, found.closed, score_commitment(found, evaluator=self._key))
        return found if under_way.phase == EvaluationPhase.REVEAL else replace(found, salt=UNSALTED)

    def unseen(self, seen: TaskSeen) -> list[Persist]:
        """A score that is said without looking, where our conduct has one."""
        under_way = seen.evaluation
        if under_way is None or under_way.phase != EvaluationPhase.COMMIT or self._key not in under_way.evaluators:
            return []
        purpose = Scoring(seen.task, under_way.closed)
        told = None if purpose in self._found else self._conduct.score(seen.record, under_way.closed)
        return [] if told is None else [self._keep(purpose, *told)]

    def found(self, running: Running, report: Evaluated) -> list[Persist]:
        purpose = running.purpose
        if not isinstance(purpose, Scoring):
            raise AssertionError("an Evaluated report answers a scoring")
        if purpose in self._found:
            return []  # what we may be bound to stays
        return [self._keep(purpose, report.accuracy_ppm, report.loss_micro, report.trial_micro)]

    def _keep(self, purpose: Scoring, score_ppm: int, loss_micro: int, trial_micro: int) -> Persist:
        salt = digest(Domain.SCORE, self._secret, purpose.task, number(purpose.closed))
        kept = ScoreModel(purpose.task, purpose.closed, score_ppm, loss_micro, trial_micro, salt)
        self._found[purpose] = kept
        return Persist(_key(purpose), encode(kept))

    def forget(self, seen: TaskSeen) -> Iterator[Persist]:
        """Drop what was found of models of this task that nobody asks for any more."""
        closed = None if seen.evaluation is None else seen.evaluation.closed
        for purpose in [each for each in self._found if each.task == seen.task and each.closed != closed]:
            del self._found[purpose]
            yield Persist(_key(purpose), None)


def is_timely(purpose: Scoring, seen: TaskSeen | None, *, duty: bool, validator: bool) -> bool:
    under_way = None if seen is None else seen.evaluation
    if under_way is None or under_way.closed != purpose.closed:
        return False
    return duty or (validator and under_way.phase == EvaluationPhase.JUDGE)


def _key(purpose: Scoring) -> bytes:
    return PREFIX + digest(Domain.SCORE, purpose.task, number(purpose.closed))
