"""The outbox: what this node's key signs, sent until the ledger has it."""

from __future__ import annotations

from potminer.core.ledger.ledger import Ledger
from potminer.wire.seal import SigningKey
from potminer.wire.tx import Body, SignedTransaction, Transaction, sign_transaction

LIFETIME_BLOCKS = 1_000


class Outbox:
    """Signs bodies in nonce order. Whatever of ours still waits is sent again with every new one: a
    transaction that got lost would otherwise hold up all the later ones."""

    def __init__(self, key: SigningKey, ledger: Ledger) -> None:
        self._key = key
        self._ledger = ledger

    def submit(self, body: Body) -> list[SignedTransaction]:
        """Transactions to publish now; the newest carries *body* unless one that waits already does."""
        ledger = self._ledger
        waiting = ledger.mempool.of(self._key.public)
        if any(signed.transaction.body == body for signed in waiting):
            return waiting
        head = ledger.state.head
        transaction = Transaction(
            ledger.state.chain,
            self._key.public,
            ledger.mempool.next_nonce(self._key.public, ledger.state),
            0,
            head.height + LIFETIME_BLOCKS,
            body,
        )
        signed = sign_transaction(transaction, self._key)
        return [*waiting, signed] if ledger.submit(signed) is None else waiting
