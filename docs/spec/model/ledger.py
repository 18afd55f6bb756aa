"""An executable reading of ../ledger.md: money, bonds, validators, epochs, and the life of a task.

Written from the text, for people to read beside it; it imports nothing of potminer/. Rounds are in rounds.py, by
inheritance. Records are tuples in one dictionary: no tree, no draft, nothing remembered. A transaction is whatever
has the fields of ../wire.md. What other pages say comes in as ``Facts``: whether a signature holds, whether a
Merkle path leads to its root, whether a specification contradicts itself. What is left out: the state root, the root
over the receipts (the receipts themselves are here), the mempool.

``tests/property/test_ledger_spec.py`` races it against the ledger that ships and compares all records at each block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

Key = tuple[object, ...]
Refusal = str
MILLION = 1_000_000
COMMITTEE, CANDIDATES, UNBONDINGS, RELEASES = 31, 256, 1_024, 4_096
TASKS_OPEN, UNITS_PER_ROUND, SEGMENTS_PER_ROUND, MEMBERS = 256, 4_096, 16_384, 1_024
OPEN, CLOSED, CANCELLED = range(3)
ACTIVE, INACTIVE, LEFT, EXPELLED = range(4)
COMMIT, REVEAL, DRAW, AUDIT, OPENING, DISPUTE, AGGREGATE = range(7)


class Facts(NamedTuple):
    """What the ledger asks of other pages."""

    parameters: Any
    chain: bytes
    signed: Callable[[Any], bool]
    """A transaction's signature is its sender's (wire.md)."""
    spoken: Callable[[Any, Any], bool]
    """An Evidence's validator signed this half of it, for this chain (wire.md)."""
    sound: Callable[[Any], bool]
    """A task's specification does not contradict itself, and no blob of it is larger than 8 GiB (training.md)."""
    update_bytes: Callable[[Any], int]
    """The size of a task's updates (training.md)."""
    model_bytes: Callable[[Any], int]
    """The most bytes that a model of it has."""
    task_id: Callable[[Any, bytes, int], bytes]
    commitment: Callable[[Any, bytes], bytes]
    """What a reveal of this trainer opens (wire.md)."""
    path_leads: Callable[[bytes, Any, int], bool]
    """An opening's path leads from its leaf to this root of a unit of so many segments (training.md)."""


# ---- §1: records, with the fields of the table, in order ------------------------------------


class Account(NamedTuple):
    balance: int = 0
    nonce: int = 0


class Trainer(NamedTuple):
    payout: bytes
    bond: int = 0
    unbonding: int = 0
    expelled: bool = False


class Validator(NamedTuple):
    onion: bytes
    bond: int = 0
    unbonding: int = 0
    next_onion: bytes | None = None
    next_epoch: int = 0
    slashed: bool = False


class Committee(NamedTuple):
    epoch: int
    members: tuple[bytes, ...]
    powers: tuple[int, ...]
    skipped: tuple[int, ...] = ()

    def turns(self) -> list[int]:
        return [seat for seat in range(len(self.members)) if seat not in self.skipped]

    def power(self, keys: set[bytes]) -> int:
        return sum(power for key, power in zip(self.members, self.powers, strict=True) if key in keys)

    def is_quorum(self, keys: set[bytes]) -> bool:
        return 3 * self.power(keys) > 2 * sum(self.powers)

    def is_weak_quorum(self, keys: set[bytes]) -> bool:
        return 3 * self.power(keys) > sum(self.powers)

    def skip(self, seats: list[int]) -> Committee:
        """pbft.md §11: one after the other, each that leaves the skipped below a third of the power."""
        skipped = set(self.skipped)
        for seat in seats:
            if 3 * sum(self.powers[s] for s in skipped | {seat}) < sum(self.powers):
                skipped.add(seat)
        return self._replace(skipped=tuple(sorted(skipped)))


class Unbonding(NamedTuple):
    validator: bytes
    amount: int
    time_ms: int
    epoch: int


class Roster(NamedTuple):
    candidates: tuple[bytes, ...]
    unbondings: tuple[Unbonding, ...] = ()


class Release(NamedTuple):
    time_ms: int
    trainer: bytes
    amount: int


class Chain(NamedTuple):
    height: int
    time_ms: int
    beacon: bytes
    supply: int
    trainers: int = 0
    open_tasks: tuple[bytes, ...] = ()
    releases: tuple[Release, ...] = ()
    burnt: int = 0


