"""An executable reading of ../ledger.md: money, bonds, validators, epochs, and the life of a task.

Written from the text, for people to read beside it; it imports nothing of potminer/. Records are in records.py, where
they lie in books.py, validators and epochs in validators.py; rounds are in rounds.py, by inheritance. Records are
tuples in one dictionary: no tree, no draft, nothing remembered. A transaction is whatever has the fields of
../wire.md. What other pages say comes in as ``Facts``: whether a signature holds, whether a Merkle path leads to its
root, whether a specification contradicts itself. What is left out: the state root, the root over the receipts (the
receipts themselves are here), the mempool.

``tests/property/test_ledger_spec.py`` races it against the ledger that ships and compares all records at each block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .records import (
    ACTIVE,
    AUDIT,
    CANCELLED,
    CLOSED,
    DISPUTE,
    INACTIVE,
    LEFT,
    MEMBERS,
    MILLION,
    OPEN,
    OPENING,
    RELEASES,
    SEGMENTS_PER_ROUND,
    TASKS_OPEN,
    UNITS_PER_ROUND,
    Account,
    Member,
    Refusal,
    Release,
    Task,
    Trainer,
    digest,
)
from .validators import Validators


class Ledger(Validators):
    """``apply`` is §2."""

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
