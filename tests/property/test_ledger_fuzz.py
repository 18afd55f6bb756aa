"""A few short histories of the fuzzer; longer ones: ``python -m tests.property.ledger_fuzz 500 --first 100``."""

from __future__ import annotations

import pytest

from tests.property.ledger_fuzz import KINDS, Fuzz


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_is_sent_under_whatever_rules_both_say_the_same_and_all_that_is_written_can_be_read(seed: int) -> None:
    assert Fuzz(seed, blocks=50).run() is None


def test_every_kind_is_sent() -> None:
    fuzz = Fuzz(4, blocks=1)
    assert fuzz.run() is None
    assert {type(fuzz.anything()) for _ in range(400)} == set(KINDS)