class Member(NamedTuple):
    trainer: bytes
    standing: int
    last_auditor: bytes | None = None
    capacity: int = 0
    doubted: int = 0


class Task(NamedTuple):
    spec: Any
    requester: bytes
    escrow: int
    status: int
    round: int
    attempt: int
    model: bytes
    members: tuple[Member, ...] = ()
    metric: Any = None
    calibration: Any = None
    arrivals: tuple[int, ...] = ()
    voided: int = 0

    def active(self) -> list[bytes]:
        return [member.trainer for member in self.members if member.standing == ACTIVE]

    def standing(self, trainer: bytes, standing: int) -> Task:
        """Being expelled is final."""
        return self._replace(members=tuple(
            m._replace(standing=standing) if m.trainer == trainer and m.standing != EXPELLED else m
            for m in self.members
        ))


# ---- chance (§7) ----------------------------------------------------------------------------


def digest(domain: str, *parts: bytes | int) -> bytes:
    """wire.md: each part is preceded by its length; an integer is eight bytes."""
    hasher = blake2b(digest_size=32, person=f"pot/{domain}".encode())
    for part in parts:
        written = part.to_bytes(8, "big") if isinstance(part, int) else part
        hasher.update(len(written).to_bytes(8, "big") + written)
    return hasher.digest()


