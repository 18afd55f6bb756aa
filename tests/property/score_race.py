"""A race with many evaluations: they begin out of nothing, for the histories in which rounds close are long."""

from __future__ import annotations

import sys
from typing import Any

from msgspec.structs import replace

from potminer.core import trie
from potminer.core.ledger.state import State
from potminer.wire import record as records
from potminer.wire.codec import encode
from potminer.wire.record import EvaluationRecord, TaskRecord, Trainer
from potminer.wire.task import evaluation_fee
from tests.property.ledger_race import Race, place, plain
from tests.unit.ledger_world import blob


class ScoreRace(Race):
    def acts(self) -> list[Any]:
        for task in self.state.head.open_tasks:
            if self.random.random() < 0.5:
                self._begin(task)
        return super().acts()

    def _begin(self, task: bytes) -> None:
        name, record = records.evaluation_key(task), self.state.need(TaskRecord, records.task_key(task))
        known = [m.trainer for m in record.members if self.state.get(Trainer, records.trainer_key(m.trainer))]
        drawn = tuple(self.random.sample(known, min(3, len(known))))
        purse = len(drawn) * evaluation_fee(record.spec)
        if not drawn or purse > record.escrow or self.state.get(EvaluationRecord, name) is not None:
            return
        closed, ends = self.random.randrange(2**16), self.state.head.time_ms + 4_000
        begun = EvaluationRecord(closed, record.model, ends, drawn, purse, blob("seed", closed))
        paying = replace(record, escrow=record.escrow - purse)
        changed = [(name, encode(begun)), (records.task_key(task), encode(paying))]
        tree = trie.update(self.state.tree, changed)
        self.state = self._rebuilt(tree)
        self.ours[place(name)] = plain(begun)
        self.ours[place(records.task_key(task))] = plain(paying)
        made = sys.modules["spec_model.facts"].Evaluation(closed, record.model, ends, drawn, purse, begun.seed)
        self.model.put(made, "evaluation", task)
        self.model.change("task", task, escrow=paying.escrow)

    def _rebuilt(self, tree: Any) -> State:
        return self.core.state(self.state.chain, self.state.parameters, tree)
