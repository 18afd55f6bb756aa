"""Blocks that this node leapt over: what its books cannot know, and what the state tells all the same.

A leap brings balances and what is pending, not the story of the blocks between. So the books are set to what is
pending at its end: what is pending more was earned meanwhile, on a day nobody here knows; what is pending less was
paid, or is lost to who was expelled. What was earned and paid within the gap is not known, and is said not to be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from potminer.core.ledger.stake import window
from potminer.core.ledger.state import State
from potminer.node.history import History
from potminer.wire import record as records
from potminer.wire.record import PendingRound, TaskRecord, Trainer

KEY: Final = b"leapt"
"""In the journal."""
KEPT: Final = 256

Persist = Callable[[Sequence[tuple[bytes, bytes | None]]], Awaitable[None]]


class Gaps:
    """*saved* is what an earlier life kept, *head* where its ledger stands. A landing that never became durable left
    no gap."""

    def __init__(self, own: bytes, history: History, persist: Persist, *, saved: bytes | None, head: int) -> None:
        found = [] if saved is None else msgspec.json.decode(saved, type=list[tuple[int, int]])
        self._gaps = [(first, last) for first, last in found if last <= head]
        self._own, self._history, self._persist = own, history, persist

    @property
    def blocks(self) -> int:
        """How many blocks were leapt over."""
        return sum(last - first + 1 for first, last in self._gaps)

    @property
    def last(self) -> int:
        """The newest of them; 0 where there is none."""
        return max((last for _, last in self._gaps), default=0)

    async def open(self, first: int, last: int) -> None:
        """Before the ledger is set down behind block *last*: a crash between the two must not hide the gap."""
        gaps = [*self._gaps, (first, last)]
        if len(gaps) > KEPT:
            gaps = [(gaps[0][0], gaps[1][1]), *gaps[2:]]
        await self._persist([(KEY, msgspec.json.encode(gaps))])
        self._gaps = gaps

    def settle(self, state: State) -> None:
        """The books, where blocks were leapt over: pending is what *state* says. The same again changes nothing."""
        if not self._gaps:
            return
        trainer = state.get(Trainer, records.trainer_key(self._own))
        expelled = trainer is not None and trainer.expelled
        tasks = {*state.head.open_tasks, *self._history.takings.tasks}
        self._history.settle({task: 0 if expelled else self._pending(state, task) for task in tasks}, expelled=expelled)

    def _pending(self, state: State, task_id: bytes) -> int:
        task = state.get(TaskRecord, records.task_key(task_id))
        if task is None:
            return 0
        rounds = (
            state.get(PendingRound, records.pending_key(task_id, number)) for number in window(state.parameters, task)
        )
        shares = (share for pending in rounds if pending is not None for share in pending.shares)
        return sum(share.amount for share in shares if share.earner == self._own)
