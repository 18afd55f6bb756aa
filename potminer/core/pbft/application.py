"""What the replica asks of the ledger, and where a height begins. docs/spec/pbft.md §3."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from potminer.core.committee import Committee
from potminer.wire.block import Block
from potminer.wire.tx import SignedTransaction


@dataclass(frozen=True, slots=True)
class Head:
    """The last executed block: its height, digest and time, and the state root after it."""

    height: int
    digest: bytes
    time_ms: int
    state_root: bytes


class Application(Protocol):
    """Pure reads on the ledger as it is after the replica's head. Nothing here changes state."""

    @property
    def committee(self) -> Committee:
        """Who decides the block above the head, and whose turns are skipped there."""
        ...

    @property
    def following(self) -> Committee:
        """The committee of the epoch after that block's. What its members say may be early."""
        ...

    def build(self, *, height: int, parent: Head, proposer: bytes, now: int, most: int) -> Block | None:
        """A fresh block of at most *most* pending transactions on *parent*; its time is strictly above the parent's.
        None where this key can propose nothing: its turn is lost."""
        ...

    def refusal(self, block: Block, *, fresh: bool, now: int) -> str | None:
        """Why *block* may not follow the head, or None.

        Checks everything: parent, height, epoch, roots, preimage, every transaction. A *fresh*
        block's time must also be within 5 s of *now*; a re-proposed one is exempt. Two replicas
        with the same head answer alike, the clock aside.
        """
        ...

    def transactions(self, leaves: Sequence[bytes]) -> Sequence[SignedTransaction | None]:
        """What is at hand of the transactions with these leaves, place by place."""
        ...

    def leaves(self) -> Collection[bytes]:
        """The leaves of all transactions at hand."""
        ...

    def neglected(self, *, stalled: bool) -> Sequence[SignedTransaction]:
        """Ready transactions that blocks with room left out for a second or longer, the longest first. Where the
        height is *stalled*, any that are ready."""
        ...

    def left_out(self, block: Block) -> bytes | None:
        """The digest of a ready transaction, left out for 5 s, that *block* has room for and leaves out too."""
        ...

    def wants_block(self, now: int) -> bool:
        """Whether transactions are pending, or the ledger itself waits for a block."""
        ...

    def waits(self, now: int) -> bool:
        """Whether the ledger itself waits for a block: more transactions would change nothing for it."""
        ...


@dataclass(frozen=True, slots=True)
class Timers:
    """Parameters of the replica, the same for the whole network. Milliseconds and block counts."""

    batch_ms: int = 200
    empty_block_ms: int = 5_000
    view_base_ms: int = 2_000
    view_cap_ms: int = 30_000
    view_growth: tuple[int, int] = (3, 2)
    """Numerator and denominator of the factor per failed view."""
    status_ms: int = 1_000
    gossip_ms: int = 50
    """How long gossip may still bring what a proposal names before a member is asked for it."""
    gather_ms: int = 300
    """How long one member is waited for before another is asked for a proposal's missing transactions."""
    votes_ms: int = 600
    """How long a height or view may stand still before others are asked what they heard."""
    checkpoint_blocks: int = 100

    def __post_init__(self) -> None:
        numerator, denominator = self.view_growth
        waits = min(self.batch_ms, self.empty_block_ms, self.view_base_ms, self.status_ms, self.votes_ms)
        waits = min(waits, self.gather_ms, self.gossip_ms)
        grows = self.view_cap_ms >= self.view_base_ms and numerator > denominator > 0
        if min(waits, self.checkpoint_blocks) < 1 or not grows:
            raise AssertionError("a replica's timers are positive and grow up to their cap")
        if self.batch_ms >= self.view_base_ms:
            raise AssertionError("a primary that batches longer than the view lasts never proposes")
