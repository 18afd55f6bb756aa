"""A daemon's numbers beside what is proven of them: its key's money, what tasks owe it, where they stand.

Only what was so at one and the same height is compared, so an honest daemon never contradicts a proof. Days and sums
of the past stand under no root: they are the daemon's own books, and nothing here vouches for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from potminer.base.address import decode_address, encode_address
from potminer.base.errors import Malformed, PotminerError, UsageError
from potminer.core.light.flaw import Flaw
from potminer.core.light.shown import Fact
from potminer.node.follower import Follower, Misled
from potminer.wire import record as records
from potminer.wire.answers import EarningsDetail
from potminer.wire.control import EarningsView, Snapshot
from potminer.wire.held import HeldStake
from potminer.wire.proof import KEYS_PER_REPLY, CertifiedHeader
from potminer.wire.proven import CONTRADICTIONS, ROUNDS_OWED, Backing, Contradiction, ProvenView, RoundOwed
from potminer.wire.record import Account, ChainRecord, PendingRound, TaskRecord, Trainer, Validator
from potminer.world.api.attach import Client

TASKS_ASKED: Final = 12
"""Of which it is proven what they owe; what more are open is said to be left out."""
BYTES_ASKED: Final = 2_097_152
"""Of what tasks owe: rounds of thousands of units are not all fetched again and again."""
EPOCHS_ASKED: Final = 512
"""Followed at one look: a chain of years is followed in several."""
BEHIND_MS: Final = 60_000
"""Block time between what a daemon says and the newest block proven: above it, it is more than a moment late."""
_LOOK_S: Final = 0.4
_MILD: Final = frozenset({Flaw.FUTURE, Flaw.EXPIRED, Flaw.STALE, Flaw.UNKNOWN_EPOCH})
"""Flaws that a clock or a pause explains: no lie."""

Claim = tuple[str, str, str, bool]
"""What, as it is said, as it is proven, and whether the two agree."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a quorum vouches for of *key* after block *height*. *tasks* are the records asked for, *open_tasks* the ids
    of all; *rounds* what closed rounds owe, *whole* whether of all open tasks."""

    key: bytes
    height: int
    certified: CertifiedHeader
    trainer: Trainer | None
    validator: Validator | None
    held: int
    balance: int
    open_tasks: frozenset[bytes]
    tasks: dict[bytes, TaskRecord]
    rounds: tuple[RoundOwed, ...]
    whole: bool

    def owed(self, task: bytes | None = None) -> int:
        return sum(each.amount for each in self.rounds if task is None or each.task == task.hex())


@dataclass(frozen=True, slots=True)
class Said:
    """What a daemon says at about one moment."""

    photograph: Snapshot
    detail: EarningsDetail | None = None


async def examine(
    follower: Follower, node: Client, said: Said, *, escrow_rounds: int, anchored: bool, clock: Callable[[], int],
    exact: bool = False, patience_s: float = 8.0, most_epochs: int = EPOCHS_ASKED,
) -> ProvenView:
    """How *said* stands with what *node* can prove. *exact*: waits, where that comes in time, for the block that proves
    the very height it was said of; else the newest that can be proven will do where it
    agrees. Never raises for what a node says or does."""
    photograph = said.photograph
    view = ProvenView(backing=Backing.WORD, taken_ms=clock(), key=photograph.node, anchored=anchored)
    try:
        return await _Look(follower, node, said, escrow_rounds, exact, patience_s, most_epochs).see(view)
    except Misled as error:
        forged = error.flaw not in _MILD
        return _because(view, Backing.FORGED if forged else Backing.WORD, error.what)
    except Malformed as error:
        return _because(view, Backing.WORD, f"a record is not understood: {error}")
    except PotminerError as error:
        return _because(view, Backing.WORD, error.what)


class _Look:
    """One examination."""

    def __init__(
        self, follower: Follower, node: Client, said: Said, escrow_rounds: int, exact: bool, patience_s: float,
        most_epochs: int,
    ) -> None:
        self._follower, self._node, self._said = follower, node, said
        self._escrow_rounds, self._exact, self._patience_s = escrow_rounds, exact, patience_s
        self._most_epochs = most_epochs
        self._known: dict[int, Holdings] = {}

    async def see(self, view: ProvenView) -> ProvenView:
        key = decode_address(self._said.photograph.node)
        stands = await self._follow()
        if isinstance(stands, str):
            return _because(view, Backing.WORD, stands)
        photograph, detail = self._said.photograph, self._said.detail
        standing, wrong = await self._judge(
            key, photograph.chain.height, stands, lambda found: _of_photograph(photograph, found, self._follower)
        )
        spoken_ms = standing.certified.header.time_ms
        if detail is not None and detail.height is not None:
            standing, more = await self._judge(key, detail.height, stands, lambda found: _of_detail(detail, found))
            wrong = [*wrong, *(each for each in more if each.what not in {one.what for one in wrong})]
        view = self._filled(view, standing)
        if wrong:
            first = wrong[0]
            told = f"{first.what}: it says {first.said}, proven is {first.proven}"
            contradicted = _because(view, Backing.CONTRADICTED, told)
            return replace(contradicted, contradictions=tuple(wrong[:CONTRADICTIONS]))
        trust = self._follower.trust
        if trust.time_ms - spoken_ms > BEHIND_MS:
            behind = trust.height - photograph.chain.height
            return _because(view, Backing.WORD, f"what it says is {behind:,} blocks behind what is proven")
        if not view.anchored:
            return _because(view, Backing.WORD, "there is no genesis of our own: this committee is its word")
        return replace(view, backing=Backing.PROVEN)

    async def _follow(self) -> int | str:
        """To the newest block: its height, or why we did not get there."""
        status, trust = await self._node.chain(), self._follower.trust
        if status.chain != trust.chain.hex():
            return f"it is of another chain than our genesis: {status.chain[:12]}"
        if status.height >= trust.height:
            trust = await self._follower.catch_up(self._node, most_epochs=self._most_epochs)
            if trust.newest_epoch < status.epoch:
                return f"still following the committees: epoch {trust.newest_epoch:,} of {status.epoch:,}"
        if status.provable_last is None:
            return "nothing can be proven before the next block"
        return status.provable_last

    async def _judge(
        self, key: bytes, height: int, newest: int, claims: Callable[[Holdings], Iterator[Claim]]
    ) -> tuple[Holdings, list[Contradiction]]:
        """What of *claims*, which were made after block *height*, does not agree with what is proven."""
        at = min(height, newest)
        if self._exact and at < height and await self._reaches(height):
            at = height
        standing = await self._at(key, at)
        wrong = _wrong(claims(standing), standing.height)
        if wrong and at < height:  # a block came between: only the very same one is a fair comparison
            standing = await self._at(key, height)
            wrong = _wrong(claims(standing), standing.height)
        return standing, wrong

    async def _at(self, key: bytes, height: int) -> Holdings:
        if height not in self._known:
            if not await self._reaches(height):
                raise PotminerError(f"what it says of block {height:,} could not be proven in {self._patience_s:g} s")
            self._known[height] = await holdings(
                self._follower, self._node, key, height, escrow_rounds=self._escrow_rounds, first=self._named()
            )
        return self._known[height]

    async def _reaches(self, height: int) -> bool:
        """Whether the state after block *height* can be proven in time: it takes the next block."""
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    if ((await self._node.chain()).provable_last or 0) >= height:
                        return True
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            return False

    def _named(self) -> tuple[bytes, ...]:
        """The tasks that the daemon names: those which matter to this rig first."""
        photograph, detail = self._said.photograph, self._said.detail
        now = () if photograph.training is None else (photograph.training.task,)
        paying = () if detail is None else tuple(each.task for each in detail.tasks if each.pending)
        rest = () if detail is None else tuple(each.task for each in detail.tasks if each.status == "open")
        return tuple(bytes.fromhex(task) for task in dict.fromkeys((*now, *paying, *rest)))

    def _filled(self, view: ProvenView, found: Holdings) -> ProvenView:
        header, trainer = found.certified.header, found.trainer
        committee = self._follower.trust.committee(header.epoch)
        return replace(
            view, height=found.height, signers=len(found.certified.certificate.signatures),
            members=0 if committee is None else len(committee.members),
            payout=encode_address(found.key if trainer is None else trainer.payout), balance=found.balance,
            bond=0 if trainer is None else trainer.bond, unbonding=0 if trainer is None else trainer.unbonding,
            held=found.held, validator_bond=0 if found.validator is None else found.validator.bond,
            owed=found.owed(), whole=found.whole, rounds=found.rounds[:ROUNDS_OWED],
        )  # fmt: skip


# ---- what is proven ----------------------------------------------------------------------


async def holdings(
    follower: Follower, node: Client, key: bytes, height: int, *, escrow_rounds: int, first: Sequence[bytes] = ()
) -> Holdings:
    """How *key* stands after block *height*; of the open tasks those in *first* are asked first. *escrow_rounds* is
    the genesis'. Malformed where a record is not understood, Misled where a proof does not hold."""
    keys = [
        records.CHAIN, records.trainer_key(key), records.validator_key(key), records.held_key(key),
        *(records.task_key(task) for task in first[:TASKS_ASKED]),
    ]  # fmt: skip
    facts, certified = await follower.facts_after(node, keys, height)
    head, work, seat, stake, *named = facts
    chain, trainer, held = head.record(ChainRecord), work.record(Trainer), stake.record(HeldStake)
    opened = frozenset() if chain is None else frozenset(chain.open_tasks)
    tasks = _tasks(first, named)
    more = sorted(opened - set(tasks))[: max(0, TASKS_ASKED - len(tasks))]
    payout = key if trainer is None else trainer.payout
    rest, _ = await follower.facts_after(
        node, [records.account_key(payout), *(records.task_key(task) for task in more)], height
    )
    tasks |= _tasks(more, rest[1:])
    rounds, all_asked = await _owed(follower, node, key, height, tasks, escrow_rounds)
    return Holdings(
        key, height, certified, trainer, seat.record(Validator), 0 if held is None else held.amount,
        (rest[0].record(Account) or Account()).balance, opened, tasks, rounds, all_asked and opened <= set(tasks),
    )  # fmt: skip


