"""Dropout: a function of the unit, so that auditors repeat it, whatever their device has room for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from potminer.train.bench import Bench
from potminer.train.cheat import cheat
from potminer.train.data import training_split
from potminer.train.device import prepare
from potminer.train.dropout import Chance, Dropout, places
from potminer.train.folder import Folder
from potminer.train.model import build
from potminer.train.step import Engine
from potminer.train.weights import encode_weights, initial_weights
from potminer.wire.model import Dense, Drop, Flatten, Gpt, Layers, Relu, activations
from potminer.wire.task import InnerSpec, Sgd, TaskSpec
from potminer.wire.trainer import AuditJob, EvaluateJob, TrainJob
from tests.unit.test_train_objectives import language_task
from tests.unit.train_kit import go_on, local_task, unit

GPT = Gpt(vocabulary=12, context=16, layers=2, heads=2, width=16, dropout_percent=20)
LIST = Layers((1, 8, 8), (Flatten(), Dense(32), Relu(), Drop(50), Dense(10)))


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    prepare(1)
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


def tasks(folder: Folder) -> list[TaskSpec]:
    """A GPT with AdamW and a list of layers with SGD, two segments of five steps."""
    return [
        msgspec.structs.replace(made, segments=2)
        for made in (
            _with(folder, language_task(folder), GPT),
            _with(folder, local_task(folder, InnerSpec(Sgd(), rate_nano=100_000_000)), LIST),
        )
    ]


def _with(folder: Folder, spec: TaskSpec, model: Gpt | Layers) -> TaskSpec:
    weights = encode_weights(model, initial_weights(model, seed=1))
    return msgspec.structs.replace(spec, model=model, initial_model=folder.write(weights))


def bench(folder: Folder, *, threads: int = 1, thrift: int = 0) -> Bench:
    return Bench(folder, device="cpu", threads=threads, max_bytes=2**31, cheat=cheat(None), thrift=thrift)


def test_what_falls_out_is_known_for_ever() -> None:
    kept = Chance(unit(), 3).kept(2, (2, 5, 4), 65_536 * 30 // 100)
    seen = ["".join(str(int(each)) for each in sample.flatten()) for sample in kept]
    assert seen == GOLDEN


GOLDEN = ["11111111110011101101", "01011111111011101011"]


def test_as_many_fall_out_as_asked_and_the_expectation_stays() -> None:
    drop = Dropout(20)
    drop.chance = Chance(unit(), 0)
    out = drop(torch.ones(64, 1_000))
    values, counts = torch.unique(out, return_counts=True)
    assert len(values) == 2
    assert values[0] == 0
    assert float(values[1]) == np.float32(65_536 / (65_536 - 65_536 * 20 // 100))
    assert abs(int(counts[0]) / out.numel() - 0.2) < 0.006  # four standard deviations
    assert abs(float(out.mean()) - 1) < 0.008


def test_places_batches_and_units_differ_and_parts_agree() -> None:
    def kept(chance: Chance, place: int, samples: int = 8) -> bytes:
        return chance.kept(place, (samples, 33), 20_000).numpy().tobytes()

    whole = kept(Chance(unit(), 0), 0)
    others = [kept(Chance(unit(), 0), 1), kept(Chance(unit(), 1), 0), kept(Chance(unit(slot=1), 0), 0)]
    assert len({whole, *others}) == 4
    first = Chance(unit(), 0)
    assert kept(first, 0, 3) + kept(first.later(3), 0, 5) == whole


def test_every_place_of_a_gpt_has_a_number_of_its_own() -> None:
    assert [each.place for each in places(build(GPT, "cpu"))] == list(range(1 + 3 * GPT.layers))


def test_an_auditor_repeats_it_with_other_threads_and_in_parts(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for spec in tasks(folder):
        made = bench(folder).train(TrainJob(1, spec, unit(), spec.initial_model), go_on)
        chain = (None, *made.snapshots)
        for auditor in (bench(folder, threads=2), bench(folder, thrift=62)):
            for segment in (1, 2):
                job = AuditJob(2, spec, unit(), spec.initial_model, segment, chain[segment - 1], chain[segment], 0)
                assert auditor.audit(job, go_on).error_ppm <= 10


def test_who_trains_without_it_is_caught(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for spec in tasks(folder):
        model = GPT if spec.model == GPT else LIST
        lazy = Gpt(12, 16, 2, 2, 16) if model == GPT else Layers(LIST.inputs, (*LIST.layers[:3], Drop(0), Dense(10)))
        made = bench(folder).train(
            TrainJob(1, msgspec.structs.replace(spec, model=lazy), unit(), spec.initial_model), go_on
        )
        job = AuditJob(2, spec, unit(), spec.initial_model, 1, None, made.snapshots[0], 0)
        assert bench(folder).audit(job, go_on).error_ppm > 100_000


def test_nothing_falls_out_where_a_model_is_scored(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with_it, _ = tasks(folder)
    without = msgspec.structs.replace(with_it, model=Gpt(12, 16, 2, 2, 16))
    worker = bench(folder)
    worker.train(TrainJob(1, with_it, unit(), with_it.initial_model), go_on)
    scored = [worker.evaluate(EvaluateJob(2, spec, spec.initial_model), go_on) for spec in (with_it, without)]
    assert (scored[0].accuracy_ppm, scored[0].loss_micro) == (scored[1].accuracy_ppm, scored[1].loss_micro)


def test_a_unit_learns_less_of_what_falls_out(tmp_path: Path) -> None:
    """The gradient of a micro-batch differs from the one without dropout, and is the same twice."""
    folder = Folder(tmp_path)
    spec = tasks(folder)[1]
    split, found = training_split(folder, spec), []
    for chance in (Chance(unit(), 0), Chance(unit(), 0), None):
        engine = Engine(spec.model, "cpu")
        engine.load(initial_weights(LIST, seed=1))
        engine.accumulate(*split.batch(np.arange(16)), scale=1.0, chance=chance)
        found.append(engine.gradient.numpy().copy())
    assert np.array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_what_is_kept_back_needs_room() -> None:
    assert activations(GPT) > activations(Gpt(12, 16, 2, 2, 16))
