"""The ledger of one node: the newest state, the mempool, and what consensus asks of them.

Satisfies PBFT's application protocol: builds blocks, says why a block is refused, and
executes final ones. Holds no I/O; what must be stored is in the ``Applied`` it returns.
"""

from __future__ import annotations

from itertools import islice

from potminer.base import limits
from potminer.base.digest import Domain
from potminer.base.digest import digest as digest_of
from potminer.core.committee import Committee, committee_of
from potminer.core.ledger import beacon
from potminer.core.ledger.advance import is_due
from potminer.core.ledger.apply import Applied, InvalidBlock, apply_block, improper
from potminer.core.ledger.completion import completes_a_phase
from potminer.core.ledger.mempool import Mempool
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft, State
from potminer.core.ledger.vouched import spot_checks
from potminer.wire.block import Block, Header, block_digest, transactions_root
from potminer.wire.record import Validator, validator_key
from potminer.wire.tx import SignedTransaction

CLOCK_TOLERANCE_MS = 5_000
"""How far a fresh proposal's time may be from a replica's own clock."""

RELAY_MS = 1_000
COMPLAINT_MS = 5_000
"""Block time for which a ready transaction is left out before it is relayed, and before a primary loses its turn."""

WORTH_A_BLOCK = 1_000
"""Transactions that share a block's cost so well that more would only make them wait."""

_TRIALS = 8
_WATCHED = 16
_HEADER_BYTES = 4_096
"""More than a header and the shape of the list ever take."""


