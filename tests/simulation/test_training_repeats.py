"""Same seed, same accepted units: the same model, bit for bit, whatever the order of arrival.

The real ledger, the real round machines and the real training code of every member, in one
process without sockets: blocks are proposed in turn, messages arrive in a drawn order.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from potminer.core.rounds.events import BlobFetched, DutyChanged, Fetch, Reported, StartJob, Submit, TaskSeen
from potminer.core.rounds.machine import Rounds
from potminer.train import bookwork
from potminer.train.bench import Bench
from potminer.train.cheat import cheat
from potminer.train.folder import Folder
from potminer.wire import record as records
from potminer.wire.record import RoundRecord, TaskRecord, Trainer, UnitRecord
from potminer.wire.task import AdamW, InnerSpec, TaskSpec
from potminer.wire.trainer import AggregateJob, AuditJob, Job, Report, TrainJob
from potminer.wire.tx import Body
from tests.unit.ledger_world import World, key, spec
from tests.unit.train_kit import digits_task, go_on

TRAINERS = ("ann", "ben", "cy")


class Company:
    """Validators and trainers of a World, each with its round machine, sharing one worker and one blob folder."""

    def __init__(self, world: World, folder: Folder, order: random.Random) -> None:
        self.world = world
        self.order = order
        self.bench = Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=cheat(None))
        self.folder = folder
        self.machines = {name: self._machine(name) for name in (*world.validators, *TRAINERS)}
        self.submitted: list[tuple[str, Body]] = []

    def _machine(self, name: str) -> Rounds:
        validator = name in self.world.validators
        payout = None if validator else key(f"{name}-wallet").public
        return Rounds(key=key(name).public, payout=payout, validator=validator, salt_secret=b"s" * 32, persisted={})

    def tell(self, name: str, event: object) -> None:
        """Hand *event* to a machine and do what it asks, until nothing is left to do."""
        events = [event]
        while events:
            for effect in self.machines[name].handle(events.pop(0), self.world.state.head.time_ms):  # type: ignore[arg-type]
                match effect:
                    case Submit(body):
                        self.submitted.append((name, body))
                    case Fetch(blob):
                        events.append(BlobFetched(blob, True))
                    case StartJob(job):
                        events.append(Reported(self._work(job)))

    def _work(self, job: Job) -> Report:
        match job:
            case TrainJob():
                return self.bench.train(job, go_on)
            case AuditJob():
                return self.bench.audit(job, go_on)
            case AggregateJob():
                return bookwork.aggregate_updates(self.folder, job, go_on)
        raise AssertionError(f"nobody asked for {job}")

    def block(self) -> None:
        """One block of what was submitted, in a drawn order of senders, and everybody looks at the result."""
        bodies, self.submitted = self.submitted, []
        self.order.shuffle(bodies)
        self.world.step(*bodies)
        state, task = self.world.state, self.world.task
        record = state.need(TaskRecord, records.task_key(task))
        current = state.get(RoundRecord, records.round_key(task))
        slots = range(0 if current is None else len(current.slots))
        units = tuple(state.need(UnitRecord, records.unit_key(task, slot)) for slot in slots)
        names = list(self.machines)
        self.order.shuffle(names)
        for name in names:
            registered = state.get(Trainer, records.trainer_key(key(name).public)) is not None
            self.tell(name, TaskSeen(task, record, current, units, registered, state.head.time_ms))


LOCAL = {
    "mode": "local",
    "inner": InnerSpec(AdamW(), rate_nano=2_000_000),
    "outer_momentum_nano": 900_000_000,
    "compression": "wan4",
}
"""What the mode gradient has none of: moments in the snapshots, a momentum beside the model, narrow payloads."""


def train(folder: Path, order: random.Random, **changes: object) -> bytes:
    """A task trained to its end; the id of its model."""
    blobs = Folder(folder)
    digits: TaskSpec = digits_task(blobs)
    ordered = spec(
        name="digits", model=digits.model, data=digits.data, initial_model=digits.initial_model, rounds=3,
        segments=digits.segments, batches_per_segment=digits.batches_per_segment, micro_batch=digits.micro_batch,
        outer_rate_nano=digits.outer_rate_nano, min_trainers=3, **changes,
    )
    world = World()
    company = Company(world, blobs, order)
    world.submit(ordered, trainers=TRAINERS)
    for name in TRAINERS:
        company.tell(name, DutyChanged(True))
    for _ in range(60):
        company.block()
        if not world.state.head.open_tasks:
            return world.record.model
    raise AssertionError("the task was not trained")


@pytest.mark.parametrize("changes", [{}, LOCAL], ids=["gradient", "local"])
@pytest.mark.parametrize("seed", [1, 2])
def test_another_order_of_arrival_gives_the_same_model(tmp_path: Path, seed: int, changes: dict[str, object]) -> None:
    first = train(tmp_path / "first", random.Random(seed), **changes)
    second = train(tmp_path / "second", random.Random(seed + 100), **changes)
    assert first == second
