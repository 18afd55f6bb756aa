"""Outliers: what is unusually long is audited whole, and no minority decides what is usual."""

from __future__ import annotations

from random import Random

import pytest
from msgspec.structs import replace

from potminer.core.ledger import event
from potminer.core.ledger.outliers import outliers
from potminer.core.ledger.refusal import Refusal
from potminer.wire.length import length_nano, said_length, square_of
from potminer.wire.record import Phase, UnitRecord
from potminer.wire.slice import LENGTH_UNIT
from potminer.wire.tx import Bond, Transfer
from tests.unit.ledger_world import LENGTH, World, key

ONE = 1 << -LENGTH_UNIT
"""The square of a length of one."""


def said(*units: tuple[str, float]) -> dict[int, UnitRecord]:
    """Units of these trainers, so long each."""
    return {
        slot: UnitRecord(key(name).public, lengths=(said_length(int(length**2 * 2**60) << -LENGTH_UNIT - 60),))
        for slot, (name, length) in enumerate(units)
    }


@pytest.mark.parametrize("width", [*range(1, 12), 60, 333, 400, 510])
def test_what_is_said_of_a_square_is_its_first_eight_bits_and_rises_with_it(width: int) -> None:
    random = Random(width)
    squares = sorted({random.randrange(2 ** (width - 1), 2**width) for _ in range(200)})
    lengths = [said_length(square) for square in squares]
    assert lengths == sorted(lengths)
    for square, length in zip(squares, lengths, strict=True):
        assert 0 < length < 2**16
        cut = max(0, width - 8)
        assert square_of((length,)) == square >> cut << cut


def test_nothing_is_said_as_zero() -> None:
    assert said_length(0) == 0
    assert square_of((0, 0)) == 0
    assert all(square_of((each,)) <= square_of((each + 1,)) for each in range(2**16 - 1))


def test_lengths_for_people() -> None:
    assert length_nano(()) is None
    assert length_nano((said_length(ONE),)) == 10**9
    assert length_nano((said_length(ONE), said_length(3 * ONE))) == 2 * 10**9
    assert length_nano((2**16 - 1,)) == 2**63 - 1


def test_an_outlier_is_more_than_three_times_as_long_as_usual() -> None:
    assert outliers(said(("ann", 1), ("ben", 1), ("cy", 3))) == set()
    assert outliers(said(("ann", 1), ("ben", 1), ("cy", 3.02))) == {2}
    assert outliers(said(("ann", 0), ("ben", 0), ("cy", 1))) == {2}
    assert outliers(said(("ann", 1))) == set()
    assert outliers({}) == set()


def test_the_squares_of_slices_are_summed() -> None:
    units = said(("ann", 1), ("ben", 1), ("cy", 2.5))
    (part,) = units[2].lengths
    units = {slot: replace(unit, lengths=unit.lengths * 2) for slot, unit in units.items()}
    assert outliers(units) == set()
    units[0], units[1] = (replace(units[slot], lengths=(units[slot].lengths[0], 0)) for slot in (0, 1))
    assert units[2].lengths == (part, part)
    assert outliers(units) == {2}


@pytest.mark.parametrize("trainers", range(2, 12))
def test_fewer_than_half_of_the_trainers_make_nobody_an_outlier_however_many_units_they_have(trainers: int) -> None:
    """Honest updates differ by less than three; the others say what they like of as many units as they like."""
    random = Random(trainers)
    for _ in range(60):
        liars = random.randrange((trainers + 1) // 2)
        units = [(f"liar-{n}", random.choice((0, 1e-9, 0.4, 50, 1e9))) for n in range(liars) for _ in range(8)]
        honest = [(f"honest-{n}", 1 + 1.9 * random.random()) for n in range(trainers - liars)]
        everybody = said(*random.sample(units + honest, len(units) + len(honest)))
        found = outliers(everybody)
        names = {key(name).public for name, _ in honest}
        assert not any(everybody[slot].trainer in names for slot in found)
        longest = max(square_of(unit.lengths) for unit in everybody.values() if unit.trainer in names)
        wild = {slot for slot, unit in everybody.items() if square_of(unit.lengths) > 9 * longest}
        assert wild <= found


def drawn(lengths: dict[int, int]) -> World:
    """A round whose audits are drawn, of trainers with so much at stake that one segment of a unit is audited."""
    world = World()
    world.submit()
    names = ("ann", "ben", "cy")
    assert set(world.step(*(("rich", Transfer(key(name).public, 10**11)) for name in names))) == {None}
    assert set(world.step(*((name, Bond(10**10)) for name in names))) == {None}
    world.lengths = lengths
    world.commit_all()
    world.reveal_all()
    world.until(Phase.AUDIT)
    return world


def audited(world: World, slot: int) -> list[int]:
    return sorted(audit.segment for audit in world.round.audits if audit.slot == slot)


def test_of_an_outlier_every_segment_is_audited_whatever_its_trainer_has_at_stake() -> None:
    world = drawn({2: LENGTH + 128 * 4})
    slots = range(len(world.round.slots))
    assert [slot for slot in slots if world.unit(slot).outlier] == [2]
    assert audited(world, 2) == [1, 2, 3, 4]
    assert all(len(audited(world, slot)) == 1 for slot in slots if slot != 2)
    usual = drawn({2: LENGTH + 128 * 3})
    assert all(len(audited(usual, slot)) == 1 for slot in slots), "eight times the square is not nine"


def test_a_short_update_is_no_outlier() -> None:
    world = drawn({2: 0})
    assert not any(world.unit(slot).outlier for slot in range(len(world.round.slots)))


def test_how_long_it_said_to_be_and_that_it_is_an_outlier_is_told_when_it_ends() -> None:
    world = drawn({2: LENGTH + 128 * 4})
    world.audit_all()
    world.attest()
    ended = {each.slot: each for each in world.happened(event.UnitEnded)}
    assert ended[2].outlier
    assert ended[2].lengths == (LENGTH + 128 * 4,)
    assert not ended[0].outlier


def test_what_a_commitment_binds_is_how_long_the_update_is_said_to_be_too() -> None:
    world = World()
    world.submit()
    world.commit_all()
    shorter = replace(world.reveal_of(0), lengths=(LENGTH - 128,))
    assert world.step((world.name_of(world.round.slots[0]), shorter)) == [Refusal.COMMITMENT_MISMATCH]
