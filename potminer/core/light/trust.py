"""What a light client trusts: one final block, and the committees it has learnt. A value: following gives a new one."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.committee import Committee
from potminer.wire.genesis import Genesis, chain_id

COMMITTEES_KEPT = 1_024
DRIFT_MS = 10_000
"""How far a block's time may be ahead of the client's clock: a fresh proposal is within 5 s of its voters'."""


@dataclass(frozen=True, slots=True)
class Terms:
    """*trusting_ms*: how long a committee's word is worth anything, None for ever. Whoever vouches for a
    block must still have something to lose; afterwards old keys could sign another past."""

    trusting_ms: int | None = None
    drift_ms: int = DRIFT_MS


@dataclass(frozen=True, slots=True)
class Trust:
    """The newest block believed. *digest* of the genesis (height 0) is the chain itself.

    *committees* are those of consecutive epochs, oldest first; an epoch has *epoch_blocks* blocks.
    """

    chain: bytes
    epoch_blocks: int
    height: int
    digest: bytes
    time_ms: int
    committees: tuple[Committee, ...]

    @property
    def newest_epoch(self) -> int:
        """The last epoch whose committee is known."""
        return self.committees[-1].epoch

    def epoch_of(self, height: int) -> int:
        return (height - 1) // self.epoch_blocks

    def committee(self, epoch: int) -> Committee | None:
        at = epoch - self.committees[0].epoch
        return self.committees[at] if 0 <= at < len(self.committees) else None


def from_genesis(genesis: Genesis) -> Trust:
    """The beginning: all that whoever holds the genesis file knows."""
    chain = chain_id(genesis)
    validators = genesis.validators
    first = Committee(0, tuple(v.key for v in validators), tuple(v.power for v in validators))
    return Trust(chain, genesis.parameters.epoch_blocks, 0, chain, genesis.time_ms, (first,))
