"""Same seed, same accepted units: the same model, bit for bit, whatever the order of arrival.

The real ledger, the real round machines and the real training code of every member, in one
process without sockets: blocks are proposed in turn, messages arrive in a drawn order.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from potminer.train.folder import Folder
from potminer.wire.task import AdamW, InnerSpec, Momentum, TaskSpec
from tests.simulation.company import Company
from tests.unit.ledger_world import World, spec
from tests.unit.train_kit import digits_task

TRAINERS = ("ann", "ben", "cy")
LOCAL = {
    "mode": "local",
    "inner": InnerSpec(AdamW(carry=True), rate_nano=2_000_000),
    "outer_momentum_nano": 900_000_000,
    "compression": "wan4",
}
"""What the mode gradient has none of: moments in the snapshots and one of them in the payload, a momentum and a moment
beside the model, narrow payloads."""


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
    company = Company(world, blobs, order, TRAINERS)
    world.submit(ordered, trainers=TRAINERS)
    company.start()
    for _ in range(60):
        company.block()
        if not world.state.head.open_tasks:
            return world.record.model
    raise AssertionError("the task was not trained")


GOING = {"mode": "local", "inner": InnerSpec(Momentum(carry=True), rate_nano=20_000_000), "compression": "wan4"}
"""Units that begin with what the last round's mean shows."""


@pytest.mark.parametrize(("changes", "seed"), [({}, 1), ({}, 2), (LOCAL, 1), (LOCAL, 2), (GOING, 1)])
def test_another_order_of_arrival_gives_the_same_model(tmp_path: Path, changes: dict[str, object], seed: int) -> None:
    first = train(tmp_path / "first", random.Random(seed), **changes)
    second = train(tmp_path / "second", random.Random(seed + 100), **changes)
    assert first == second
