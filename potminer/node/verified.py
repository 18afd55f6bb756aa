"""What ``chain verify`` finds out: questions to one node, answered by proofs alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from potminer.base.errors import Malformed, NotProven
from potminer.core.ledger.epoch import FEWEST
from potminer.core.light.shown import Fact
from potminer.node.follower import Follower
from potminer.wire import record as records
from potminer.wire.proof import KEYS_PER_REPLY
from potminer.wire.record import (
    Account,
    CommitteeRecord,
    PendingRound,
    Roster,
    RoundRecord,
    TaskRecord,
    TaskStatus,
    Trainer,
    Unbonding,
    UnitRecord,
    Validator,
)
from potminer.world.api.attach import Client

_TRIES = 3


@dataclass(frozen=True, slots=True)
class ProvenAccount:
    """After block *height*. Without an account *known* is False and everything is 0: that is proven too."""

    height: int
    known: bool
    balance: int
    nonce: int
    bond: int
    unbonding: int


@dataclass(frozen=True, slots=True)
class ProvenTask:
    """After block *height*. *model* is the one after *round* rounds. *phase* is of the round in progress, None where
    none is open; *outcomes* counts its units by how they ended, *open_units* those that have not."""

    height: int
    name: str
    status: str
    round: int
    rounds: int
    model: bytes
    escrow: int
    phase: str | None
    outcomes: dict[str, int]
    open_units: int


@dataclass(frozen=True, slots=True)
class Owed:
    """Rewards in the dispute window: *grains* in all, to how many."""

    grains: int
    earners: int


@dataclass(frozen=True, slots=True)
class ProvenValidator:
    """After block *height*, in the *epoch* of the next one. *power* is of this epoch's committee and *coming_power* of
    the next one's, None without a seat there. *known*: was registered once. *candidate*: one of the *candidates*;
    with fewer than *needed* of them others stay without a bond."""

    height: int
    epoch: int
    known: bool
    bond: int
    leaving: tuple[Unbonding, ...]
    candidate: bool
    candidates: int
    needed: int
    slashed: bool
    power: int | None
    coming_power: int | None
    balance: int


async def account(follower: Follower, node: Client, key: bytes) -> ProvenAccount:
    money, work = await follower.facts(node, [records.account_key(key), records.trainer_key(key)])
    try:
        found, trainer = money.record(Account) or Account(), work.record(Trainer)
    except Malformed as error:
        raise _unknown(error) from error
    bond, unbonding = (0, 0) if trainer is None else (trainer.bond, trainer.unbonding)
    return ProvenAccount(money.height, money.value is not None, found.balance, found.nonce, bond, unbonding)


async def validator(follower: Follower, node: Client, key: bytes) -> ProvenValidator:
    """How *key* stands with consensus: its bond, its candidacy, its seats."""
    wanted = [
        records.validator_key(key), records.COMMITTEE, records.FOLLOWING, records.ROSTER, records.account_key(key)
    ]  # fmt: skip
    own, now, after, roster, money = await follower.facts(node, wanted)
    try:
        record = own.record(Validator)
        committee, coming, listed = now.record(CommitteeRecord), after.record(CommitteeRecord), roster.record(Roster)
        balance = (money.record(Account) or Account()).balance
    except Malformed as error:
        raise _unknown(error) from error
    if committee is None or coming is None or listed is None:
        raise NotProven("the node proves a ledger without a committee", "Do not believe it; ask another node.")
    leaving = tuple(each for each in listed.unbondings if each.validator == key)
    return ProvenValidator(
        own.height, committee.epoch, record is not None, 0 if record is None else record.bond, leaving,
        key in listed.candidates, len(listed.candidates), min(FEWEST, len(coming.members)),
        record is not None and record.slashed, _power(committee, key), _power(coming, key), balance,
    )  # fmt: skip


def _power(committee: CommitteeRecord, key: bytes) -> int | None:
    return committee.powers[committee.members.index(key)] if key in committee.members else None


async def task(follower: Follower, node: Client, name: bytes) -> ProvenTask | None:
    """None where it is proven that no such task was ever ordered."""
    head, *places = await follower.facts(node, [records.task_key(name), *(records.round_key(name, n) for n in (0, 1))])
    try:
        record = head.record(TaskRecord)
        if record is None:
            return None
        opened = places[record.round % 2].record(RoundRecord)
        outcomes, left = await _units(follower, node, name, opened)
    except Malformed as error:
        raise _unknown(error) from error
    return ProvenTask(
        head.height, record.spec.name, TaskStatus(record.status).name.lower(), record.round, record.spec.rounds,
        record.model, record.escrow, None if opened is None else opened.phase.name.lower(), outcomes, left,
    )  # fmt: skip


async def owed(follower: Follower, node: Client, name: bytes, round: int) -> Owed | None:
    """What *round* of a task has earned and not paid yet; None where it is proven that nothing is pending."""
    (fact,) = await follower.facts(node, [records.pending_key(name, round)])
    try:
        pending = fact.record(PendingRound)
    except Malformed as error:
        raise _unknown(error) from error
    if pending is None:
        return None
    return Owed(sum(share.amount for share in pending.shares), len({share.earner for share in pending.shares}))


async def _units(
    follower: Follower, node: Client, name: bytes, opened: RoundRecord | None
) -> tuple[dict[str, int], int]:
    """Units of the round in progress by outcome, and how many have none yet."""
    keys = [] if opened is None else [records.unit_key(name, opened.number, s) for s in range(len(opened.slots))]
    found: list[Fact] = []
    for first in range(0, len(keys), KEYS_PER_REPLY):
        found += await follower.facts(node, keys[first : first + KEYS_PER_REPLY])
    ends = [unit.judgement for unit in (fact.record(UnitRecord) for fact in found) if unit is not None]
    outcomes = Counter(end.outcome.value for end in ends if end is not None)
    return dict(outcomes), sum(end is None for end in ends)


def _unknown(error: Malformed) -> NotProven:
    return NotProven(f"a record is not what it should be: {error}", "Is this potminer older than the node's?")
