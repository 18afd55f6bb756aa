"""What a rig is told of a stake that is held, and how its books take it."""

from __future__ import annotations

from potminer.core.ledger import event
from potminer.node.history import History
from potminer.node.outlook import held_seen, held_work, hidden_blobs
from potminer.view.earnings import earnings_facts
from potminer.view.reasons import EXPLAINED
from potminer.wire.control import EarningsView
from potminer.wire.record import Share
from potminer.wire.tx import ShowSnapshots
from tests.unit.ledger_world import blob, key
from tests.unit.test_ledger_hidden import held, hidden_world, place

ANN, BEN = key("ann").public, key("ben").public
TASK = blob("task")


def test_a_rig_knows_what_is_held_for_which_work_and_keeps_what_it_needs_to_show_it() -> None:
    world = hidden_world()
    found = held(world)
    assert found is not None
    assert held_work(world.state, ANN) == (found.amount, "round 2 of digits")
    assert held_work(world.state, BEN) == (0, "")
    shots = {s for part in found.units[0].segments for s in (part.before, part.after) if s is not None}
    needed = shots | {found.units[0].base, world.record.spec.data.train}
    assert hidden_blobs(world.state, own=ANN) == needed
    assert hidden_blobs(world.state, own=BEN) == frozenset()
    assert [each.unit for each in held_seen(world.state, own=ANN).own] == list(found.units)
    world.step(("ann", ShowSnapshots(*place(world))))
    assert hidden_blobs(world.state, own=ANN) == needed, "judges fetch them now"
    told = held_seen(world.state, own=BEN)
    assert (told.own, [each.trainer for each in told.shown]) == ((), [ANN])


def test_faces_say_how_much_is_held_for_what_and_that_it_comes_back_by_itself() -> None:
    view = EarningsView(today=0, pending=0, paid=0, total=9 * 10**9, held=7 * 10**9, held_for="round 2 of digits")
    (fact,) = (fact for fact in earnings_facts(view) if fact.label == "held")
    assert fact.value == "7.00 POT until this rig has shown its work of round 2 of digits: it does so by itself"
    assert all(fact.label != "held" for fact in earnings_facts(EarningsView(today=0, pending=0, paid=0, total=1)))
    assert "shows the work by itself" in EXPLAINED["unavailable"][1]


def test_what_is_held_counts_as_bond_until_it_is_lost() -> None:
    book = History(ANN)
    book.fold([event.Rewarded(TASK, 0, (Share(ANN, ANN, 100), Share(BEN, BEN, 5)))], height=1, time_ms=0)
    book.fold([event.StakeHeld(TASK, 1, BEN, 5)], height=2, time_ms=0)
    assert book.takings.all.pending == 100
    book.fold([event.StakeHeld(TASK, 1, ANN, 100), event.PayHeld(TASK, 1, ANN, 30)], height=3, time_ms=0)
    sums = book.takings.all
    assert (sums.pending, sums.bond, sums.paid, sums.total) == (0, 130, 0, 130)
    book.fold([event.StakeReturned(TASK, ANN, 130)], height=4, time_ms=0)
    assert (sums.bond, sums.total) == (130, 130)
    book.fold([event.Expelled(TASK, ANN, "malformed", 130)], height=5, time_ms=0)
    assert book.takings.all.total == 0
