"""What evaluators and judges say in random histories."""

from __future__ import annotations

from random import Random
from typing import Any

from potminer.wire import record as records
from potminer.wire.record import EvaluationPhase, EvaluationRecord
from potminer.wire.tx import Body, EvaluateModel, ScoreModel, score_commitment
from tests.unit.ledger_world import blob, key

LIARS = ("dee", "eve", "validator-3")


def scores(play: Any, task: bytes) -> list[tuple[str, Body]]:
    """What an honest evaluator and judge finds, near it, or far off: of each the same word again and again."""
    current = play.state.get(EvaluationRecord, records.evaluation_key(task))
    if current is None:
        return []
    acts: list[tuple[str, Body]] = []
    judges = [key(name).public for name in play.world.validators]
    speakers = judges if current.phase == EvaluationPhase.JUDGE else current.evaluators
    for each in (*speakers, *current.evaluators[:1]):
        chance = Random(repr((task, current.closed, each)))
        score = chance.choice((900_000, 900_000, 901_000)), 300_000, 8_000_000 + chance.choice((0, 0, 900))
        if play.names[each] in LIARS:
            a_little = (903_000, 300_000, 8_005_000), (900_000, 310_000, 8_000_000)
            score = chance.choice(((10**6, 0, 0), (10**6, 0, 0), *a_little))
        found = ScoreModel(task, current.closed, *score, blob("salt", each))
        said: Body = found
        if (current.phase == EvaluationPhase.COMMIT) != (play.random.random() < 0.1):
            said = EvaluateModel(task, current.closed, score_commitment(found, evaluator=each))
        if play.random.random() < 0.8:
            acts.append((play.names[each], said))
    return acts
