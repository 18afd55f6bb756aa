"""How much of the past a node keeps to prove it: so many states, and so many changed records between them."""

from __future__ import annotations

import pytest

from potminer.core.ledger.apply import Applied
from potminer.node.past import CHANGES, STATES, Past
from potminer.wire.block import Certificate, Header
from potminer.wire.proof import CertifiedHeader
from tests.unit.ledger_world import World


def certified(height: int) -> CertifiedHeader:
    none = bytes(32)
    header = Header(none, height, 0, none, none, none, height, none)
    return CertifiedHeader(header, Certificate(3, 0, height, 0, none, ()))


@pytest.mark.parametrize(("changed", "kept"), [(1, STATES + 1), (1_000, 21), (CHANGES, 2), (10 * CHANGES, 2)])
def test_past_states_are_bounded_in_number_and_in_what_lies_between_them(changed: int, kept: int) -> None:
    state = World().state
    past = Past(state)
    applied = Applied(state, (), (), ((b"key", None),) * changed)
    for height in range(1, 90):
        past.follow(applied, certified(height))
    assert len(past._kept) == kept
