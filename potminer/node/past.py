"""What the node can still prove: the states after recent blocks, each with the header that names it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from potminer.core.ledger.apply import Applied
from potminer.core.ledger.event import RoundClosed
from potminer.core.ledger.state import State
from potminer.core.light.epochs import KEYS
from potminer.wire import record as records
from potminer.wire.codec import encode
from potminer.wire.proof import BlockOutcomes, CertifiedHeader, PastProof, Shown
from potminer.wire.record import TaskRecord

STATES: Final = 64
"""Blocks back that anything can be proven: minutes of clients' patience."""
CHANGES: Final = 20_000
"""Changed records that may lie between the oldest state kept and the newest: a state shares all else with the next."""

OUTCOMES: Final = "outcomes"
STEP: Final = "step"
HEADER: Final = "header"
"""The header that shows a model's proof, kept as long as that is."""
MODELS: Final = "model/"


@dataclass(frozen=True, slots=True)
class Kept:
    """*state* after the block of *certified*; None where the node began with it. *changes* is how much it changed."""

    state: State
    certified: CertifiedHeader | None
    changes: int


def models(task: bytes) -> str:
    """Kind of the proofs of *task*'s models, by round."""
    return MODELS + task.hex()[:24]


Row = tuple[str, int, bytes]
"""(kind, number, value)."""


def _outcomes(applied: Applied) -> Iterator[Row]:
    if applied.receipts:
        refusals = tuple(receipt.refusal for receipt in applied.receipts)
        outcomes = BlockOutcomes(applied.state.prove(records.RECEIPTS), refusals)
        yield OUTCOMES, applied.state.head.height, encode(outcomes)


def _models(applied: Applied) -> Iterator[Row]:
    """A task's record changes with every round; what it said of the model after this one is proven later too."""
    state = applied.state
    for task in dict.fromkeys(each.task for each in applied.events if isinstance(each, RoundClosed)):
        key = records.task_key(task)
        number = state.need(TaskRecord, key).round
        yield models(task), number, encode(PastProof(state.head.height, state.prove(key)))


class Past:
    """*state* is the one the node begins with."""

    def __init__(self, state: State) -> None:
        self._kept: deque[Kept] = deque([Kept(state, None, 0)])
        self._shows = True
        """The next header is needed for what was stored with this block; after a start, perhaps."""
        self.newest: frozenset[bytes] = frozenset()
        """Transactions of the block that was executed last: their receipts may not be stored yet."""

    def begin(self, state: State) -> None:
        """Again from *state*: of what came before it nothing can be proven here any more."""
        self._kept.clear()
        self._kept.append(Kept(state, None, 0))
        self.newest = frozenset()
        self._shows = False

    def follow(self, applied: Applied, certified: CertifiedHeader) -> tuple[Row, ...]:
        """Takes an executed block; what must be stored with it to prove it later."""
        self._kept.append(Kept(applied.state, certified, len(applied.changes)))
        while len(self._kept) > 2 and (
            len(self._kept) > STATES + 1 or sum(kept.changes for kept in self._kept) - self._kept[0].changes > CHANGES
        ):
            self._kept.popleft()
        self.newest = frozenset(receipt.transaction for receipt in applied.receipts)
        shows = [(HEADER, certified.header.height, encode(certified))] if self._shows else []
        models_of = tuple(_models(applied))
        self._shows = bool(models_of)
        return (*_outcomes(applied), *models_of, *shows, *self._step(certified))

    def _step(self, certified: CertifiedHeader) -> Iterator[Row]:
        """The last header of an epoch shows the committee of the next, for as long as the chain lives."""
        before = self._kept[-2].state
        if certified.header.height % before.parameters.epoch_blocks == 0:
            yield STEP, certified.header.height, encode(Shown(certified, tuple(before.prove(key) for key in KEYS)))

    @property
    def provable(self) -> tuple[int, int] | None:
        """First and last height after which the state can be proven; the newest needs one more block."""
        if len(self._kept) < 2:
            return None
        return self._kept[0].state.head.height, self._kept[-2].state.head.height

    def at(self, height: int) -> tuple[State, CertifiedHeader] | None:
        """The state after block *height* and the header that names its root."""
        offset = height - self._kept[0].state.head.height
        if not 0 <= offset < len(self._kept) - 1:
            return None
        certified = self._kept[offset + 1].certified
        return None if certified is None else (self._kept[offset].state, certified)
