"""The executable spec races the replica that ships, and mutants lose.

``python -m tests.simulation.race 10000`` races longer.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter

import pytest

from potminer.core.pbft.machine import Replica
from tests.simulation import bent
from tests.simulation.race import MODEL, Race, model
from tests.unit.pbft_bench import Subject, on_the_bench

HISTORIES = 500
LOSERS = (
    bent.CountsPrimaryTwice, bent.AnyProof, bent.DropsPrepared, bent.TrustsThePrimary, bent.AnyPrepared, bent.AnyView,
    bent.StoresFirst, bent.FollowsAnybody, bent.OnlyLocalTimers, bent.Forgets, bent.AlwaysFresh, bent.TimesIdleness,
    bent.WaitsForTheRest, bent.UnverifiedProof,
)  # fmt: skip
"""Mutants whose rule the spec states and a history of one height can show."""


def test_the_replica_does_what_its_spec_says() -> None:
    told: Counter[str] = Counter()
    decided = views = 0
    for seed in range(HISTORIES):
        race = Race(seed)
        assert race.run() is None, f"history {seed}"
        told.update(race.told)
        decided += race.model.stage == model.DECIDED
        views += race.model.view
    assert set(told) == {
        "a proposal", "a vote", "a view change", "a new view", "the view timer", "the empty timer", "a restart",
        "a body",
    }  # fmt: skip
    assert min(told.values()) >= HISTORIES // 4
    assert decided >= HISTORIES // 10
    assert views >= HISTORIES


@pytest.mark.parametrize("loser", LOSERS, ids=lambda loser: loser.__name__)
def test_a_mutant_differs_from_the_spec(loser: type[Replica]) -> None:
    with on_the_bench(Subject(loser)):
        assert any(_differs(seed) for seed in range(100))


def _differs(seed: int) -> bool:
    try:
        return Race(seed).run() is not None
    except AssertionError:
        return True  # it contradicted itself before the model could


def test_the_model_is_written_from_the_text_alone() -> None:
    """Nothing but the standard library: it cannot have the replica's faults."""
    tree = ast.parse(MODEL.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    text = (MODEL.parents[1] / "pbft.md").read_text(encoding="utf-8")
    assert "model/pbft.py" in text
