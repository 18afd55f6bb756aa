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
from tests.simulation.ledger_mutants import MUTANTS as LEDGERS
from tests.simulation.mutants import CONTROL, IMPOSSIBLE, MUTANTS, SEEN, Mutant, attacked, violation

MATRIX = Path(__file__).parents[2] / "docs/mutants.md"


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


def test_what_cannot_be_written_here_still_cannot() -> None:
    for impossible in IMPOSSIBLE.values():
        impossible.assertion()


def test_the_list_is_complete_and_the_matrix_shows_it() -> None:
    """Row for row: ``python -m tests.simulation.mutants > docs/mutants.md`` was run after the last change of a list."""
    bugs = {f"B{number}" for number in range(1, 31)} | {"P1", "P2"}
    assert {mutant.bug for mutant in MUTANTS} | set(IMPOSSIBLE) == bugs
    text = MATRIX.read_text(encoding="utf-8")
    replicas, ledgers = text.split("## The ledger's")
    shown = re.findall(r"^\| (-|[BP]\d+) \| ([^|]+) \|", replicas, re.MULTILINE)
    assert shown == [(mutant.bug, mutant.about) for mutant in (CONTROL, *MUTANTS)]
    assert re.findall(r"^- \*\*(B\d+)\*\*", replicas, re.MULTILINE) == list(IMPOSSIBLE)
    assert re.findall(r"^\| ([^|]+) \| `(\w+)\.py` \|", ledgers, re.MULTILINE) == [(m.about, m.file) for m in LEDGERS]


def test_every_row_of_the_matrix_but_the_control_s_has_a_killer() -> None:
    rows = [line.split(" | ") for line in MATRIX.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    hunted = [row for row in rows if len(row) == 8 and row[0] != "| bug"]
    killed = [row[0] for row in hunted if not row[2].startswith("0 of") or any(" in `" in cell for cell in row[3:7])]
    assert killed == [f"| {mutant.bug}" for mutant in MUTANTS]
    assert not [row for row in rows if len(row) < 8 and row[2].startswith("- (")]