class Ledger:
    """*head* is the digest of the block *state* stands after. *onions* are empty where we never propose. *follows*: the
    secret of a node that never votes; it checks only some signatures of final blocks (``vouched.py``)."""

    def __init__(
        self, state: State, *, head: bytes, onions: beacon.Onions | None = None, follows: bytes | None = None
    ) -> None:
        self.state = state
        self.head = head
        self._follows = follows
        self.mempool = Mempool()
        self.onions = onions or beacon.Onions()
        self._trials: dict[bytes, Applied | InvalidBlock] = {}

    def submit(self, signed: SignedTransaction) -> Refusal | None:
        return self.mempool.add(signed, self.state)

    def adopt(self, state: State, head: bytes) -> None:
        """Stand after block *head* now, whose *state* was proven and not executed. What waited may be long done."""
        self.state, self.head = state, head
        self.mempool = Mempool()
        self._trials.clear()

    # ---- what consensus asks --------------------------------------------------------------

    def wants_block(self, now: int) -> bool:
        """Whether there is anything for a block to do."""
        return next(self.mempool.ready(self.state), None) is not None or self.waits(now)

    def waits(self, now: int) -> bool:
        """Whether a block would move something on by its time or its beacon alone, or a round by what is here."""
        return is_due(Draft(self.state), now=now) or self.completes(now)

    def completes(self, now: int) -> bool:
        """Whether what waits completes a phase of a round."""
        return completes_a_phase(self.state, self.mempool.ready(self.state), now=now)

    @property
    def committee(self) -> Committee:
        """Who decides the next block, and whose turns are skipped."""
        return committee_of(self.state.committee)

    @property
    def following(self) -> Committee:
        """The committee of the epoch after the next block's."""
        return committee_of(self.state.following)

    def is_slashed(self, key: bytes) -> bool:
        validator = self.state.get(Validator, validator_key(key))
        return validator is not None and validator.slashed

    def build(
        self, *, height: int, parent: bytes, proposer: bytes, now: int, most: int = limits.BLOCK_TRANSACTIONS
    ) -> Block | None:
        """A fresh block on our head of at most *most* transactions, within all limits. None where our onion is used up,
        or is not the one the chain knows: then the turn is lost."""
        if height != self.state.head.height + 1 or parent != self.head:
            raise AssertionError("a block is built on our own head")
        preimage = self._preimage(proposer)
        if preimage is None:
            return None
        transactions = self._fitting(height, most)
        header = Header(
            parent, height, self.state.committee.epoch, transactions_root(transactions), self.state.root, proposer,
            max(now, self.state.head.time_ms + 1), preimage,
        )
        return Block(header, transactions)

    def refusal(self, block: Block, *, fresh: bool, now: int) -> str | None:
        """Why we do not vote for *block*, or None. A re-proposed block's time is not judged again:
        a slow view change could otherwise never finish."""
        if self._follows is not None:
            raise AssertionError("who did not check every signature does not vote")
        header = block.header
        if header.parent != self.head:
            return "another parent"
        if fresh and abs(header.time_ms - now) > CLOCK_TOLERANCE_MS and header.time_ms != self.state.head.time_ms + 1:
            return "its time is too far from ours"
        if block.root != header.transactions_root:
            return "its transactions are not those of its header"
        most = self.state.parameters
        if len(block.encoded) > most.block_bytes or len(block.transactions) > most.block_transactions:
            return "too large"
        applied = self._try(block)
        return applied.reason if isinstance(applied, InvalidBlock) else None

    def execute(self, block: Block) -> Applied:
        """Apply a final block, which its certificate proves (``core/sync``). Refusing it would be a fork or our bug,
        never a peer's fault."""
        if block.header.parent != self.head:
            raise AssertionError("a final block follows our head")
        applied = self._try(block) if self._follows is None else self._trusted(block, self._follows)
        if isinstance(applied, InvalidBlock):
            raise AssertionError(f"a certified block does not apply: {applied.reason}")
        before, changed = self.state, [key for key, _ in applied.changes]
        self.state, self.head = applied.state, block_digest(block.header)
        self.state.follow(before, changed)
        self._trials.clear()
        self.mempool.settle(self.state, changed, room=self._has_room(block))
        return applied

    def neglected(self, *, stalled: bool) -> list[SignedTransaction]:
        """What should be shown to others again: the blocks of a second had room for it, or there are none at all."""
        waiting = self.mempool.ready(self.state) if stalled else self.mempool.left_out(self.state, for_ms=RELAY_MS)
        return list(islice(waiting, _WATCHED))

    def left_out(self, block: Block) -> bytes | None:
        """The digest of a transaction that *block*, on our head, leaves out once too often."""
        if not self._has_room(block):
            return None
        served = {(signed.transaction.sender, signed.transaction.nonce) for signed in block.transactions}
        for signed in islice(self.mempool.left_out(self.state, for_ms=COMPLAINT_MS), _WATCHED):
            if (signed.transaction.sender, signed.transaction.nonce) not in served:
                return signed.digest
        return None

    @property
    def is_full(self) -> bool:
        """Whether so much waits that a block need not wait for more."""
        return len(self.mempool) >= min(WORTH_A_BLOCK, self.state.parameters.block_transactions)

    # ---- inside ---------------------------------------------------------------------------

    def _try(self, block: Block) -> Applied | InvalidBlock:
        """Apply *block* on trial, once however often it is asked for. Remembered by header and root of the body,
        which stand for all its bytes: a forged body under a true header must not spoil the true one."""
        digest = digest_of(Domain.MESSAGE, block_digest(block.header), block.root)
        if digest not in self._trials:
            if len(self._trials) >= _TRIALS:
                self._trials.pop(next(iter(self._trials)))
            self._trials[digest] = apply_block(self.state, block, verifier=self.mempool.verified)
        return self._trials[digest]

    def _trusted(self, block: Block, secret: bytes) -> Applied | InvalidBlock:
        return apply_block(self.state, block, verifier=spot_checks(secret, block_digest(block.header)))

    def _has_room(self, block: Block) -> bool:
        """Whether any transaction at all would have fitted, and its proposer had to take it."""
        most, size = self.state.parameters, len(block.encoded) + limits.TRANSACTION_BYTES + _HEADER_BYTES
        full = min(most.block_transactions, limits.NARROW_TRANSACTIONS)
        return size <= most.block_bytes and len(block.transactions) < full

    def _preimage(self, proposer: bytes) -> bytes | None:
        validator = self.state.need(Validator, validator_key(proposer))
        revealed = validator.onion_in(self.state.committee.epoch)
        return self.onions.inside(revealed)

    def _fitting(self, height: int, count: int) -> tuple[SignedTransaction, ...]:
        """Ready transactions that may stand together in a block, at most *count*: fees stay affordable one after
        another."""
        chosen: list[SignedTransaction] = []
        spent: dict[bytes, int] = {}
        stopped: set[bytes] = set()
        size, most = _HEADER_BYTES, self.state.parameters
        count = min(count, most.block_transactions)
        for signed in self.mempool.ready(self.state):
            sender = signed.transaction.sender
            if sender in stopped:
                continue
            size += len(signed.encoded)
            if len(chosen) >= count or size > most.block_bytes:
                break
            # What a sender's earlier transactions here may spend is counted at its most. Only the fee must
            # be left over: a body that cannot be paid is refused by its receipt.
            before, fee = spent.get(sender, 0), signed.transaction.fee
            spent[sender] = before + _most_spent(signed)
            affordable = not fee or before + fee <= self.state.account(sender).balance
            flaw = improper(self.state, signed.transaction, height=height)
            if not affordable or flaw not in (None, Refusal.BAD_NONCE):
                stopped.add(sender)
                continue
            chosen.append(signed)
        return tuple(chosen)


def _most_spent(signed: SignedTransaction) -> int:
    """Upper bound on what a transaction takes from its sender's balance."""
    transaction = signed.transaction
    body = transaction.body
    amount = getattr(body, "amount", 0)
    budget = body.spec.reward.budget if hasattr(body, "spec") else 0
    return transaction.fee + amount + budget
