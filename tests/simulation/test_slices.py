"""Aggregation in slices: the real ledger, round machines and training code of a whole company."""

from __future__ import annotations

import random
from pathlib import Path

from potminer.core.ledger.event import RoundClosed, UnitEnded
from potminer.train.bookwork import aggregate_updates
from potminer.train.folder import Folder
from potminer.wire import record as records
from potminer.wire.model import Mlp
from potminer.wire.record import Outcome, Phase, UnitRecord
from potminer.wire.task import Deadlines, TaskSpec, Unit, snapshot_size
from potminer.wire.trainer import AggregateJob
from potminer.wire.tx import SliceResult
from tests.simulation.company import Company
from tests.unit.ledger_world import World, blob, spec
from tests.unit.train_kit import digits_task, go_on

TRAINERS = ("ann", "ben", "cy")
WIDE = Mlp(64, (14_500,), 10)
"""An update of 1.1 MB: two pieces, so two slices."""


class Watched(Company):
    """One round in slices. *hiders* is how many trainers give slice 1 of their update to nobody; *liars* is how many
    validators make slices up."""

    def __init__(self, folder: Folder, *, hiders: int = 0, liars: int = 0) -> None:
        digits = digits_task(folder, model=WIDE)
        self.task: TaskSpec = spec(
            model=WIDE, data=digits.data, initial_model=digits.initial_model, rounds=1, units_per_trainer=1,
            segments=1, micro_batch=4, min_trainers=3, deadlines=Deadlines(*[20_000] * 5),
        )
        super().__init__(World(whole_bytes=0), folder, random.Random(1), TRAINERS)
        self.liars = self.world.validators[:liars]
        for liar in self.liars:
            del self.machines[liar]
        self.hiders = hiders
        self.units: dict[int, UnitRecord] = {}
        self.seed = b""
        self.world.submit(self.task, trainers=TRAINERS)

    def run(self) -> RoundClosed:
        self.start()
        while self.world.state.head.open_tasks:
            self.block()
        (closed,) = (event for event in self.world.events if isinstance(event, RoundClosed))
        return closed

    def tell(self, name: str, event: object) -> None:
        current = self.world.round if self.world.task in self.world.state.head.open_tasks else None
        if current is not None and current.phase >= Phase.REVEAL:
            self._watch(len(current.slots))
            self.seed = current.seed
        super().tell(name, event)

    def _watch(self, slots: int) -> None:
        for slot in range(slots):
            unit = self.world.state.need(UnitRecord, records.unit_key(self.world.task, 0, slot))
            if unit.snapshots:
                self.units[slot] = unit
                if slot < self.hiders:
                    self.hidden.add((unit.snapshots[-1], 1))

    def block(self) -> None:
        current = self.world.round if self.world.state.head.open_tasks else None
        if current is not None and current.phase == Phase.AGGREGATE:
            for liar in self.liars:
                for index in range(current.slices):
                    said = SliceResult(self.world.task, 0, current.attempt, index, blob("a better model"), ())
                    self.submitted.append((liar, said))
        super().block()

    def whole(self, slots: list[int]) -> bytes | None:
        """The model of the updates of *slots* as one who has all of them finds it."""
        units = tuple(Unit(self.world.task, 0, 0, slot, self.units[slot].trainer, self.seed) for slot in slots)
        updates = tuple(self.units[slot].snapshots[-1] for slot in slots)
        base = self.task.initial_model
        return aggregate_updates(self.folder, AggregateJob(1, self.task, base, units, updates), go_on).model


def test_slices_give_the_whole_and_nobody_fetches_everything(tmp_path: Path) -> None:
    """A third of the power is exceeded by two of four: each slice is two validators'."""
    made = Watched(Folder(tmp_path))
    closed = made.run()
    assert closed.model == made.whole([0, 1, 2])
    assert closed.model != made.task.initial_model
    shares = [made.fetched[name] / (3 * snapshot_size(made.task, 1)) for name in made.world.validators]
    assert max(shares) < 0.51
    assert 1.99 < 2 * sum(shares) / len(shares) * 2 < 2.01
    assert not [key for key, _ in made.world.state.items() if key[:1] == b"s"], "nothing stays of a slice"


def test_neither_a_liar_nor_who_hides_a_slice_decides(tmp_path: Path) -> None:
    """What one slice of could be had from nobody is left out of all of them."""
    made = Watched(Folder(tmp_path), hiders=1, liars=1)
    assert made.run().model == made.whole([1, 2])
    ended = {event.slot: event.judgement.outcome for event in made.world.events if isinstance(event, UnitEnded)}
    assert ended == {0: Outcome.MALFORMED, 1: Outcome.ACCEPTED, 2: Outcome.ACCEPTED}
