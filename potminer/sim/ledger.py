"""The smallest ledger with real blocks: transactions are executed once, in order, and hashed into the root."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

from potminer.base import limits
from potminer.base.digest import Domain, digest
from potminer.core.committee import Committee
from potminer.core.pbft.application import Application, Head
from potminer.wire.block import Block, CertifiedBlock, Header, block_digest, transactions_root
from potminer.wire.tx import SignedTransaction, signature_holds

GENESIS_MS = 1_700_000_000_000
FRESHNESS_MS = 5_000
RELAY_MS = 1_000
COMPLAINT_MS = 5_000
BLOCK_TRANSACTIONS = 8
"""Few, so that a run has many blocks."""
_PREIMAGE = bytes(32)


def genesis(chain: bytes) -> Head:
    return Head(height=0, digest=digest(Domain.GENESIS, chain), time_ms=GENESIS_MS, state_root=bytes(32))


def state_after(head: Head, block: Block) -> Head:
    """The head that *block* leads to."""
    name = block_digest(block.header)
    root = digest(Domain.STATE_NODE, head.state_root, name)
    return Head(height=head.height + 1, digest=name, time_ms=block.header.time_ms, state_root=root)


class Book(Application, Protocol):
    """What a host keeps of its ledger while it runs: what consensus asks, and the mempool."""

    def submit(self, signed: SignedTransaction) -> bool:
        """Takes a transaction into the mempool; False where it is known or refused."""
        ...

    @property
    def full(self) -> bool: ...

    def forget_executed(self) -> None: ...


@dataclass(slots=True)
class Chain:
    """What survives a crash: executed blocks with their certificates, and whose turns they skip."""

    head: Head
    committee: Committee
    counts_turns: bool = True
    coming: Committee | None = None
    """The committee of the next epoch, where there is to be another one."""
    blocks: list[CertifiedBlock] = field(default_factory=list)
    executed: set[bytes] = field(default_factory=set)

    def anew(self, head: Head) -> Chain:
        """A chain of the same committee that has nothing but *head*."""
        return type(self)(head=head, committee=replace(self.committee, skipped=()), counts_turns=self.counts_turns)

    def open(self, holds: Callable[[SignedTransaction], bool], most: int) -> Book:
        """At a process start: everything is there but the mempool."""
        return TinyApplication(self, holds=holds, most=most)

    def apply(self, certified: CertifiedBlock) -> None:
        header = certified.block.header
        if self.counts_turns:
            missed = self.committee.missed(height=header.height, proposer=header.proposer)
            if missed:
                self.committee = replace(self.committee, skipped=self.committee.skipping(missed))
        self.blocks.append(certified)
        self.executed.update([signed.digest for signed in certified.block.transactions])
        self.head = state_after(self.head, certified.block)


class TinyApplication:
    """Answers the replica's questions from a chain and a mempool."""

    def __init__(
        self,
        chain: Chain,
        *,
        holds: Callable[[SignedTransaction], bool] = signature_holds,
        most: int = BLOCK_TRANSACTIONS,
    ) -> None:
        self._holds = holds
        self._most = most
        self._narrow = min(most, limits.NARROW_TRANSACTIONS)
        self._chain = chain
        self._pending: dict[bytes, SignedTransaction] = {}
        self._leaves: dict[bytes, SignedTransaction] = {}
        self._since: dict[bytes, int] = {}
        """Block time of the first block that had room for a pending transaction and left it out."""
        self.overdue = False
        """The chain waits for a block by itself, as a ledger does whose deadline has passed."""

    def submit(self, signed: SignedTransaction) -> bool:
        """Takes a transaction into the mempool; False where it is known or not its sender's."""
        name = signed.digest
        if name in self._pending or name in self._chain.executed or not self._holds(signed):
            return False
        self._pending[name] = signed
        self._leaves[signed.leaf] = signed
        return True

    @property
    def full(self) -> bool:
        """Whether a block could be filled now."""
        return len(self._pending) >= self._most

    def forget_executed(self) -> None:
        gone = self._pending.keys() & self._chain.executed
        for name in gone:
            del self._leaves[self._pending.pop(name).leaf]
            self._since.pop(name, None)
        if self._chain.blocks and len(self._chain.blocks[-1].block.transactions) < self._narrow:
            for name in self._pending:
                self._since.setdefault(name, self._chain.head.time_ms)

    # ---- the replica's questions (core/pbft/application.py) ------------------------------

    @property
    def committee(self) -> Committee:
        return self._chain.committee

    @property
    def following(self) -> Committee:
        return self._chain.coming or self._chain.committee

    def build(
        self, *, height: int, parent: Head, proposer: bytes, now: int, most: int = limits.BLOCK_TRANSACTIONS
    ) -> Block:
        waiting = (t for n, t in self._pending.items() if n not in self._chain.executed)
        chosen = tuple(islice(waiting, min(most, self._most)))
        header = Header(
            parent=parent.digest,
            height=height,
            epoch=self._chain.committee.epoch,
            transactions_root=transactions_root(chosen),
            state_root=parent.state_root,
            proposer=proposer,
            time_ms=max(now, parent.time_ms + 1),
            preimage=_PREIMAGE,
        )
        return Block(header=header, transactions=chosen)

    def refusal(self, block: Block, *, fresh: bool, now: int) -> str | None:
        header, head, committee = block.header, self._chain.head, self._chain.committee
        if (header.height, header.parent, header.epoch) != (head.height + 1, head.digest, committee.epoch):
            return "not the next block"
        if header.state_root != head.state_root or header.preimage != _PREIMAGE:
            return "another state"
        if header.time_ms <= head.time_ms or (fresh and abs(header.time_ms - now) > FRESHNESS_MS):
            return "its time"
        if committee.index_of(header.proposer) not in committee.turns:
            return "its proposer"
        if header.transactions_root != transactions_root(block.transactions):
            return "its transactions"
        names = [signed.digest for signed in block.transactions]
        if len(set(names)) != len(names) or not self._chain.executed.isdisjoint(names):
            return "a transaction executes once"
        known = self._pending
        sound = all(known.get(n) == t or self._holds(t) for n, t in zip(names, block.transactions, strict=True))
        return None if sound else "a transaction that its sender did not sign"

    def leaves(self) -> Collection[bytes]:
        return self._leaves.keys()

    def transactions(self, leaves: Sequence[bytes]) -> Sequence[SignedTransaction | None]:
        return [self._leaves.get(leaf) for leaf in leaves]

    def neglected(self, *, stalled: bool) -> Sequence[SignedTransaction]:
        return list(self._pending.values()) if stalled else [self._pending[name] for name in self._waiting(RELAY_MS)]

    def left_out(self, block: Block) -> bytes | None:
        names = {signed.digest for signed in block.transactions}
        if len(names) >= self._narrow:
            return None
        return next((name for name in self._waiting(COMPLAINT_MS) if name not in names), None)

    def _waiting(self, for_ms: int) -> list[bytes]:
        until = self._chain.head.time_ms - for_ms
        return [name for name, since in self._since.items() if since <= until]

    def wants_block(self, now: int) -> bool:
        return bool(self._pending) or self.overdue

    def waits(self, now: int) -> bool:
        return self.overdue
