from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from potminer.train.aggregate import aggregate
from potminer.train.bookwork import read_model
from potminer.train.data import training_split, validation_split
from potminer.train.device import choose, prepare
from potminer.train.evaluate import evaluate
from potminer.train.folder import Folder
from potminer.train.model import build, halve_by_comparing
from potminer.train.refusal import Reason, Refused
from potminer.train.samples import Sampler
from potminer.train.shapes import parameters
from potminer.train.snap import Snapshot
from potminer.train.step import Engine, Work, run_segment, train_unit
from potminer.train.weights import Model, initial_weights
from potminer.wire.model import Cnn, Mlp, parameter_count
from tests.unit.train_kit import MODEL, digits_task, go_on, keep_in, unit

CNN = Cnn(channels=1, height=8, width=8, filters=(4, 6), kernel=3, hidden=12, classes=10)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    prepare(1)
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


@pytest.mark.parametrize("model", [MODEL, CNN])
def test_a_segment_is_the_mean_gradient_of_its_samples(tmp_path: Path, model: Mlp | Cnn) -> None:
    """Against plain autograd over all samples at once."""
    folder = Folder(tmp_path)
    spec = digits_task(folder, model=model, segments=1)
    split = training_split(folder, spec)
    flat = read_model(folder, spec, spec.initial_model).weights
    engine = Engine(model, "cpu")
    engine.load(flat)
    zeros = np.zeros(len(flat), np.float32)
    (found,), loss = run_segment(Work(engine, split, spec, unit()), 1, (zeros,), go_on)

    module = build(model, "cpu")
    tensors = {p.name: torch.from_numpy(flat[p.start : p.stop].reshape(p.shape)) for p in parameters(model)}
    module.load_state_dict(tensors)
    x, y = split.batch(np.concatenate([Sampler(spec, unit(), split).indices(b) for b in range(spec.batches_per_unit)]))
    plain = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y))
    plain.backward()
    named = dict(module.named_parameters())
    expected = np.concatenate([named[p.name].grad.numpy().reshape(-1) for p in parameters(model)])
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)
    assert loss / spec.batches_per_unit == pytest.approx(plain.item(), rel=1e-5)


def test_both_ways_of_pooling_agree_on_ties() -> None:
    """Flat regions of an image tie everywhere; a rule of its own per device would look like cheating."""
    x = torch.randint(0, 3, (2, 3, 9, 7), dtype=torch.float32, requires_grad=True)
    ways = [torch.nn.functional.max_pool2d(x, 2), halve_by_comparing(x)]
    weights = torch.rand(ways[0].shape)
    gradients = [torch.autograd.grad((way * weights).sum(), x)[0] for way in ways]
    assert torch.equal(ways[0], ways[1])
    assert torch.equal(gradients[0], gradients[1])


def test_the_state_before_is_continued(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    split, engine = training_split(folder, spec), Engine(MODEL, "cpu")
    engine.load(read_model(folder, spec, spec.initial_model).weights)
    zeros = np.zeros(parameter_count(MODEL), np.float32)
    start = np.ones(parameter_count(MODEL), np.float32)
    work = Work(engine, split, spec, unit())
    (alone,), _ = run_segment(work, 2, (zeros,), go_on)
    (after,), _ = run_segment(work, 2, (start,), go_on)
    assert np.abs(after - start - alone).max() < 1e-6


def test_samples_are_drawn_by_the_unit_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder, micro_batch=4_096)
    split = training_split(folder, spec)
    drawn = Sampler(spec, unit(), split).indices(0)
    assert drawn.min() == 0
    assert drawn.max() == 1_436
    counts = np.bincount(drawn, minlength=1_437)
    assert counts.max() < 16  # 2.85 expected
    assert np.array_equal(drawn, Sampler(spec, unit(), split).indices(0))
    others = [Sampler(spec, of, split).indices(b) for of, b in ((unit(1), 0), (unit(0, 1), 0), (unit(), 1))]
    assert not any(np.array_equal(drawn, other) for other in others)
    small = msgspec.structs.replace(spec, micro_batch=6)
    assert Sampler(small, unit(), split).indices(0).tolist() == drawn[:6].tolist()


def test_a_unit_stops_between_micro_batches(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    seen: list[tuple[int, int]] = []

    def checkpoint(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            raise Refused(Reason.CANCELLED, "enough")

    engine, made = Engine(MODEL, "cpu"), list[Snapshot]()
    with pytest.raises(Refused):
        train_unit(Work(engine, training_split(folder, spec), spec, unit()), keep=keep_in(made), checkpoint=checkpoint)
    assert seen == [(1, 8), (2, 8), (3, 8)]
    assert len(made) == 1


def test_weights_that_explode_are_refused_as_diverged(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    engine = Engine(MODEL, "cpu")
    engine.load(np.full(parameter_count(MODEL), 3e38, np.float32))
    with pytest.raises(Refused) as refused:
        train_unit(Work(engine, training_split(folder, spec), spec, unit()), keep=keep_in([]), checkpoint=go_on)
    assert refused.value.reason is Reason.DIVERGED


def test_the_loop_learns_digits(tmp_path: Path) -> None:
    """Three trainers with two units a round, snapped and summed as in a round: the recommended demo task."""
    folder = Folder(tmp_path)
    spec = digits_task(folder, model=Mlp(64, (128,), 10), segments=4, batches=2, micro_batch=32)
    train, validation = training_split(folder, spec), validation_split(folder, spec)
    engine = Engine(spec.model, "cpu")
    weights = initial_weights(spec.model, seed=1)
    losses = []
    for round in range(12):
        engine.load(weights)
        updates = []
        for slot in range(6):
            made: list[Snapshot] = []
            loss = train_unit(Work(engine, train, spec, unit(slot, round)), keep=keep_in(made), checkpoint=go_on)
            updates.append(made[-1].update)
            losses.append(loss)
        weights = aggregate(Model(weights), lambda updates=updates: updates, rate_nano=spec.outer_rate_nano).weights
    engine.load(weights)
    accuracy, loss, _ = evaluate(engine, validation, go_on, bytes(32))
    assert accuracy >= 960_000
    assert loss < losses[0] / 4


def test_a_device_that_is_not_there_is_refused() -> None:
    assert choose("cpu").device == "cpu"
    assert choose("auto").reason
    with pytest.raises(Refused) as refused:
        choose("cuda:63")
    assert refused.value.reason is Reason.NO_DEVICE
