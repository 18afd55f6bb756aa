"""Epochs of the ledger: who is elected, with which power, when it acts; and turns that were missed."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from potminer.core.committee import Committee, committee_of, epoch_of
from potminer.core.ledger import event
from potminer.core.ledger.epoch import powers_of
from potminer.wire import record as records
from potminer.wire.block import Block
from potminer.wire.record import CommitteeRecord, Validator
from potminer.wire.tx import RegisterValidator, UnbondValidator
from tests.unit.ledger_world import SMALLEST_BOND, World, key, onion, true_evidence

BOND = 10 * SMALLEST_BOND
E = 6


def world_of(validators: int = 5) -> World:
    return World(validators=validators, bond=BOND, epoch_blocks=E)


def to_height(world: World, height: int) -> None:
    while world.state.head.height < height:
        world.step()


def members(record: CommitteeRecord) -> set[str]:
    names = [f"validator-{i}" for i in range(8)] + ["rich"]
    return {name for name in names if key(name).public in record.members}


# ---- epochs ------------------------------------------------------------------------------


def test_an_epoch_is_its_blocks_and_the_genesis_counts_to_the_first() -> None:
    assert [epoch_of(height, blocks=E) for height in (0, 1, E, E + 1, 2 * E, 2 * E + 1)] == [0, 0, 0, 1, 1, 2]


def test_the_header_names_the_epoch_of_its_height() -> None:
    world = world_of()
    for height in range(1, 3 * E + 1):
        world.step()
        assert world.blocks[-1].header.epoch == epoch_of(height, blocks=E)
        assert world.state.committee.epoch == epoch_of(height + 1, blocks=E)
        assert world.state.following.epoch == world.state.committee.epoch + 1
    assert [each.epoch for each in world.happened(event.EpochBegan)] == [1, 2, 3]


def test_whoever_bonds_in_an_epoch_sits_two_epochs_later() -> None:
    world = world_of()
    assert world.step(("rich", RegisterValidator(onion("rich").outside, 2 * BOND))) == [None]
    to_height(world, E - 1)
    assert "rich" not in members(world.state.following)
    to_height(world, E)
    assert (world.state.committee.epoch, world.state.following.epoch) == (1, 2)
    assert "rich" not in members(world.state.committee)
    assert "rich" in members(world.state.following), "elected at the end of epoch 0, for epoch 2"
    to_height(world, 2 * E)
    assert "rich" in members(world.state.committee)


def test_a_slashed_member_sits_until_its_epochs_end_and_not_after() -> None:
    world = world_of()
    assert world.step(("validator-0", true_evidence(world, "validator-4"))) == [None]
    seat = world.state.committee.members.index(key("validator-4").public)
    assert world.state.committee.skipped == (seat,), "its turns are over at once"
    to_height(world, E)
    assert "validator-4" in members(world.state.committee), "elected before it was caught"
    assert world.state.committee.skipped == (seat,)
    to_height(world, 2 * E)
    assert members(world.state.committee) == {f"validator-{i}" for i in range(4)}
    assert world.state.committee.skipped == ()


def test_a_proven_cheat_stays_only_while_nobody_else_is_there() -> None:
    world = world_of(4)
    world.step(("validator-0", true_evidence(world, "validator-3")))
    to_height(world, 2 * E)
    record = world.state.committee
    assert members(record) == {f"validator-{i}" for i in range(4)}, "three bear no fault"
    assert record.members[3] == key("validator-3").public
    assert record.powers == (10, 10, 10, 1), "but those with a bond decide alone"
    assert record.skipped == (3,)
    assert world.step(("rich", RegisterValidator(onion("rich").outside, BOND))) == [None]
    to_height(world, 4 * E)
    assert members(world.state.committee) == {"validator-0", "validator-1", "validator-2", "rich"}
    assert not any(each.kept for each in world.happened(event.EpochBegan))


def test_who_left_stays_before_a_cheat_where_too_few_are_bonded() -> None:
    world = world_of(5)
    world.step(("validator-0", true_evidence(world, "validator-4")))
    for name in ("validator-2", "validator-3"):
        assert world.step((name, UnbondValidator(BOND))) == [None]
    to_height(world, 2 * E)
    record = world.state.committee
    assert members(record) == {f"validator-{i}" for i in range(4)}
    assert {key(name).public for name in ("validator-0", "validator-1")} == set(record.members[:2])
    assert record.powers == (1, 1, 1, 1), "no other division leaves everybody below a third"
    assert world.step(("rich", RegisterValidator(onion("rich").outside, BOND))) == [None]
    to_height(world, 4 * E)
    assert "rich" in members(world.state.committee), "a bond gets in at once, and does not wait for three others"
    assert len(world.state.committee.members) == 5
    assert world.state.committee.powers[3:] == (1, 1)


def test_without_any_bond_the_committee_is_kept() -> None:
    world = World(validators=5, epoch_blocks=E)
    first = world.state.committee
    to_height(world, 3 * E)
    assert (world.state.committee.members, world.state.committee.powers) == (first.members, first.powers)
    assert all(each.kept for each in world.happened(event.EpochBegan))
    assert world.step(("rich", RegisterValidator(onion("rich").outside, BOND))) == [None]
    to_height(world, 5 * E)
    assert set(world.state.committee.members) == {key("rich").public, *first.members}


def test_what_is_unbonded_stays_in_reach_two_epochs_after_its_last_seat() -> None:
    world = world_of()
    assert world.step(("validator-4", UnbondValidator(BOND))) == [None]
    to_height(world, 2 * E)
    assert "validator-4" not in members(world.state.committee)
    before = world.balance("validator-4")
    to_height(world, 4 * E - 1)
    owed = world.state.need(Validator, records.validator_key(key("validator-4").public))
    assert (owed.bond, owed.unbonding) == (0, BOND)
    world.step()
    owed = world.state.need(Validator, records.validator_key(key("validator-4").public))
    assert owed.unbonding == 0
    assert world.balance("validator-4") == before + BOND


def test_evidence_reaches_a_bond_on_its_way_out() -> None:
    world = world_of()
    world.step(("validator-4", UnbondValidator(BOND)))
    to_height(world, 4 * E - 2)
    assert world.step(("validator-0", true_evidence(world, "validator-4"))) == [None]
    to_height(world, 4 * E + 1)
    assert world.happened(event.ValidatorSlashed)[0].amount == BOND
    assert world.state.need(Validator, records.validator_key(key("validator-4").public)).unbonding == 0


def test_a_renewed_onion_takes_over_in_its_epoch_and_the_old_one_is_nothing_then() -> None:
    world = world_of()
    name = "validator-1"
    assert world.step((name, RegisterValidator(onion(name + "-renewed").outside, 0))) == [None]
    to_height(world, 4 * E)
    held = world.state.need(Validator, records.validator_key(key(name).public))
    assert held.next_onion is None
    assert onion(name + "-renewed").left(held.onion) is not None


# ---- power -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bonds", "powers"),
    [
        ([1, 1, 1, 1], (1, 1, 1, 1)),
        ([7, 7, 7, 7], (7, 7, 7, 7)),
        ([1_000, 1, 1, 1], (1, 1, 1, 1)),
        ([10, 10, 10, 1], (10, 10, 10, 1)),
        ([9, 5, 5, 5], (7, 5, 5, 5)),
        ([10**9] * 5, (100,) * 5),
        ([5, 3, 1], (1, 1, 1)),
        ([4], (1,)),
    ],
)
def test_power_follows_the_bond_and_nobody_alone_has_a_third(bonds: list[int], powers: tuple[int, ...]) -> None:
    assert powers_of(bonds) == powers
    if len(bonds) > 3:
        assert 3 * max(powers) < sum(powers)


# ---- turns -------------------------------------------------------------------------------


def committee(size: int, *, skipped: tuple[int, ...] = (), powers: tuple[int, ...] = ()) -> Committee:
    keys = tuple(bytes([seat]) * 32 for seat in range(size))
    return Committee(0, keys, powers or (1,) * size, skipped)


def test_the_turn_passes_over_who_is_skipped() -> None:
    sitting = committee(7, skipped=(2, 5))
    assert sitting.turns == (0, 1, 3, 4, 6)
    assert [sitting.primary(height=10, view=view) for view in range(6)] == [0, 1, 3, 4, 6, 0]


def test_missed_turns_are_those_before_the_proposers() -> None:
    sitting = committee(7, skipped=(2,))
    turns = [sitting.primary(height=9, view=view) for view in range(6)]
    for view, seat in enumerate(turns):
        assert sitting.missed(height=9, proposer=sitting.members[seat]) == tuple(turns[:view])
    assert sitting.missed(height=9, proposer=sitting.members[2]) == ()


@pytest.mark.parametrize("size", range(1, 32))
def test_less_than_a_third_is_ever_skipped_and_somebody_has_a_turn(size: int) -> None:
    sitting = committee(size)
    skipped = sitting.skipping(range(size))
    assert len(skipped) == (size - 1) // 3
    assert committee(size, skipped=skipped).turns


def test_who_weighs_too_much_is_not_skipped_but_the_next_may_be() -> None:
    assert committee(4, powers=(4, 3, 3, 1)).skipping((0, 3)) == (3,)


def test_the_chain_skips_who_missed_a_turn_until_its_epoch_ends() -> None:
    world = world_of()
    first = committee_of(world.state.committee).primary(height=1, view=0)
    world.step(view=1)
    assert world.state.committee.skipped == (first,)
    while world.state.head.height < E - 1:
        world.step()
        assert world.state.committee.skipped == (first,)
    block = world.block()
    assert block.header.proposer != world.state.committee.members[first]
    assert "no turn" in world.refused_block(_by(world, world.state.committee.members[first]))
    world.step()
    assert world.state.committee.skipped == ()


def _by(world: World, proposer: bytes) -> Block:
    block = world.block()
    return replace(block, header=replace(block.header, proposer=proposer))
