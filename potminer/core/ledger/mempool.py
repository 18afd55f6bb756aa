"""The mempool: transactions waiting for a block, bounded, in nonce order per sender."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
    """First come, first served; one transaction per sender and nonce.

    Signatures are checked once, at the door, and remembered while the transaction waits.
    """

    __slots__ = ("_by_digest", "_by_leaf", "_by_sender", "_bytes", "_patience", "_verifier")

    def __init__(self, verifier: Callable[[SignedTransaction], bool] = signature_holds) -> None:
        self._by_digest: dict[bytes, SignedTransaction] = {}
        self._by_leaf: dict[bytes, SignedTransaction] = {}
        self._by_sender: dict[bytes, dict[int, bytes]] = {}
        self._bytes = 0
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
        if self._is_full(signed) or len(waiting) >= limits.MEMPOOL_PER_SENDER:
            return Refusal.POOL_FULL
        if not self._verifier(signed):
            return Refusal.BAD_SIGNATURE
        if isinstance(transaction.body, Evidence) and not evidence_holds(transaction.body, chain=transaction.chain):
            # True or false for ever, so this leaves no gap in the nonces of anybody honest. Old news has to pass.
            return Refusal.BAD_EVIDENCE
        self._by_digest[digest] = self._by_leaf[signed.leaf] = signed
        self._by_sender.setdefault(transaction.sender, {})[transaction.nonce] = digest
        self._bytes += len(signed.encoded)
        self._patience.begin(transaction.sender)
        return None

    def _is_full(self, signed: SignedTransaction) -> bool:
        """Whether there is no room for one of that size."""
        many = len(self._by_digest) >= limits.MEMPOOL_TRANSACTIONS
        return many or self._bytes + len(signed.encoded) > limits.MEMPOOL_BYTES

    def verified(self, signed: SignedTransaction) -> bool:
        """Whether the signature holds; free for what waits here byte for byte."""
        return signed.leaf in self._by_leaf or self._verifier(signed)

    def at_leaf(self, leaf: bytes) -> SignedTransaction | None:
        """The transaction whose exact bytes, signature included, have this leaf."""
        return self._by_leaf.get(leaf)

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
        waiting, nonce = self._by_sender.get(sender, {}), state.account(sender).nonce
        while nonce in waiting:
            nonce += 1
        return nonce

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
            for used, digest in list(waiting.items()):
                if used < nonce or ((sweeps or used == nonce) and self._is_hopeless(state, digest, height)):
                    gone = self._by_digest.pop(waiting.pop(used))
                    self._bytes -= len(gone.encoded)
                    del self._by_leaf[gone.leaf]
            if not waiting:
                del self._by_sender[sender]
                self._patience.forget(sender)
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
