"""Rounds that train while the one before is audited, with real training: what is refused is never in a model."""

from __future__ import annotations

import random
from pathlib import Path

from potminer.base.bounded import MILLION
from potminer.core.ledger import event
from potminer.core.ledger.progress import rounds_of, units_in
from potminer.core.ledger.state import Draft
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_updates
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.wire.record import Outcome
from potminer.wire.task import AuditSpec, Reward, TaskSpec, Unit
from potminer.wire.trainer import Aggregated, AggregateJob
from potminer.wire.tx import Bond, RegisterTrainer, Transfer
from tests.simulation.company import Company
from tests.unit.ledger_world import World, key, spec
from tests.unit.train_kit import digits_task, go_on

TRAINERS = ("ann", "ben", "cy")
PRICE = 1_000_003
NEED = 10 * 2 * PRICE
Place = tuple[int, int]


class Observer:
    """A task on a company, watched block by block: bases and updates of every attempt, and where two rounds ran.
    *turns* cheats once the first round is over, which calibrates and so overlaps with none."""

    def __init__(self, folder: Path, *, turns: str = "") -> None:
        self.turns = turns
        self.blobs = Folder(folder)
        digits = digits_task(self.blobs)
        self.spec: TaskSpec = spec(
            name="digits", model=digits.model, data=digits.data, initial_model=digits.initial_model, rounds=4,
            segments=digits.segments, batches_per_segment=digits.batches_per_segment, micro_batch=digits.micro_batch,
            outer_rate_nano=digits.outer_rate_nano, min_trainers=2, reward=Reward(10**9, PRICE),
            audit=AuditSpec(MILLION, 1_000, overlap=True),
        )
        self.world = World()
        self.world.step(*[("rich", Transfer(key(name).public, NEED + 10_000)) for name in TRAINERS])
        self.world.step(*[(name, RegisterTrainer(key(name + "-wallet").public)) for name in TRAINERS])
        self.world.step(*[(name, Bond(NEED)) for name in TRAINERS])
        self.company = Company(self.world, self.blobs, random.Random(5), TRAINERS)
        self.garbage = Bench(self.blobs, device="cpu", threads=1, max_bytes=2**32, cheat=cheat("garbage"))
        self.bases: dict[Place, bytes] = {}
        self.updates: dict[Place, dict[int, tuple[Unit, bytes]]] = {}
        self.together: set[tuple[Place, Place]] = set()

    def run(self) -> None:
        self.world.submit(self.spec, trainers=TRAINERS)
        self.company.start()
        for _ in range(90):
            if self.turns and self.world.record.round == 1:
                self.company.benches[self.turns] = self.garbage
            self.company.block()
            self._look()
            if not self.world.state.head.open_tasks:
                return
        raise AssertionError("the task was not trained")

    def _look(self) -> None:
        draft, task = Draft(self.world.state), self.world.task
        found = rounds_of(draft, task)
        for each in found:
            place = (each.number, each.attempt)
            self.bases[place] = each.base
            for slot, unit in enumerate(units_in(draft, task, each)):
                if unit.snapshots:
                    work = Unit(task, each.number, each.attempt, slot, unit.trainer, each.seed), unit.snapshots[-1]
                    self.updates.setdefault(place, {})[slot] = work
        if len(found) == 2:
            first, second = ((each.number, each.attempt) for each in found)
            self.together.add((first, second))

    def check_models(self) -> None:
        """Every round began with the model of the one before, and its model is what its accepted updates make."""
        base = self.spec.initial_model
        for closed in self.world.happened(event.RoundClosed):
            place = (closed.round, closed.attempt)
            assert self.bases[place] == base
            ended = [e for e in self.world.happened(event.UnitEnded) if (e.round, e.attempt) == place]
            slots = sorted(e.slot for e in ended if e.judgement.outcome == Outcome.ACCEPTED)
            units, updates = zip(*(self.updates[place][slot] for slot in slots), strict=True)
            report = aggregate_updates(self.blobs, AggregateJob(1, self.spec, base, units, updates), go_on)
            assert isinstance(report, Aggregated)
            assert report.model == closed.model
            base = closed.model
        assert self.world.record.model == base


def test_honest_rounds_overlap_and_nothing_is_done_twice(tmp_path: Path) -> None:
    seen = Observer(tmp_path)
    seen.run()
    assert seen.together == {((n, 0), (n + 1, 0)) for n in (1, 2)}
    assert not seen.world.happened(event.RoundFailed)
    seen.check_models()
    assert [e.accepted for e in seen.world.happened(event.RoundClosed)] == [6] * 4


def test_a_cheat_in_an_overlapped_round_has_the_next_one_done_again_and_is_in_no_model(tmp_path: Path) -> None:
    seen = Observer(tmp_path, turns="cy")
    seen.run()
    assert ((2, 0), (3, 0)) in seen.together
    (failed,) = seen.world.happened(event.RoundFailed)
    assert (failed.round, failed.attempt, failed.reason) == (3, 0, "a unit of the round before was refused")
    assert [(e.round, e.attempt) for e in seen.world.happened(event.RoundClosed)] == [(0, 0), (1, 0), (2, 0), (3, 1)]
    seen.check_models()
    cy = key("cy").public
    assert {e.trainer for e in seen.world.happened(event.Expelled)} == {cy}
    earners = [{share.earner for share in each.shares} for each in seen.world.happened(event.Rewarded)]
    assert all({key("ann").public, key("ben").public} <= each for each in earners)
    assert not any(cy in each for each in earners[2:])
