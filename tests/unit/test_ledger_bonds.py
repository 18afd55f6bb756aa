"""Validators' money: bonds, their way out, and evidence. Only a true contradiction ever costs a bond."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from potminer.base import limits
from potminer.core.ledger import event
from potminer.core.ledger.apply import Applied, apply_block
from potminer.core.ledger.bonds import evidence_holds
from potminer.core.ledger.mempool import Mempool
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import supply
from potminer.wire import record as records
from potminer.wire.record import Roster, Validator
from potminer.wire.seal import Purpose, statement
from potminer.wire.tx import Evidence, RegisterValidator, Spoken, Transfer, UnbondValidator
from tests.unit.ledger_world import RICH, SMALLEST_BOND, World, blob, key, onion

BOND = 100 * SMALLEST_BOND


def bonded() -> World:
    return World(validators=5, bond=BOND)


def validator(world: World, name: str) -> Validator:
    return world.state.need(Validator, records.validator_key(key(name).public))


def roster(world: World) -> Roster:
    return world.state.need(Roster, records.ROSTER)


def spoken(
    world: World, name: str, digest: bytes, *, purpose: Purpose = Purpose.PREPARE, epoch: int = 0, height: int = 9,
    view: int = 1, chain: bytes | None = None,
) -> Spoken:  # fmt: skip
    said = statement(
        purpose, chain=chain or world.chain, signer=key(name).public, digest=digest, epoch=epoch, height=height,
        view=view,
    )  # fmt: skip
    return Spoken(purpose, digest, key(name).sign(said))


def evidence(world: World, name: str = "validator-4", **said: object) -> Evidence:
    one = spoken(world, name, blob("one"), **said)  # type: ignore[arg-type]
    other = spoken(world, name, blob("other"), **said)  # type: ignore[arg-type]
    return Evidence(key(name).public, 0, 9, 1, one, other)


# ---- evidence ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        (Purpose.PREPARE, Purpose.PREPARE, True),
        (Purpose.PRE_PREPARE, Purpose.PREPARE, True),
        (Purpose.PRE_PREPARE, Purpose.PRE_PREPARE, True),
        (Purpose.COMMIT, Purpose.COMMIT, True),
        (Purpose.CHECKPOINT, Purpose.CHECKPOINT, True),
        (Purpose.PREPARE, Purpose.COMMIT, False),
        (Purpose.COMMIT, Purpose.CHECKPOINT, False),
        (Purpose.VIEW_CHANGE, Purpose.VIEW_CHANGE, False),
        (Purpose.TRANSACTION, Purpose.TRANSACTION, False),
    ],
)
def test_two_values_for_one_place_and_purpose_are_a_contradiction(one: Purpose, other: Purpose, holds: bool) -> None:
    world = bonded()
    first = spoken(world, "validator-4", blob("one"), purpose=one)
    second = spoken(world, "validator-4", blob("other"), purpose=other)
    said = Evidence(key("validator-4").public, 0, 9, 1, first, second)
    assert evidence_holds(said, chain=world.chain) is holds
    assert evidence_holds(replace(said, first=second, second=first), chain=world.chain) is holds


FALSE: dict[str, Callable[[World], Evidence]] = {
    "the same words twice": lambda w: replace(
        evidence(w), second=evidence(w).first),
    "one block prepared as primary and as backup": lambda w: replace(
        evidence(w), second=spoken(w, "validator-4", blob("one"), purpose=Purpose.PRE_PREPARE)),
    "another height": lambda w: replace(evidence(w), second=spoken(w, "validator-4", blob("other"), height=10)),
    "another view": lambda w: replace(evidence(w), second=spoken(w, "validator-4", blob("other"), view=2)),
    "another epoch": lambda w: replace(evidence(w), second=spoken(w, "validator-4", blob("other"), epoch=1)),
    "both of another epoch than it says": lambda w: evidence(w, epoch=1),
    "another chain": lambda w: evidence(w, chain=blob("another chain")),
    "another's words": lambda w: replace(evidence(w, "validator-3"), validator=key("validator-4").public),
    "a forged signature": lambda w: replace(
        evidence(w), second=replace(evidence(w).second, signature=bytes(64))),
    "a purpose that is none": lambda w: replace(
        evidence(w), first=replace(evidence(w).first, purpose=77), second=replace(evidence(w).second, purpose=77)),
}  # fmt: skip


@pytest.mark.parametrize("case", FALSE)
def test_false_evidence_costs_nobody_anything_and_is_not_passed_on(case: str) -> None:
    world = bonded()
    said = FALSE[case](world)
    assert world.step(("validator-0", said)) == [Refusal.BAD_EVIDENCE]
    assert validator(world, "validator-4") == Validator(onion("validator-4").outside, BOND)
    assert Mempool().add(world.sign("validator-0", said), world.state) == Refusal.BAD_EVIDENCE


def test_true_evidence_takes_the_whole_bond_once() -> None:
    world = bonded()
    assert world.step(("validator-4", UnbondValidator(BOND // 4))) == [None]
    before = world.balance("validator-0")
    assert world.step(("validator-0", evidence(world))) == [None]
    gone = validator(world, "validator-4")
    assert (gone.bond, gone.unbonding, gone.slashed) == (0, 0, True)
    reward = BOND * 50_000 // 10**6
    assert world.balance("validator-0") == before + reward
    assert world.state.head.burnt == BOND - reward
    assert key("validator-4").public not in roster(world).candidates
    assert roster(world).unbondings == ()
    assert world.happened(event.ValidatorSlashed) == [
        event.ValidatorSlashed(key("validator-4").public, key("validator-0").public, BOND, reward)
    ]
    again = evidence(world, purpose=Purpose.COMMIT)
    assert world.step(("validator-1", again)) == [Refusal.ALREADY_DONE]
    assert world.step(("validator-4", RegisterValidator(None, 1))) == [Refusal.SLASHED]
    assert Mempool().add(world.sign("validator-2", again), world.state) is None, "old news leaves no gap in the nonces"


def test_a_cheat_that_reports_itself_loses_nearly_all() -> None:
    world = bonded()
    assert world.step(("validator-4", evidence(world))) == [None]
    assert world.balance("validator-4") < BOND // 10


def test_a_stranger_pays_for_its_evidence_and_nobody_is_accused_who_is_no_validator() -> None:
    world = bonded()
    said = evidence(world)
    assert Mempool().add(world.sign("nobody", said), world.state) == Refusal.FEE_TOO_LOW
    other = evidence(world, "ann")
    assert world.step(("rich", other)) == [Refusal.NOT_VALIDATOR]
    assert world.step(("rich", said)) == [None]


# ---- bonds -------------------------------------------------------------------------------


def test_who_registers_bonds_and_is_a_candidate() -> None:
    world = bonded()
    register = RegisterValidator(onion("rich").outside, SMALLEST_BOND)
    assert world.step(("rich", register)) == [None]
    assert validator(world, "rich") == Validator(onion("rich").outside, SMALLEST_BOND)
    assert key("rich").public in roster(world).candidates
    assert world.step(("rich", RegisterValidator(None, 500))) == [None]
    assert validator(world, "rich").bond == SMALLEST_BOND + 500
    assert world.balance("rich") == RICH - SMALLEST_BOND - 500 - 2 * 10


def test_an_onion_is_renewed_two_epochs_later() -> None:
    """Or a proposer could choose an onion whose first layer bends the beacon its way."""
    world = bonded()
    before = validator(world, "validator-2")
    assert world.step(("validator-2", RegisterValidator(onion("new").outside, 0))) == [None]
    named = validator(world, "validator-2")
    assert (named.onion, named.next_onion, named.next_epoch) == (before.onion, onion("new").outside, 2)
    assert named.onion_in(1) == before.onion
    assert named.onion_in(2) == onion("new").outside
    assert world.step(("validator-2", RegisterValidator(onion("newer").outside, 0))) == [Refusal.ALREADY_DONE]


REFUSED: dict[str, tuple[str, RegisterValidator | UnbondValidator, Refusal]] = {
    "a newcomer without an onion": ("rich", RegisterValidator(None, BOND), Refusal.NOT_REGISTERED),
    "a newcomer with too little": (
        "rich", RegisterValidator(blob("onion"), SMALLEST_BOND - 1), Refusal.BOND_TOO_LOW),
    "a newcomer with more than it has": ("rich", RegisterValidator(blob("onion"), 2 * RICH), Refusal.BALANCE_TOO_LOW),
    "nothing at all": ("validator-0", RegisterValidator(None, 0), Refusal.BOND_TOO_LOW),
    "unbonding of no validator": ("rich", UnbondValidator(1), Refusal.NOT_REGISTERED),
    "unbonding nothing": ("validator-0", UnbondValidator(0), Refusal.BOND_TOO_LOW),
    "unbonding more than the bond": ("validator-0", UnbondValidator(BOND + 1), Refusal.BOND_TOO_LOW),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_no_bond(case: str) -> None:
    world = bonded()
    name, body, refusal = REFUSED[case]
    before = roster(world), [validator(world, v).bond for v in world.validators]
    assert world.step((name, body)) == [refusal]
    assert (roster(world), [validator(world, v).bond for v in world.validators]) == before


def test_one_validator_has_few_unbondings_at_a_time() -> None:
    world = bonded()
    for _ in range(4):
        assert world.step(("validator-0", UnbondValidator(1))) == [None]
    assert world.step(("validator-0", UnbondValidator(1))) == [Refusal.TOO_MANY]
    assert world.step(("validator-1", UnbondValidator(1))) == [None]


def test_below_the_smallest_bond_nobody_is_a_candidate() -> None:
    world = bonded()
    world.step(("validator-0", UnbondValidator(BOND - SMALLEST_BOND + 1)))
    assert key("validator-0").public not in roster(world).candidates
    world.step(("rich", Transfer(key("validator-0").public, 1_000)))
    world.step(("validator-0", RegisterValidator(None, 1)))
    assert key("validator-0").public in roster(world).candidates


def test_a_larger_bond_takes_the_place_of_the_smallest() -> None:
    world = World(bond=BOND)
    names = [f"candidate-{i}" for i in range(limits.CANDIDATES - 4)]
    for start in range(0, len(names), 64):
        world.step(*[("rich", Transfer(key(n).public, 10 * SMALLEST_BOND)) for n in names[start : start + 64]])
    register = RegisterValidator(blob("onion"), SMALLEST_BOND)
    assert set(world.step(*[(name, register) for name in names])) == {None}
    assert len(roster(world).candidates) == limits.CANDIDATES
    late = max(key(name).public for name in names)
    assert world.step(("rich", replace(register, amount=SMALLEST_BOND))) == (
        [Refusal.TOO_MANY] if key("rich").public > late else [None]
    )
    assert world.step(("requester", replace(register, amount=2 * SMALLEST_BOND))) == [None]
    assert key("requester").public in roster(world).candidates
    assert len(roster(world).candidates) == limits.CANDIDATES
    assert supply(world.state) == world.state.head.supply


def test_evidence_does_not_make_its_validators_own_free_transaction_spoil_the_block() -> None:
    """The block is built on a state in which both are proper."""
    world = bonded()
    world.step(("rich", RegisterValidator(onion("rich").outside, BOND)))
    proven = world.sign("validator-0", evidence(world, "rich"), fee=0)
    free = world.sign("rich", RegisterValidator(None, 1), fee=0)
    applied = apply_block(world.state, world.block(proven, free))
    assert isinstance(applied, Applied)
    assert [receipt.refusal for receipt in applied.receipts] == [None, Refusal.SLASHED]
