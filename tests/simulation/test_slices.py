"""Aggregation in slices: the real ledger, round machines and training code of a whole company."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path

import pytest
from msgspec.structs import replace

from potminer.core.ledger.event import RoundClosed, RoundOpened, UnitEnded
from potminer.core.rounds.conduct import Conduct
from potminer.train.bookwork import aggregate_updates
from potminer.train.folder import Folder
from potminer.wire import record as records
from potminer.wire.model import Mlp
from potminer.wire.record import Outcome, Phase, SliceRecord, UnitRecord
from potminer.wire.task import Aggregation, Clipped, Deadlines, Mean, TaskSpec, Unit, snapshot_size
from potminer.wire.trainer import AggregateJob
from potminer.wire.tx import RevealWork, SliceResult
from tests.simulation.company import Company
from tests.unit.ledger_world import World, key, spec
from tests.unit.train_kit import digits_task, go_on

TRAINERS = ("ann", "ben", "cy")
MEAN = Mean()
CLIPPED = Clipped(1, 500_000)
WIDE = Mlp(64, (14_500,), 10)
"""An update of 1.1 MB: two pieces, so two slices."""


class Watched(Company):
    """One round in slices. *hiders* is how many trainers give slice 1 of their update to nobody; *liars* is how many
    validators make slices, and lengths on them, up."""

    def __init__(
        self, folder: Folder, *, hiders: int = 0, liars: int = 0, rule: Aggregation = MEAN,
        conducts: Mapping[str, Conduct] | None = None,
    ) -> None:
        digits = digits_task(folder, model=WIDE)
        self.task: TaskSpec = spec(
            model=WIDE, data=digits.data, initial_model=digits.initial_model, rounds=1, units_per_trainer=1,
            segments=1, micro_batch=4, min_trainers=3,
            deadlines=Deadlines(*[20_000] * 5), aggregation=rule,
        )
        super().__init__(World(whole_bytes=0), folder, random.Random(1), TRAINERS, conducts=conducts)
        self.liars = self.world.validators[:liars]
        for liar in self.liars:
            del self.machines[liar]
        self.hiders = hiders
        self.lie = folder.write(b"a better model")
        self.units: dict[int, UnitRecord] = {}
        self.seed = b""
        self.world.submit(self.task, trainers=TRAINERS)

    def run(self, before_block: Callable[[], None] = lambda: None) -> RoundClosed:
        self.start()
        while self.world.state.head.open_tasks:
            before_block()
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
                for index, lengths in product(range(current.slices), (False, True)):
                    said = SliceResult(self.world.task, 0, current.attempt, index, self.lie, (), lengths)
                    self.submitted.append((liar, said))
        super().block()

    @property
    def lengths(self) -> list[bytes]:
        """Those that two validators say alike, by slice."""
        found = []
        for index in range(2):
            record = self.world.state.get(SliceRecord, records.lengths_key(self.world.task, index))
            said = Counter(each.part for each in (record.attestations if record is not None else ()))
            found += [part for part, backers in said.items() if backers > 1]
        return found

    def whole(self, slots: list[int], rule: Aggregation | None = None) -> bytes | None:
        """The model of the updates of *slots* as one who has all of them finds it."""
        task = replace(self.task, aggregation=rule or self.task.aggregation)
        units = tuple(Unit(self.world.task, 0, 0, slot, self.units[slot].trainer, self.seed) for slot in slots)
        updates = tuple(self.units[slot].snapshots[-1] for slot in slots)
        base = self.task.initial_model
        return aggregate_updates(self.folder, AggregateJob(1, task, base, units, updates), go_on).model


@pytest.mark.parametrize("rule", [MEAN, CLIPPED], ids=["mean", "clipped"])
def test_slices_give_the_whole_and_nobody_fetches_everything(tmp_path: Path, rule: Aggregation) -> None:
    """A third of the power is exceeded by two of four: each slice is two validators'."""
    made = Watched(Folder(tmp_path), rule=rule)
    closed = made.run()
    assert closed.model == made.whole([0, 1, 2])
    assert closed.model != made.task.initial_model
    assert (closed.model == made.whole([0, 1, 2], MEAN)) == (rule == MEAN), "the rule makes a difference"
    shares = [made.fetched[name] / (3 * snapshot_size(made.task, 1)) for name in made.world.validators]
    assert max(shares) < 0.51
    assert 1.99 < 2 * sum(shares) / len(shares) * 2 < 2.01
    assert not [key for key, _ in made.world.state.items() if key[:1] in (b"s", b"l")], "nothing stays of a slice"


class Short(Conduct):
    """Says that nothing is as short as its update."""

    def reveal(self, work: RevealWork) -> RevealWork:
        return replace(work, lengths=(1,) * len(work.lengths))