def _tasks(names: Sequence[bytes], facts: Sequence[Fact]) -> dict[bytes, TaskRecord]:
    found = zip(names, (fact.record(TaskRecord) for fact in facts), strict=False)
    return {name: record for name, record in found if record is not None}


async def _owed(
    follower: Follower, node: Client, key: bytes, height: int, tasks: dict[bytes, TaskRecord], escrow_rounds: int
) -> tuple[tuple[RoundOwed, ...], bool]:
    """What closed rounds of *tasks* owe to *key*, newest first; and whether all were looked at."""
    places = [
        (task, number)
        for task, record in tasks.items()
        for number in range(record.round - 1, max(-1, record.round - 1 - escrow_rounds), -1)
    ]
    owed: list[RoundOwed] = []
    taken = 0
    for first in range(0, len(places), KEYS_PER_REPLY):
        if taken > BYTES_ASKED:
            return tuple(owed), False
        some = places[first : first + KEYS_PER_REPLY]
        facts = await _fetch(follower, node, [records.pending_key(*place) for place in some], height)
        taken += sum(len(fact.value or b"") for fact in facts)
        for (task, number), fact in zip(some, facts, strict=True):
            pending = fact.record(PendingRound)
            amount = sum(share.amount for share in pending.shares if share.earner == key) if pending else 0
            if amount:
                owed.append(RoundOwed(task=task.hex(), round=number, amount=amount))
    return tuple(owed), True


