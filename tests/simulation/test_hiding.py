"""A trainer dies between its reveal and the verdict, with real training: its stake waits, and comes back with it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from potminer.base.bounded import MILLION
from potminer.core.ledger import event
from potminer.core.rounds.events import DutyChanged, Remade
from potminer.train.bench import Bench
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.wire import record as records
from potminer.wire.held import HeldStake
from potminer.wire.record import Phase, Trainer
from potminer.wire.task import AuditSpec, Reward
from potminer.wire.tx import Bond, RegisterTrainer, Transfer
from tests.simulation.company import Company
from tests.unit.ledger_world import World, key, spec
from tests.unit.train_kit import digits_task

TRAINERS = ("ann", "ben", "cy")
PRICE = 1_000_003
BOND = 10 * 2 * PRICE
ANN = key("ann").public


class Course:
    """A task of three rounds. *ann* dies in the second, once its work is revealed, and its snapshots with it."""

    def __init__(self, folder: Path, *, false: bool = False) -> None:
        blobs = Folder(folder)
        digits = digits_task(blobs)
        self.spec = spec(
            name="digits", model=digits.model, data=digits.data, initial_model=digits.initial_model, rounds=4,
            segments=digits.segments, batches_per_segment=digits.batches_per_segment, micro_batch=digits.micro_batch,
            outer_rate_nano=digits.outer_rate_nano, min_trainers=2, reward=Reward(10**9, PRICE),
            audit=AuditSpec(MILLION, 1_000),
        )
        self.world = World()
        self.world.step(*[("rich", Transfer(key(name).public, BOND + 10_000)) for name in TRAINERS])
        self.world.step(*[(name, RegisterTrainer(key(name + "-wallet").public)) for name in TRAINERS])
        self.world.step(*[(name, Bond(BOND)) for name in TRAINERS])
        self.company = Company(self.world, blobs, random.Random(7), TRAINERS)
        self.world.submit(self.spec, trainers=TRAINERS)
        self.company.start()
        self.until(lambda: self.world.round.phase == Phase.AGGREGATE)
        if false:  # from the second round on: the first is its stake
            self.company.benches["ann"] = Bench(blobs, device="cpu", threads=1, max_bytes=2**32, cheat=cheat("garbage"))
        self.until(lambda: self.world.round.phase >= Phase.DRAW and self.world.round.number == 1)
        self._die()

    def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(60):
            if holds():
                return
            self.company.block()
        raise AssertionError("never came to it")

    def _die(self) -> None:
        mine = [slot for slot, owner in enumerate(self.world.round.slots) if owner == ANN]
        shots = {shot for slot in mine for shot in self.world.unit(slot).snapshots}
        assert shots
        self.company.lost = shots
        self.company.dead.add("ann")
        for name in self.company.machines:
            if name != "ann":
                self.company.restart(name)  # nobody remembers what it fetched
                if name in TRAINERS:
                    self.company.tell(name, DutyChanged(True))

    @property
    def held(self) -> HeldStake | None:
        return self.world.state.get(HeldStake, records.held_key(ANN))

    @property
    def bond(self) -> int:
        return self.world.state.need(Trainer, records.trainer_key(ANN)).bond


def test_who_dies_with_its_snapshots_finds_its_stake_held_and_gets_it_back_by_coming_back(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.until(lambda: course.held is not None)
    assert (course.bond, course.world.state.head.burnt) == (0, 0)
    course.until(lambda: course.world.record.round >= 2)
    held = course.held
    assert held is not None
    assert held.amount >= BOND
    course.company.lost = set()  # its disk is there again
    course.company.restart("ann")
    course.until(lambda: course.held is None)
    assert course.bond >= held.amount
    assert [e.amount for e in course.world.happened(event.StakeReturned)] == [held.amount]
    assert not course.world.happened(event.Expelled)


def test_a_cheat_that_hides_has_lost_its_stake_and_showing_it_does_not_help(tmp_path: Path) -> None:
    course = Course(tmp_path, false=True)
    course.until(lambda: course.held is not None)
    course.until(lambda: course.world.record.round >= 2)
    for _ in range(5):
        course.company.block()
    held = course.held
    assert held is not None, "time alone brings nothing back"
    course.company.lost = set()
    course.company.restart("ann")
    course.until(lambda: course.held is None)
    assert [e.trainer for e in course.world.happened(event.Expelled)] == [ANN]
    assert (course.bond, course.world.state.head.burnt) == (0, held.amount)


def lose_disk(course: Course) -> None:
    """What ann revealed is nowhere any more, and she comes back with an empty folder, allowed to train."""
    for shot in course.company.lost:
        course.company.folder.path(shot).unlink(missing_ok=True)
    course.company.lost = set()
    course.company.restart("ann")
    course.company.tell("ann", DutyChanged(True))


def test_who_has_lost_its_disk_makes_its_snapshots_again_and_shows_them(tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.until(lambda: course.held is not None)
    course.until(lambda: course.world.record.round >= 2)
    held = course.held
    assert held is not None
    lose_disk(course)
    course.until(lambda: course.held is None)
    assert course.bond >= held.amount
    assert not course.world.happened(event.Expelled)
    assert course.company.remade == [Remade(1, True)] * len(held.units)


def test_a_cheat_that_makes_its_work_again_honestly_has_made_something_else(tmp_path: Path) -> None:
    course = Course(tmp_path, false=True)
    course.until(lambda: course.held is not None)
    course.until(lambda: course.world.record.round >= 2)
    held = course.held
    assert held is not None
    course.company.benches["ann"] = course.company.benches["ben"]
    lose_disk(course)
    for _ in range(6):
        course.company.block()
    assert course.company.remade == [Remade(1, False)] * len(held.units), "and once is enough"
    after = course.held
    assert after is not None
    assert after.units == held.units
    assert not course.world.happened(event.StakeReturned)
