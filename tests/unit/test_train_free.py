"""Why a unit counts as false from its first false segment on (rounds.md, 10): a trainer chooses the state that it goes
on from, and there are states from which nothing is left to learn. Audits of what follows find nothing, rightly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from potminer.train.folder import Folder
from potminer.train.shapes import parameters
from potminer.train.snap import State, encode_snapshot, nothing_yet, snap
from potminer.wire.task import InnerSpec, TaskSpec
from tests.unit.test_train_audit import audit
from tests.unit.train_kit import MODEL, digits_task, local_task, unit

SEGMENTS = 8


@pytest.fixture(autouse=True)
def quiet_torch() -> None:
    torch.set_num_threads(1)


def errors(folder: Folder, spec: TaskSpec, states: list[State]) -> list[int]:
    made = []
    for segment, state in enumerate(states, 1):
        snapshot = snap(state, spec=spec, unit=unit(), segment=segment)
        made.append(folder.write(encode_snapshot(snapshot, unit=unit(), segment=segment)))
    return [audit(folder, spec, made, segment).error_ppm for segment in range(1, SEGMENTS + 1)]


def a_usual_update(spec: TaskSpec) -> State:
    noise = np.random.default_rng(0).normal(0, 1e-3, len(nothing_yet(spec)[0]))
    return (noise.astype(np.float32),)


def test_a_sum_so_large_that_no_gradient_moves_it_passes_six_of_eight_audits_untrained(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder, segments=SEGMENTS)
    huge = (np.full(len(nothing_yet(spec)[0]), 2.0**40, np.float32),)
    found = errors(folder, spec, [huge] * (SEGMENTS - 1) + [a_usual_update(spec)])
    assert found[1:-1] == [0] * (SEGMENTS - 2)
    assert min(found[0], found[-1]) > 10**6


def test_weights_that_are_dead_pass_six_of_eight_audits_untrained(tmp_path: Path) -> None:
    """No unit of the hidden layer fires, and the last bias is where no step moves it: the rate is too small for it."""
    folder = Folder(tmp_path)
    spec = local_task(folder, InnerSpec(rate_nano=50_000_000), segments=SEGMENTS)
    dead = nothing_yet(spec)[0]
    for place in parameters(MODEL):
        if place.name in ("layers.0.bias", "layers.1.bias"):
            dead[place.start : place.stop] = 20 if place.name == "layers.0.bias" else 2.0**30
    found = errors(folder, spec, [(dead,)] * (SEGMENTS - 1) + [a_usual_update(spec)])
    assert found[1:-1] == [0] * (SEGMENTS - 2)
    assert min(found[0], found[-1]) > 10**6
