"""The ledger as consensus asks for it: PBFT's Application protocol over core/ledger."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from potminer.core.committee import Committee
from potminer.core.ledger.ledger import Ledger
from potminer.core.pbft.application import Head
from potminer.wire.block import Block
from potminer.wire.tx import SignedTransaction


class LedgerApplication:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @property
    def committee(self) -> Committee:
        return self._ledger.committee

    @property
    def following(self) -> Committee:
        return self._ledger.following

    def build(self, *, height: int, parent: Head, proposer: bytes, now: int, most: int) -> Block | None:
        return self._ledger.build(height=height, parent=parent.digest, proposer=proposer, now=now, most=most)

    def refusal(self, block: Block, *, fresh: bool, now: int) -> str | None:
        return self._ledger.refusal(block, fresh=fresh, now=now)

    def wants_block(self, now: int) -> bool:
        return self._ledger.wants_block(now)

    def waits(self, now: int) -> bool:
        return self._ledger.waits(now)

    def neglected(self, *, stalled: bool) -> Sequence[SignedTransaction]:
        return self._ledger.neglected(stalled=stalled)

    def left_out(self, block: Block) -> bytes | None:
        return self._ledger.left_out(block)

    def leaves(self) -> Collection[bytes]:
        return self._ledger.mempool.leaves()

    def transactions(self, leaves: Sequence[bytes]) -> Sequence[SignedTransaction | None]:
        return [self._ledger.mempool.at_leaf(leaf) for leaf in leaves]