class Words:
    """A stream of draws."""

    def __init__(self, *seed: bytes | int) -> None:
        self._words = self._all(seed)

    @staticmethod
    def _all(seed: tuple[bytes | int, ...]) -> Iterator[int]:
        counter = 0
        while True:
            block = digest("draw", *seed, counter)
            yield from (int.from_bytes(block[at : at + 8], "big") for at in (0, 8, 16, 24))
            counter += 1

    def below(self, bound: int) -> int:
        return next(word % bound for word in self._words if word < 2**64 // bound * bound)

    def order(self, items: list[Any]) -> list[Any]:
        """From the last place down, each changes places with one drawn from it and those before it."""
        items = list(items)
        for last in reversed(range(1, len(items))):
            drawn = self.below(last + 1)
            items[last], items[drawn] = items[drawn], items[last]
        return items


# ---- the ledger -----------------------------------------------------------------------------


class Ledger:
    """*records* is the whole state. ``apply`` is §2."""

    def __init__(self, genesis: Any, facts: Facts) -> None:
        self.facts, self.rules = facts, facts.parameters
        people, seats = genesis.accounts, genesis.validators
        supply = sum(a.balance for a in people) + sum(v.bond for v in seats)
        members, powers = tuple(v.key for v in seats), tuple(v.power for v in seats)
        candidates = tuple(sorted(v.key for v in seats if v.bond >= self.rules.validator_bond))
        self.records: dict[Key, Any] = {
            **{("account", a.key): Account(a.balance) for a in people},
            **{("validator", v.key): Validator(v.onion, v.bond) for v in seats},
            ("chain",): Chain(0, genesis.time_ms, genesis.seed, supply),
            ("committee",): Committee(0, members, powers),
            ("following",): Committee(1, members, powers),
            ("roster",): Roster(candidates),
        }

    # ---- reading and writing ----------------------------------------------------------------

    def get(self, *key: object) -> Any:
        return self.records.get(key)

    def put(self, value: Any, *key: object) -> None:
        self.records[key] = value

    def drop(self, *key: object) -> None:
        self.records.pop(key, None)

    def change(self, *key: object, **fields: Any) -> None:
        self.put(self.records[key]._replace(**fields), *key)

    @property
    def chain(self) -> Chain:
        return self.records["chain",]

    @property
    def committee(self) -> Committee:
        return self.records["committee",]

    def account(self, key: bytes) -> Account:
        return self.get("account", key) or Account()

    def give(self, key: bytes, grains: int) -> None:
        held = self.account(key)
        self.put(held._replace(balance=held.balance + grains), "account", key)

    def money(self) -> int:
        """§1: where it lies, and nowhere else."""
        total = self.chain.burnt
        for (table, *_), record in self.records.items():
            if table == "account":
                total += record.balance
            elif table in ("trainer", "validator"):
                total += record.bond + record.unbonding
            elif table == "task":
                total += record.escrow
            elif table == "evaluation":
                total += record.purse
            elif table == "pending":
                total += sum(share.amount for share in record.shares)
        return total

    # ---- §2: blocks -------------------------------------------------------------------------

    def apply(self, block: Any, *, root_is_ours: bool, lists_its_own: bool) -> list[Refusal | None] | str:
        """What became of each transaction, or which rule refuses the block; then nothing has changed."""
        before = dict(self.records)
        done = self._apply(block, root_is_ours, lists_its_own)
        if isinstance(done, str):
            self.records = before
        elif self.money() != self.chain.supply:
            raise AssertionError("money was made or lost")
        return done

    def _apply(self, block: Any, root_is_ours: bool, lists_its_own: bool) -> list[Refusal | None] | str:
        header, chain = block.header, self.chain
        if header.height != chain.height + 1 or header.time_ms <= chain.time_ms:
            return "1"
        if not root_is_ours:
            return "2"
        if not lists_its_own:
            return "3"
        committee, proposer = self.committee, header.proposer
        if header.epoch != committee.epoch or proposer not in [committee.members[seat] for seat in committee.turns()]:
            return "4"
        validator = self.get("validator", proposer)
        acts = validator.next_onion is not None and committee.epoch >= validator.next_epoch
        if digest("onion", header.preimage) != (validator.next_onion if acts else validator.onion):
            return "4"
        self.change("validator", proposer, onion=header.preimage)
        if acts:
            self.change("validator", proposer, next_onion=None)
        beacon = digest("beacon", chain.beacon, header.preimage)
        self.change("chain", height=header.height, time_ms=header.time_ms, beacon=beacon)
        self._count_turns(proposer)
        self.known = {sender for sender in self._senders(block) if self._works(sender)}
        self.room = self.chain.trainers < self.rules.trainers
        receipts = []
        for signed in block.transactions:
            flaw = self._improper(signed)
            if flaw is not None:
                return f"5 {flaw}"
            receipts.append(self._transact(signed.transaction, proposer))
        self.move_on(proposer)
        self._release()
        if header.height % self.rules.epoch_blocks == 0:
            self._end_epoch()
        return receipts

    @staticmethod
    def _senders(block: Any) -> set[bytes]:
        return {signed.transaction.sender for signed in block.transactions}

    def _count_turns(self, proposer: bytes) -> None:
        """pbft.md §11: the turns before the proposer's were missed."""
        turns, height = self.committee.turns(), self.chain.height
        missed = []
        while self.committee.members[turns[(height + len(missed)) % len(turns)]] != proposer:
            missed.append(turns[(height + len(missed)) % len(turns)])
        self.put(self.committee.skip(missed), "committee")

    def _improper(self, signed: Any) -> str | None:
        said = signed.transaction
        account = self.account(said.sender)
        if said.chain != self.facts.chain:
            return "WRONG_CHAIN"
        if said.expiry < self.chain.height:
            return "EXPIRED"
        if said.fee < self._fee(said):
            return "FEE_TOO_LOW"
        if account.balance < said.fee:
            return "BALANCE_TOO_LOW"
        if said.nonce != account.nonce:
            return "BAD_NONCE"
        return None if self.facts.signed(signed) else "BAD_SIGNATURE"

    def _fee(self, said: Any) -> int:
        """Fees: what was free before the block is free in it."""
        kind = type(said.body).__name__
        if kind in ("Transfer", "Bond", "Unbond", "SubmitTask", "CancelTask"):
            return self.rules.minimum_fee
        if said.sender in self.known or self._works(said.sender):
            return 0
        room = self.room or self.chain.trainers < self.rules.trainers
        return 0 if kind == "RegisterTrainer" and room else self.rules.minimum_fee

    def _works(self, sender: bytes) -> bool:
        validator = self.get("validator", sender)
        seated = validator is not None and (validator.bond > 0 or sender in self.committee.members)
        return seated or self.get("trainer", sender) is not None

    def _transact(self, said: Any, proposer: bytes) -> Refusal | None:
        account = self.account(said.sender)
        self.put(Account(account.balance - said.fee, account.nonce + 1), "account", said.sender)
        self.give(proposer, said.fee)
        perform: Callable[[Any], Refusal | None] = getattr(self, "on_" + type(said.body).__name__)
        return perform(said)

    # ---- §3: transactions. Refusals in the order of the table ---------------------------------

    def on_Transfer(self, said: Any) -> Refusal | None:
        if self.account(said.sender).balance < said.body.amount:
            return "BALANCE_TOO_LOW"
        self.give(said.sender, -said.body.amount)
        self.give(said.body.to, said.body.amount)
        return None

    def on_Bond(self, said: Any) -> Refusal | None:
        trainer, amount = self.get("trainer", said.sender), said.body.amount
        if trainer is None:
            return "NOT_REGISTERED"
        if self.account(said.sender).balance < amount:
            return "BALANCE_TOO_LOW"
        self.give(said.sender, -amount)
        self.change("trainer", said.sender, bond=trainer.bond + amount)
        return None

    def on_Unbond(self, said: Any) -> Refusal | None:
        trainer, amount, chain = self.get("trainer", said.sender), said.body.amount, self.chain
        if trainer is None:
            return "NOT_REGISTERED"
        if amount == 0 or trainer.bond < amount or trainer.bond - amount < self.need(said.sender)[0]:
            return "BOND_TOO_LOW"
        if len(chain.releases) >= RELEASES:
            return "TOO_MANY"
        self.change("trainer", said.sender, bond=trainer.bond - amount, unbonding=trainer.unbonding + amount)
        leaving = Release(chain.time_ms + self.rules.unbonding_ms, said.sender, amount)
        self.change("chain", releases=(*chain.releases, leaving))
        return None

    def on_RegisterTrainer(self, said: Any) -> Refusal | None:
        if self.get("trainer", said.sender) is not None:
            self.change("trainer", said.sender, payout=said.body.payout)
            return None
        if self.chain.trainers >= self.rules.trainers:
            return "TOO_MANY"
        self.put(Trainer(said.body.payout), "trainer", said.sender)
        self.change("chain", trainers=self.chain.trainers + 1)
        return None

    def on_SubmitTask(self, said: Any) -> Refusal | None:
        spec, budget = said.body.spec, said.body.spec.reward.budget
        price, units = spec.reward.price_per_unit, spec.units_per_trainer
        every = spec.evaluation.every_rounds
        scored = sum(n % every == 0 or n == spec.rounds for n in range(1, spec.rounds + 1)) if every else 0
        least = spec.rounds * spec.min_trainers * units * price + scored * spec.evaluation.evaluators * (price // 10)
        most = spec.max_trainers * units
        if spec.min_trainers > spec.max_trainers or most > UNITS_PER_ROUND or most * spec.segments > SEGMENTS_PER_ROUND:
            return "BAD_TASK"
        if not self.facts.sound(spec) or budget < least:
            return "BAD_TASK"
        if len(self.chain.open_tasks) >= TASKS_OPEN:
            return "TOO_MANY"
        if self.account(said.sender).balance < budget:
            return "BALANCE_TOO_LOW"
        task = self.facts.task_id(spec, said.sender, said.nonce)
        self.give(said.sender, -budget)
        self.put(Task(spec, said.sender, budget, OPEN, 0, 0, spec.initial_model), "task", task)
        self.change("chain", open_tasks=(*self.chain.open_tasks, task))
        return None

    def _closed(self, task: bytes) -> Refusal | None:
        found = self.get("task", task)
        if found is None:
            return "UNKNOWN_TASK"
        return None if found.status == OPEN else "TASK_NOT_OPEN"

    def on_CancelTask(self, said: Any) -> Refusal | None:
        refusal = self._closed(said.body.task)
        if refusal is None and self.get("task", said.body.task).requester != said.sender:
            refusal = "NOT_REQUESTER"
        if refusal is None:
            self.change("task", said.body.task, status=CANCELLED)
        return refusal

    def on_JoinTask(self, said: Any) -> Refusal | None:
        refusal = self._closed(said.body.task)
        if refusal is not None:
            return refusal
        task, trainer = self.get("task", said.body.task), self.get("trainer", said.sender)
        if trainer is None:
            return "NOT_REGISTERED"
        if trainer.expelled:
            return "EXPELLED"
        if said.sender in task.active():
            return "ALREADY_MEMBER"
        if len(task.active()) >= task.spec.max_trainers:
            return "TOO_MANY"
        if all(member.trainer != said.sender for member in task.members):
            if len(task.members) >= MEMBERS:
                busy = self.busy(said.body.task)
                idle = [m for m in task.members if m.standing in (INACTIVE, LEFT) and m.trainer not in busy]
                if not idle:
                    return "TOO_MANY"
                task = task._replace(members=tuple(m for m in task.members if m != idle[0]))
            task = task._replace(members=(*task.members, Member(said.sender, INACTIVE)))
        self.put(task.standing(said.sender, ACTIVE), "task", said.body.task)
        return None

    def on_LeaveTask(self, said: Any) -> Refusal | None:
        refusal = self._closed(said.body.task)
        if refusal is not None:
            return refusal
        task = self.get("task", said.body.task)
        if not any(m.trainer == said.sender and m.standing in (ACTIVE, INACTIVE) for m in task.members):
            return "NOT_MEMBER"
        self.put(task.standing(said.sender, LEFT), "task", said.body.task)
        return None

    # ---- §3: validators ----------------------------------------------------------------------

    def on_RegisterValidator(self, said: Any) -> Refusal | None:
        found, onion, amount = self.get("validator", said.sender), said.body.onion, said.body.amount
        epoch = self.committee.epoch
        if found is None and onion is None:
            return "NOT_REGISTERED"
        if found is not None and found.slashed:
            return "SLASHED"
        if (found is None and amount < self.rules.validator_bond) or (onion is None and amount == 0):
            return "BOND_TOO_LOW"
        if found is not None and onion is not None and found.next_onion is not None and epoch < found.next_epoch:
            return "ALREADY_DONE"
        if self.account(said.sender).balance < amount:
            return "BALANCE_TOO_LOW"
        bond = amount if found is None else found.bond + amount
        candidates = self._candidates(said.sender, bond)
        if found is None and said.sender not in candidates:
            return "TOO_MANY"
        self.give(said.sender, -amount)
        self.change("roster", candidates=candidates)
        if found is None:
            self.put(Validator(onion, bond), "validator", said.sender)
            return None
        if onion is not None:
            if found.next_onion is not None:  # it acts by now
                found = found._replace(onion=found.next_onion)
            found = found._replace(next_onion=onion, next_epoch=epoch + 2)
        self.put(found._replace(bond=bond), "validator", said.sender)
        return None

    def _candidates(self, key: bytes, bond: int) -> tuple[bytes, ...]:
        """Those with the 256 largest bonds, *key* having *bond*."""
        bonds = {k: self.get("validator", k).bond for k in self.get("roster").candidates}
        bonds[key] = bond
        enough = [k for k in bonds if bonds[k] >= self.rules.validator_bond]
        return tuple(sorted(sorted(enough, key=lambda k: (-bonds[k], k))[:CANDIDATES]))

    def on_UnbondValidator(self, said: Any) -> Refusal | None:
        found, roster, amount = self.get("validator", said.sender), self.get("roster"), said.body.amount
        if found is None:
            return "NOT_REGISTERED"
        if amount == 0 or found.bond < amount:
            return "BOND_TOO_LOW"
        own = [u for u in roster.unbondings if u.validator == said.sender]
        if len(own) >= 4 or len(roster.unbondings) >= UNBONDINGS:
            return "TOO_MANY"
        free = self.chain.time_ms + self.rules.unbonding_ms
        leaving = Unbonding(said.sender, amount, free, self.committee.epoch + 4)
        candidates = self._candidates(said.sender, found.bond - amount)
        self.put(Roster(candidates, (*roster.unbondings, leaving)), "roster")
        self.change("validator", said.sender, bond=found.bond - amount, unbonding=found.unbonding + amount)
        return None

    def on_Evidence(self, said: Any) -> Refusal | None:
        proof, roster = said.body, self.get("roster")
        guilty = self.get("validator", proof.validator)
        if guilty is None:
            return "NOT_VALIDATOR"
        if guilty.slashed:
            return "ALREADY_DONE"
        halves = (proof.first, proof.second)
        kinds = {half.purpose for half in halves}
        one_kind = any(kinds <= kind for kind in ({1, 2}, {3}, {6}))
        both = all(self.facts.spoken(proof, half) for half in halves)
        if not one_kind or not both or proof.first.digest == proof.second.digest:
            return "BAD_EVIDENCE"
        lost = guilty.bond + guilty.unbonding
        reward = lost * self.rules.reporter_share_ppm // MILLION
        self.change("validator", proof.validator, bond=0, unbonding=0, slashed=True)
        self.put(
            Roster(
                tuple(k for k in roster.candidates if k != proof.validator),
                tuple(u for u in roster.unbondings if u.validator != proof.validator),
            ),
            "roster",
        )
        self.give(said.sender, reward)
        self.change("chain", burnt=self.chain.burnt + lost - reward)
        if proof.validator in self.committee.members:
            self.put(self.committee.skip([self.committee.members.index(proof.validator)]), "committee")
        return None

    # ---- §6 and pbft.md §11: epochs -----------------------------------------------------------

    def _end_epoch(self) -> None:
        coming, roster = self.get("following"), self.get("roster")
        slashed = [seat for seat, key in enumerate(coming.members) if self.get("validator", key).slashed]
        self.put(coming.skip(slashed), "committee")
        self.put(self._elect(coming), "following")
        kept = []
        for leaving in roster.unbondings:
            if leaving.time_ms > self.chain.time_ms or leaving.epoch > coming.epoch:
                kept.append(leaving)
                continue
            held = self.get("validator", leaving.validator)
            self.change("validator", leaving.validator, unbonding=held.unbonding - leaving.amount)
            self.give(leaving.validator, leaving.amount)
        self.change("roster", unbondings=tuple(kept))

    def _elect(self, before: Committee) -> Committee:
        bonds = {key: self.get("validator", key).bond for key in self.get("roster").candidates}
        members = sorted(bonds, key=lambda key: (-bonds[key], key))[:COMMITTEE]
        if not members:
            return Committee(before.epoch + 1, before.members, before.powers)
        least = min(4, len(before.members))
        if len(members) < least:
            staying = [key for key in before.members if key not in members]
            members += [key for key in staying if not self.get("validator", key).slashed]
            members += [key for key in staying if self.get("validator", key).slashed][: max(0, least - len(members))]
            members = members[:COMMITTEE]
        powers = [max(1, bonds.get(key, 0) // self.rules.validator_bond) for key in members]
        for most in range(100, 0, -1):
            capped = [min(power, most) for power in powers]
            if 3 * max(capped) < sum(capped):
                return Committee(before.epoch + 1, tuple(members), tuple(capped))
        return Committee(before.epoch + 1, tuple(members), (1,) * len(members))

    # ---- rounds.md §5: trainers' bonds ---------------------------------------------------------

    def need(self, trainer: bytes) -> tuple[int, int]:
        """Its need, and when its bond is full."""
        need = full = 0
        for task in self.chain.open_tasks:
            found = self.get("task", task)
            if trainer in found.active():
                price = self.rules.audit_factor * found.spec.reward.price_per_unit
                need += price * found.spec.units_per_trainer
                full = max(full, price * MILLION // found.spec.audit.rate_ppm)
        return need, max(need, full)

    def _release(self) -> None:
        """Not of those whose work is being judged."""
        judged = {trainer for task in self.chain.open_tasks for trainer in self.busy(task, AUDIT, OPENING, DISPUTE)}
        kept = []
        for leaving in self.chain.releases:
            if leaving.time_ms > self.chain.time_ms or leaving.trainer in judged:
                kept.append(leaving)
                continue
            trainer = self.get("trainer", leaving.trainer)
            self.change("trainer", leaving.trainer, unbonding=trainer.unbonding - leaving.amount)
            self.give(trainer.payout, leaving.amount)
        self.change("chain", releases=tuple(kept))

    def busy(self, task: bytes, *phases: int) -> set[bytes]:
        """Who has a unit of a round in progress, where that is in one of *phases*, if any are named."""
        rounds = [current for place in (0, 1) if (current := self.get("round", task, place)) is not None]
        return {key for current in rounds if not phases or current.phase in phases for key in current.slots}

    def move_on(self, proposer: bytes) -> None:
        """rounds.md: a task without a round ends when it was cancelled. The rest is in rounds.py."""
        for task in self.chain.open_tasks:
            if self.get("task", task).status == CANCELLED and not self.busy(task):
                self.end(task)

    def end(self, task: bytes) -> None:
        """rounds.md §5: the escrow returns to the requester."""
        found = self.get("task", task)
        status = CANCELLED if found.status == CANCELLED else CLOSED
        self.change("chain", open_tasks=tuple(t for t in self.chain.open_tasks if t != task))
        self.change("task", task, status=status, escrow=0)
        self.give(found.requester, found.escrow)