async def _fetch(follower: Follower, node: Client, keys: Sequence[bytes], height: int) -> tuple[Fact, ...]:
    """In halves, where all together are more than a node sends at once."""
    try:
        facts, _ = await follower.facts_after(node, keys, height)
    except UsageError:
        if len(keys) == 1:
            raise
        half = len(keys) // 2
        before, after = keys[:half], keys[half:]
        return (*await _fetch(follower, node, before, height), *await _fetch(follower, node, after, height))
    return facts


# ---- what is said ------------------------------------------------------------------------


def _of_photograph(photograph: Snapshot, found: Holdings, follower: Follower) -> Iterator[Claim]:
    chain, training = photograph.chain, photograph.training
    exact = chain.height == found.height
    root = found.certified.header.state_root.hex()
    yield "state", chain.state_root[:16], root[:16], not exact or chain.state_root == root
    epoch = follower.trust.epoch_of(found.height + 1)
    yield "epoch", f"{chain.epoch:,}", f"{epoch:,}", chain.epoch == epoch
    committee = follower.trust.committee(epoch)
    if committee is not None:
        members = len(committee.members)
        yield "validators", f"{chain.validators:,}", f"{members:,}", chain.validators == members
    yield from _of_earnings(photograph.earnings, found)
    record = None if training is None else found.tasks.get(bytes.fromhex(training.task))
    if training is not None and record is not None:
        number, rounds = min(record.round + 1, record.spec.rounds), record.spec.rounds
        agrees = (training.round, training.rounds) == (number, rounds)
        yield "round", f"{training.round:,} of {training.rounds:,}", f"{number:,} of {rounds:,}", agrees


def _of_earnings(earnings: EarningsView, found: Holdings) -> Iterator[Claim]:
    yield "held", _grains(earnings.held), _grains(found.held), earnings.held == found.held
    trainer = found.trainer
    bond = found.held + (0 if trainer is None else trainer.bond + trainer.unbonding)
    yield "as bond", _grains(earnings.kept), f"at most {_grains(bond)}", earnings.kept <= bond
    owed = found.owed()
    if found.whole:
        yield "pending", _grains(earnings.pending), _grains(owed), earnings.pending == owed
    else:
        yield "pending", _grains(earnings.pending), f"at least {_grains(owed)}", earnings.pending >= owed


def _of_detail(detail: EarningsDetail, found: Holdings) -> Iterator[Claim]:
    yield from _of_earnings(detail.earnings, found)
    for each in detail.tasks:
        task = bytes.fromhex(each.task)
        record = found.tasks.get(task)
        what = f"of {each.name[:40] or each.task[:8]}"
        if task not in found.open_tasks:
            yield f"pending {what}", _grains(each.pending), _grains(0), each.pending == 0
        elif record is not None:
            owed = found.owed(task)
            agrees = each.pending == owed or (not found.whole and each.pending > owed)
            yield f"pending {what}", _grains(each.pending), _grains(owed), agrees
            yield f"escrow {what}", _grains(each.escrow), _grains(record.escrow), each.escrow == record.escrow


def _wrong(claims: Iterator[Claim], height: int) -> list[Contradiction]:
    return [
        Contradiction(what=what, said=said[:200], proven=proven[:200], height=height)
        for what, said, proven, agrees in claims
        if not agrees
    ]


def _grains(amount: int) -> str:
    return f"{amount:,} grains"


def _because(view: ProvenView, backing: Backing, why: str) -> ProvenView:
    return replace(view, backing=backing, why=why[:200])

