"""Every fault put into the ledger loses the race against the executable spec.

``python -m tests.simulation.ledger_mutants`` prints how.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.ledger_mutants import MUTANTS, Mutant, bent_core, killed, shown


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.about)
def test_a_fault_of_the_ledger_differs_from_its_spec(mutant: Mutant) -> None:
    """In the history that is known, or, where histories are drawn anew, in one of those from the first on."""
    assert killed(mutant, histories=1) or killed(replace(mutant, seed=0)) is not None


def test_a_true_copy_survives() -> None:
    with bent_core(None) as core:
        assert shown(None, core, 0) is None
