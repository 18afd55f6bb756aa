"""How many transactions a fresh proposal of ours names at most: what lines carried before, and somewhat more.

A proposal that takes longer than its view lasts is lost, and so would be the next one of the same length. So a view
that ended without a block makes ours much shorter, and every block as long as that which came in good time a little
longer. It shapes proposals, never what others' proposals may hold; a network that is never late never meets it.
"""

from __future__ import annotations

from typing import Final

from potminer.base import limits

CUT: Final = 16
STEP: Final = limits.NARROW_TRANSACTIONS // 4
QUICK: Final = 5
"""A block within this part of a view's time doubles it; one within half of that time adds a step."""


class Breadth:
    __slots__ = ("most",)

    def __init__(self) -> None:
        self.most = limits.BLOCK_TRANSACTIONS

    def view_failed(self) -> None:
        self.most = max(limits.NARROW_TRANSACTIONS, self.most // CUT)

    def decided(self, transactions: int, *, view: int, took_ms: int, view_ms: int) -> None:
        """A block of so many came so long after it was made."""
        if view or 2 * transactions < self.most or 2 * took_ms >= view_ms:
            return
        wider = 2 * self.most if QUICK * took_ms < view_ms else self.most + STEP
        self.most = min(limits.BLOCK_TRANSACTIONS, wider)
