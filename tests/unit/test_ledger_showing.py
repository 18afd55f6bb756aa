"""What nobody may keep from being shown: neither machines that disagree for ever nor a crowd of keys."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.base import limits
from potminer.core.ledger import event
from potminer.core.ledger.hidden import show
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.held import HeldStake, Showing
from potminer.wire.tx import AuditVerdict, Finding, ShowSnapshots
from tests.unit.ledger_world import World, key
from tests.unit.test_ledger_hidden import held, hidden_world, look, place, trainer


def test_judges_whose_machines_disagree_for_ever_do_not_keep_a_stake_for_ever() -> None:
    """Two of four pass it and two do not, now and whenever it is shown: one of those who passed it is honest."""
    world = hidden_world()
    amount = held(world).amount  # type: ignore[union-attr]
    world.step(("ann", ShowSnapshots(*place(world))))
    look(world, 3, judges=2)
    found = held(world)
    assert found is not None
    assert found.showing is not None
    sketch = bytes(64)
    world.step(*[
        (judge, AuditVerdict(*place(world), part.segment, Finding.MEASURED, 900_000, sketch))
        for part in found.units[0].segments
        for judge in world.validators[2:]
    ])  # fmt: skip
    assert held(world) is None
    assert (trainer(world).bond, trainer(world).expelled) == (amount, False)


def crowded(world: World, amount: int) -> Draft:
    """As many as can be shown at once are, with *amount* held of each."""
    draft, found = Draft(world.state), held(world)
    assert found is not None
    others = tuple(key(f"crowd-{number}").public for number in range(limits.SHOWING))
    for other in others:
        draft.put(records.held_key(other), replace(found, amount=amount, showing=Showing(0, 10**12)))
    draft.put(records.CHAIN, replace(draft.head, showing=others))
    return draft


@pytest.mark.parametrize("more", [True, False])
def test_keys_with_less_at_stake_make_room_for_who_has_more(more: bool) -> None:
    """A crowd of keys with a grain each must not keep everybody else's stake from being shown."""
    world = hidden_world()
    found = held(world)
    assert found is not None
    draft, events = crowded(world, found.amount - more), list[event.Event]()
    said = show(draft, key("ann").public, ShowSnapshots(*place(world)), events)
    assert said == (None if more else Refusal.TOO_MANY)
    assert len(draft.head.showing) == limits.SHOWING
    first = draft.need(HeldStake, records.held_key(key("crowd-0").public))
    assert (first.showing is None) == more
    assert first.units[0].tries == more
