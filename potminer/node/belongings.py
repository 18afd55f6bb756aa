"""What hangs on a key: money, seats and work that nobody but its holder can reach, proven.

A key is an identity. Another key is another identity: nothing on the ledger moves from one to the other but by a
transfer of what is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from potminer.base.errors import Malformed, NotProven
from potminer.core.light.shown import Fact
from potminer.node.follower import Follower
from potminer.wire import record as records
from potminer.wire.held import HeldStake
from potminer.wire.proof import KEYS_PER_REPLY
from potminer.wire.record import (
    Account,
    ChainRecord,
    CommitteeRecord,
    Roster,
    Standing,
    TaskRecord,
    Trainer,
    Unbonding,
    Validator,
)
from potminer.world.api.attach import Client


@dataclass(frozen=True, slots=True)
class Belongings:
    """After block *height*; money in grains. *held*: stake that waits until hidden work was shown, *sealed*: it never
    returns. *sits*: in a committee that acts or will. *orders*: open tasks that it pays for; *works*: those it is a
    member of. *pending*: earned and in the dispute window, as a node says that knows."""

    height: int
    balance: int
    bond: int
    unbonding: int
    stake: int
    leaving: tuple[Unbonding, ...]
    held: int
    sealed: bool
    sits: bool
    candidate: bool
    orders: tuple[str, ...]
    works: tuple[str, ...]
    pending: int = 0

    @property
    def nothing(self) -> bool:
        """What is sealed never returns, so nobody need wait for it."""
        money = (self.balance, self.bond, self.unbonding, self.stake, self.pending, 0 if self.sealed else self.held)
        return not (any(money) or self.leaving or self.sits or self.candidate or self.orders or self.works)


async def belongings(follower: Follower, node: Client, key: bytes, *, pending: int = 0) -> Belongings:
    """All that the ledger knows of *key* but its past. NotProven where *node* misleads."""
    wanted = [
        records.account_key(key), records.trainer_key(key), records.validator_key(key), records.held_key(key),
        records.COMMITTEE, records.FOLLOWING, records.ROSTER, records.CHAIN,
    ]  # fmt: skip
    found = await follower.facts(node, wanted)
    try:
        account = found[0].record(Account) or Account()
        trainer = found[1].record(Trainer) or Trainer(key)
        validator = found[2].record(Validator) or Validator(bytes(32))
        held = found[3].record(HeldStake)
        committees = [fact.record(CommitteeRecord) for fact in found[4:6]]
        roster, chain = found[6].record(Roster), found[7].record(ChainRecord)
        if roster is None or chain is None or None in committees:
            raise NotProven("the node proves a ledger without a committee", "Do not believe it; ask another node.")
        tasks = await _tasks(follower, node, chain.open_tasks)
    except Malformed as error:
        raise NotProven(f"a record is not what it should be: {error}", "Is this potminer too old?") from error
    return Belongings(
        height=found[0].height, balance=account.balance, bond=trainer.bond, unbonding=trainer.unbonding,
        stake=validator.bond, leaving=tuple(each for each in roster.unbondings if each.validator == key),
        held=0 if held is None else held.amount, sealed=held is not None and held.sealed,
        sits=any(each is not None and key in each.members for each in committees), candidate=key in roster.candidates,
        orders=tuple(task.spec.name for task in tasks if task.requester == key),
        works=tuple(task.spec.name for task in tasks if _works(task, key)), pending=pending,
    )


def _works(task: TaskRecord, key: bytes) -> bool:
    """A member that missed a unit is assigned nothing until it joins again."""
    return any(each.trainer == key and each.standing is Standing.ACTIVE for each in task.members)


async def _tasks(follower: Follower, node: Client, names: Sequence[bytes]) -> list[TaskRecord]:
    keys = [records.task_key(name) for name in names]
    found: list[Fact] = []
    for first in range(0, len(keys), KEYS_PER_REPLY):
        found += await follower.facts(node, keys[first : first + KEYS_PER_REPLY])
    return [task for task in (fact.record(TaskRecord) for fact in found) if task is not None]
