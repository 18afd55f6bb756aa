"""Every bug of the list is put into the replica and killed; the whole matrix is printed by the command.

``python -m tests.simulation.mutants`` hunts with all hunters; here each mutant is attacked until
it shows, and those that chance alone can find are seen in the simulator too.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from potminer.core.pbft.machine import Replica
from potminer.sim.scenarios import SCENARIOS
from potminer.sim.world import simulate
from tests.simulation.control import Bent
from tests.simulation.mutants import CONTROL, IMPOSSIBLE, MUTANTS, Mutant, attacked, violation

MATRIX = Path(__file__).parents[2] / "docs/mutants.md"
SEEN = {
    "B1": "storm-twins 0",
    "B6": "storm-lossy 25",
    "B7": "storm-lossy-equivocate 6",
    "P1": "storm-lossy 0",
}
"""Runs in which these break a promise to everybody: nobody forges anything for them."""


def name(mutant: Mutant) -> str:
    return f"{mutant.bug} {mutant.about}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=name)
def test_a_mutant_is_killed_by_an_attack(mutant: Mutant) -> None:
    assert any(found for _, found in attacked(mutant))


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.bug in SEEN], ids=name)
def test_a_mutant_is_seen_in_the_simulator(mutant: Mutant) -> None:
    scenario, seed = SEEN[mutant.bug].split()
    assert violation(mutant, scenario, int(seed)) is not None


def test_the_control_survives_every_attack() -> None:
    assert not [(attack.name, found) for attack, found in attacked(CONTROL) if found]


def test_the_control_is_the_product_to_the_byte() -> None:
    for scenario in ("storm-lossy-equivocate", "crash-partition"):
        replicas: tuple[type[Replica], ...] = (Replica, Bent)
        runs = [simulate(SCENARIOS[scenario], 5, make_replica=replica) for replica in replicas]
        assert runs[0] == runs[1]


def test_the_list_is_complete_and_the_matrix_shows_it() -> None:
    bugs = {f"B{number}" for number in range(1, 31)} | {"P1", "P2"}
    assert {mutant.bug for mutant in MUTANTS} | set(IMPOSSIBLE) == bugs
    shown = set(re.findall(r"^\| ([BP]\d+) \||^- \*\*(B\d+)\*\*", MATRIX.read_text(encoding="utf-8"), re.MULTILINE))
    assert {bug for pair in shown for bug in pair if bug} == bugs