@pytest.mark.parametrize("rule", [MEAN, CLIPPED], ids=["mean", "clipped"])
def test_who_says_that_its_update_is_shorter_is_in_no_slice(tmp_path: Path, rule: Aggregation) -> None:
    made = Watched(Folder(tmp_path), rule=rule, conducts={TRAINERS[0]: Short()})
    closed = made.run()
    (liar,) = (slot for slot, unit in made.units.items() if unit.trainer == key(TRAINERS[0]).public)
    assert closed.model == made.whole([slot for slot in range(3) if slot != liar])
    ended = {event.slot: event.judgement.outcome for event in made.world.events if isinstance(event, UnitEnded)}
    assert ended == {slot: Outcome.MALFORMED if slot == liar else Outcome.ACCEPTED for slot in range(3)}


@pytest.mark.parametrize("rule", [MEAN, CLIPPED], ids=["mean", "clipped"])
def test_neither_a_liar_nor_who_hides_a_slice_decides(tmp_path: Path, rule: Aggregation) -> None:
    """What one slice of could be had from nobody is left out of all of them."""
    made = Watched(Folder(tmp_path), hiders=1, liars=1, rule=rule)
    assert made.run().model == made.whole([1, 2])
    ended = {event.slot: event.judgement.outcome for event in made.world.events if isinstance(event, UnitEnded)}
    assert ended == {0: Outcome.MALFORMED, 1: Outcome.ACCEPTED, 2: Outcome.ACCEPTED}


def test_a_maker_that_vanishes_between_lengths_and_parts_stops_nothing(tmp_path: Path) -> None:
    made = Watched(Folder(tmp_path), rule=CLIPPED)
    gone: list[object] = []

    def before_block() -> None:
        if len(made.lengths) == 2 and not gone:
            gone.append(made.machines.pop("validator-3"))
            made.submitted = [(name, body) for name, body in made.submitted if name != "validator-3"]

    assert made.run(before_block).model == made.whole([0, 1, 2])
    assert gone


def test_what_is_hidden_after_the_lengths_are_said_is_left_out_of_the_lengths_as_well(tmp_path: Path) -> None:
    """Slice 1 of an update is shown to its two makers alone, and one of them says lengths and no part: the other two
    cannot make it, so everything is done again without that update."""
    made = Watched(Folder(tmp_path), hiders=1, rule=CLIPPED)
    made.told = {"validator-2", "validator-3"}
    first: list[bytes] = []

    def before_block() -> None:
        if len(made.lengths) == 2 and not first:
            first.extend(made.lengths)
            del made.machines["validator-3"]
            made.submitted = [(name, body) for name, body in made.submitted if name != "validator-3"]

    assert made.run(before_block).model == made.whole([1, 2])
    assert first
    ended = {event.slot: event.judgement.outcome for event in made.world.events if isinstance(event, UnitEnded)}
    assert ended == {0: Outcome.MALFORMED, 1: Outcome.ACCEPTED, 2: Outcome.ACCEPTED}


def test_lengths_that_nobody_serves_are_made_again(tmp_path: Path) -> None:
    made = Watched(Folder(tmp_path), rule=CLIPPED)
    assert made.run(lambda: made.lost.update(made.lengths)).model == made.whole([0, 1, 2])
    assert len(made.lost) == 2
    (opened,) = (event for event in made.world.events if isinstance(event, RoundOpened))
    assert opened.attempt == 0


def test_lies_about_lengths_are_believed_by_nobody(tmp_path: Path) -> None:
    """One of four cannot have them said twice; what it says of a slice is not even fetched."""
    made = Watched(Folder(tmp_path), liars=1, rule=CLIPPED)
    seen: set[bytes] = set()
    assert made.run(lambda: seen.update(made.lengths)).model == made.whole([0, 1, 2])
    assert len(seen) == 2
    assert made.lie not in seen


def test_who_begins_again_between_lengths_and_parts_does_its_part(tmp_path: Path) -> None:
    """What a validator knew of slices the ledger and its folder tell it again; seat 1 and 0 make slice 0."""
    made = Watched(Folder(tmp_path), rule=CLIPPED)
    del made.machines["validator-0"]
    begun: list[str] = []

    def before_block() -> None:
        if len(made.lengths) == 2 and not begun:
            begun.extend(("validator-1", "validator-2"))
            made.machines |= {name: made._machine(name, None) for name in begun}

    assert made.run(before_block).model == made.whole([0, 1, 2])
    assert begun


@pytest.mark.parametrize("rule", [MEAN, CLIPPED], ids=["mean", "clipped"])
def test_one_hidden_slice_does_not_have_everybody_fetch_everything(tmp_path: Path, rule: Aggregation) -> None:
    """Slice 1 is everybody's then; slice 0 was made, and its makers make it again."""
    made = Watched(Folder(tmp_path), hiders=1, rule=rule)
    assert made.run().model == made.whole([1, 2])
    shares = [made.fetched[name] / (3 * snapshot_size(made.task, 1)) for name in made.world.validators]
    assert max(shares[2:]) < 0.51, "nothing of slice 0"
