"""The mempool: transactions waiting for a block, bounded, in nonce order per sender."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from potminer.base import limits
from potminer.core.ledger.apply import improper
from potminer.core.ledger.bonds import evidence_holds
from potminer.core.ledger.patience import Patience
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import State
from potminer.wire.tx import Evidence, SignedTransaction, signature_holds

SWEEP = 16
"""Blocks between two looks at everything that waits."""


class Mempool:
    """First come, first served; one transaction per sender and nonce. Where it is full, whoever has most in it gives
    way to who has little, and what waits for a nonce that is not here never has more than its part.

    Signatures are checked once, at the door, and remembered while the transaction waits.
    """

    __slots__ = (
        "_behind", "_by_digest", "_by_leaf", "_by_sender", "_bytes", "_gaps", "_patience", "_verifier", "_weights",
    )  # fmt: skip

    def __init__(self, verifier: Callable[[SignedTransaction], bool] = signature_holds) -> None:
        self._by_digest: dict[bytes, SignedTransaction] = {}
        self._by_leaf: dict[bytes, SignedTransaction] = {}
        self._by_sender: dict[bytes, dict[int, bytes]] = {}
        self._bytes = 0
        self._weights: dict[bytes, int] = {}
        """Bytes that wait, by sender."""
        self._gaps: dict[bytes, tuple[int, int]] = {}
        """What waits behind a missing nonce, by sender: how many, and their bytes."""
        self._behind = (0, 0)
        """The same of all."""
        self._patience = Patience()
        self._verifier = verifier

    def __len__(self) -> int:
        return len(self._by_digest)

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._by_digest

    def add(self, signed: SignedTransaction, state: State) -> Refusal | None:
        """Admit *signed*, or say why not. A nonce further on waits for the ones before it."""
        transaction = signed.transaction
        digest = signed.digest
        waiting = self._by_sender.get(transaction.sender, {})
        if digest in self._by_digest:
            # The same words under another signature: one that does not hold must not pass for known.
            return None if self.verified(signed) else Refusal.BAD_SIGNATURE
        flaw = improper(state, transaction, height=state.head.height + 1)
        if flaw is Refusal.BAD_NONCE:
            ahead = transaction.nonce - state.account(transaction.sender).nonce
            flaw = None if 0 <= ahead < limits.MEMPOOL_PER_SENDER else flaw
        if flaw is not None:
            return flaw
        if transaction.nonce in waiting:
            return Refusal.BAD_NONCE
        gap = transaction.nonce > _run(waiting, state.account(transaction.sender).nonce)
        if len(waiting) >= limits.MEMPOOL_PER_SENDER or (gap and self._is_full_of_gaps(signed)):
            return Refusal.POOL_FULL
        full = self._is_full(signed)
        if full and not self._is_below_its_share(transaction.sender, len(waiting)):
            return Refusal.POOL_FULL
        if not self._verifier(signed):
            return Refusal.BAD_SIGNATURE
        if isinstance(transaction.body, Evidence) and not evidence_holds(transaction.body, chain=transaction.chain):
            # True or false for ever, so this leaves no gap in the nonces of anybody honest. Old news has to pass.
            return Refusal.BAD_EVIDENCE
        while full:
            if not self._give_way(transaction.sender):
                return Refusal.POOL_FULL
            full = self._is_full(signed)
        self._by_digest[digest] = self._by_leaf[signed.leaf] = signed
        waiting = self._by_sender.setdefault(transaction.sender, {})
        waiting[transaction.nonce] = digest
        self._weigh(transaction.sender, len(signed.encoded))
        if gap or transaction.sender in self._gaps:
            self._count_gap(transaction.sender, state)
        self._patience.begin(transaction.sender)
        return None

    # ---- room ----------------------------------------------------------------------------

    def _is_full(self, signed: SignedTransaction) -> bool:
        """Whether there is no room for one of that size."""
        many = len(self._by_digest) >= limits.MEMPOOL_TRANSACTIONS
        return many or self._bytes + len(signed.encoded) > limits.MEMPOOL_BYTES

    def _is_full_of_gaps(self, signed: SignedTransaction) -> bool:
        """Whether what waits behind missing nonces has its part already."""
        return self._are_too_many(self._behind[0] + 1, self._behind[1] + len(signed.encoded))

    @staticmethod
    def _are_too_many(count: int, size: int) -> bool:
        part = limits.MEMPOOL_GAPS
        return count > limits.MEMPOOL_TRANSACTIONS // part or size > limits.MEMPOOL_BYTES // part

    def _is_below_its_share(self, sender: bytes, count: int) -> bool:
        """Whether *sender* has less than half of what each of those here would have, by number and by weight. Only
        then is it worth looking for who gives way, which costs a look at all of them."""
        senders = len(self._by_sender) + (sender not in self._by_sender)
        few = 2 * count < limits.MEMPOOL_TRANSACTIONS // senders
        return few and 2 * self._weights.get(sender, 0) < limits.MEMPOOL_BYTES // senders

    def _give_way(self, to: bytes) -> bool:
        """Lets the last go of whoever has most, by weight where the weight is the limit. False: that is *to*."""
        many = len(self._by_digest) >= limits.MEMPOOL_TRANSACTIONS
        most = max(self._by_sender, key=lambda s: len(self._by_sender[s]) if many else self._weights[s], default=to)
        if most == to:
            return False
        self._drop_last(most)
        return True

    def _drop_last(self, sender: bytes) -> None:
        """What comes last is behind the gap, if there is one."""
        waiting = self._by_sender[sender]
        count, size = self._gaps.get(sender, (0, 0))
        gone = self._drop(sender, waiting, max(waiting))
        if count and waiting:
            self._set_gap(sender, count - 1, size - len(gone.encoded))

    def _drop(self, sender: bytes, waiting: dict[int, bytes], nonce: int) -> SignedTransaction:
        gone = self._by_digest.pop(waiting.pop(nonce))
        del self._by_leaf[gone.leaf]
        self._weigh(sender, -len(gone.encoded))
        if not waiting:
            del self._by_sender[sender], self._weights[sender]
            self._set_gap(sender, 0, 0)
            self._patience.forget(sender)
        return gone

    def _weigh(self, sender: bytes, size: int) -> None:
        self._bytes += size
        self._weights[sender] = self._weights.get(sender, 0) + size

    def _count_gap(self, sender: bytes, state: State) -> None:
        waiting = self._by_sender[sender]
        first = _run(waiting, state.account(sender).nonce)
        behind = [digest for nonce, digest in waiting.items() if nonce > first]
        self._set_gap(sender, len(behind), sum(len(self._by_digest[digest].encoded) for digest in behind))

    def _set_gap(self, sender: bytes, count: int, size: int) -> None:
        before = self._gaps.pop(sender, (0, 0))
        self._behind = self._behind[0] + count - before[0], self._behind[1] + size - before[1]
        if count:
            self._gaps[sender] = count, size

    # ---- what waits ----------------------------------------------------------------------

    def verified(self, signed: SignedTransaction) -> bool:
        """Whether the signature holds; free for what waits here byte for byte."""
        return signed.leaf in self._by_leaf or self._verifier(signed)

    def at_leaf(self, leaf: bytes) -> SignedTransaction | None:
        """The transaction whose exact bytes, signature included, have this leaf."""
        return self._by_leaf.get(leaf)

    def leaves(self) -> Collection[bytes]:
        """Of everything that waits."""
        return self._by_leaf.keys()

    def ready(self, state: State) -> Iterator[SignedTransaction]:
        """Transactions in an order their nonces allow: one of each sender in turn, or whoever sends many
        (and work is free) would keep the others out."""
        turns: deque[tuple[int, dict[int, bytes]]] = deque()
        # The first turn is taken lazily: whether anything is ready is asked for every transaction that arrives.
        for sender, first in self._by_sender.items():
            nonce = state.account(sender).nonce
            if nonce in first:
                yield self._by_digest[first[nonce]]
                turns.append((nonce + 1, first))
        while turns:
            nonce, waiting = turns.popleft()
            if nonce in waiting:
                yield self._by_digest[waiting[nonce]]
                turns.append((nonce + 1, waiting))

    def next_nonce(self, sender: bytes, state: State) -> int:
        """The nonce that *sender*'s next transaction should carry."""
        return _run(self._by_sender.get(sender, {}), state.account(sender).nonce)

    def get(self, digest: bytes) -> SignedTransaction | None:
        return self._by_digest.get(digest)

    def of(self, sender: bytes) -> list[SignedTransaction]:
        """What waits of *sender*, by nonce."""
        return [self._by_digest[digest] for _, digest in sorted(self._by_sender.get(sender, {}).items())]

    def settle(self, state: State, changed: Iterable[bytes] | None = None, *, room: bool = False) -> None:
        """Forget what *state* has done, outlived or made impossible. Who was served goes to the end of the turns.

        *changed* are the keys of the records that the last block changed: only those senders are looked at, and of
        theirs what comes next; the rest (which may have expired) every SWEEP blocks. *room*: it could have held more.
        """
        height = state.head.height + 1
        senders, sweeps = list(self._by_sender), changed is None or height % SWEEP == 0
        if changed is not None and not sweeps:
            touched = {key[1:] for key in changed}
            senders = [sender for sender in senders if sender in touched]
        for sender in senders:
            waiting, nonce = self._by_sender[sender], state.account(sender).nonce
            if min(waiting) < nonce:
                self._by_sender[sender] = self._by_sender.pop(sender)
                self._patience.served(sender)
            hopeless = False
            for used, digest in list(waiting.items()):
                if used < nonce:
                    self._drop(sender, waiting, used)
                elif (sweeps or used == nonce) and self._is_hopeless(state, digest, height):
                    self._drop(sender, waiting, used)
                    hopeless = True
            if waiting and (hopeless or sender in self._gaps):
                self._count_gap(sender, state)
                while sender in self._gaps and self._are_too_many(*self._behind):
                    self._drop_last(sender)
        if room:
            self._patience.left_out(state.head.time_ms, partial(self._next_that_pays, state))

    def _is_hopeless(self, state: State, digest: bytes, height: int) -> bool:
        """Whether something else than its turn keeps a transaction out of a block."""
        flaw = improper(state, self._by_digest[digest].transaction, height=height)
        return flaw is not None and flaw is not Refusal.BAD_NONCE

    def left_out(self, state: State, *, for_ms: int) -> Iterator[SignedTransaction]:
        """Transactions that could stand in the next block, and were left out of those with room for *for_ms* of block
        time, the longest first."""
        return self._patience.waiting(state.head.time_ms - for_ms, partial(self._following, state))

    def _following(self, state: State, sender: bytes) -> SignedTransaction | None:
        """What any honest primary that has it would put into the next block for *sender*."""
        signed = self._next_that_pays(state, sender)
        if signed is None or improper(state, signed.transaction, height=state.head.height + 1) is not None:
            return None
        return signed

    def _next_that_pays(self, state: State, sender: bytes) -> SignedTransaction | None:
        """The same, but for flaws that no transaction has that was admitted and did not expire."""
        account = state.account(sender)
        digest = self._by_sender.get(sender, {}).get(account.nonce)
        signed = None if digest is None else self._by_digest[digest]
        return None if signed is None or signed.transaction.fee > account.balance else signed


def _run(waiting: dict[int, bytes], nonce: int) -> int:
    """The first nonce from *nonce* on that is missing: what is beyond it cannot be executed yet."""
    while nonce in waiting:
        nonce += 1
    return nonce
