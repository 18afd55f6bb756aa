"""The executable spec races the ledger that ships.

``python -m tests.property.ledger_race 200`` races longer. Mutants: ``tests/simulation/test_ledger_mutants.py``.
"""

from __future__ import annotations

import ast
import sys

from potminer.core.ledger import event
from potminer.core.ledger.refusal import Refusal
from potminer.wire.record import Outcome
from potminer.wire.tx import Body
from tests.property.ledger_race import MODEL, MoneyRace, Race
from tests.property.score_race import ScoreRace

MONEY, WORK = range(4), range(8)
MOST = 40
"""Histories that are played, at most, until all that is wanted was seen in some of them."""
WANTED = {
    *(f"refused by {rule}" for rule in (1, 2, 3, 4)),
    *(kind.__name__ for kind in event.Event.__args__ if hasattr(kind, "__name__") and kind is not event.PayHeld),
    *(kind.__name__ for kind in Body.__args__),
    *(Outcome.ACCEPTED, Outcome.OUT_OF_TOLERANCE, Outcome.MALFORMED, Outcome.NOT_REVEALED),
    *("BAD_TASK", "TOO_MANY", "NOT_ASKED", "LATE", "WRONG_PHASE", "SLASHED", "EXPELLED", "COMMITMENT_MISMATCH"),
}


def test_money_bonds_and_epochs_are_those_of_the_spec() -> None:
    for seed in MONEY:
        assert MoneyRace(seed).run() is None, f"history {seed}"


def test_the_ledger_does_what_its_spec_says() -> None:
    seen: set[str] = set()
    for seed in range(MOST):
        race = Race(seed, blocks=120)
        assert race.run() is None, f"history {seed}"
        seen |= {word for said in race.told for word in said.split(": ")}
        seen |= {type(each).__name__ for each in race.events}
        seen |= {str(each.judgement.outcome) for each in race.events if isinstance(each, event.UnitEnded)}
        if seed + 1 >= len(WORK) and seen >= WANTED:
            return
    raise AssertionError(f"never seen: {WANTED - seen}")


def test_evaluations_are_those_of_the_spec() -> None:
    seen: set[str] = set()
    for seed in range(6):
        race = ScoreRace(seed, blocks=60)
        assert race.run() is None, f"history {seed}"
        seen |= {each.reason for each in race.events if isinstance(each, event.Expelled)} | set(race.told)
    for said in ("done", "WRONG_PHASE", "NOT_VALIDATOR", "ALREADY_DONE", "COMMITMENT_MISMATCH", "LATE"):
        assert f"ScoreModel: {said}" in seen
    assert "false-score" in seen


def test_rounds_beside_audits_are_those_of_the_spec() -> None:
    for seed in (20, 41):
        assert Race(seed, blocks=120).run() is None, f"history {seed}"


def test_pay_that_is_held_with_a_stake_is_that_of_the_spec() -> None:
    for seed in (49, *range(MOST)):
        race = Race(seed, blocks=120)
        assert race.run() is None, f"history {seed}"
        if {event.StakeHeld, event.PayHeld, event.StakeReturned} <= {type(each) for each in race.events}:
            return
    raise AssertionError("nobody's pay was held")


def test_the_words_of_the_model_are_those_of_the_ledger() -> None:
    """A refusal that only one of them knows would be seen by no history."""
    text = "".join(path.read_text(encoding="utf-8") for path in MODEL.glob("*.py"))
    said = {each.name for each in Refusal} - {"POOL_FULL"}
    assert {name for name in said if f'"{name}"' not in text} == set()


def test_the_model_is_written_from_the_text_alone() -> None:
    """Nothing but the standard library, and its own files: it cannot have the ledger's faults."""
    for name in ("ledger", "rounds", "work"):
        tree = ast.parse((MODEL / f"{name}.py").read_text(encoding="utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) if not node.level}
        assert {each.partition(".")[0] for each in names} <= sys.stdlib_module_names
