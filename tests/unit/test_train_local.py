"""Mode local: inner steps against torch's own optimisers, and what an audit of a segment tells apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from potminer.train.audit import WORST_PPM, segment_error_ppm
from potminer.train.bookwork import read_model
from potminer.train.conduct import HONEST, Conduct
from potminer.train.data import training_split
from potminer.train.device import prepare
from potminer.train.folder import Folder
from potminer.train.half import Half
from potminer.train.inner import step as inner_step
from potminer.train.model import build
from potminer.train.refusal import Reason, Refused
from potminer.train.schedule import rate_at, step_of
from potminer.train.shapes import check_task, parameters
from potminer.train.snap import Snapshot, nothing_yet
from potminer.train.step import Engine, Work, run_segment, run_segment_twice, train_unit
from potminer.train.weights import Floats
from potminer.wire.model import Cnn, ModelSpec
from potminer.wire.task import AdamW, InnerSpec, Momentum, Sgd, TaskSpec
from tests.unit.train_kit import MODEL, digits_task, go_on, keep_in, local_task, unit

CNN = Cnn(channels=1, height=8, width=8, filters=(8, 16), kernel=3, hidden=32, classes=10)
SGD = InnerSpec(Sgd(), rate_nano=50_000_000)
MOMENTUM = InnerSpec(Momentum(900_000_000), rate_nano=20_000_000, clip_nano=2 * 10**9)
UNCLIPPED = InnerSpec(Momentum(900_000_000), rate_nano=20_000_000)
ADAMW = InnerSpec(AdamW(decay_nano=50_000_000), rate_nano=2_000_000)
INNERS = pytest.mark.parametrize("inner", [SGD, MOMENTUM, ADAMW], ids=["sgd", "momentum", "adamw"])


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    prepare(1)
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


def work(folder: Folder, spec: TaskSpec, conduct: Conduct = HONEST, *, round: int = 0) -> Work:
    engine = Engine(spec.model, "cpu")
    engine.load(read_model(folder, spec, spec.initial_model).weights)
    return Work(engine, training_split(folder, spec), spec, unit(round=round), conduct)


def torchs_steps(here: Work, optimiser: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]) -> Floats:
    """theta - w by torch's own optimiser over the whole unit."""
    spec, start = here.spec, here.engine.base.numpy().copy()
    module = build(spec.model, "cpu")
    named, places = dict(module.named_parameters()), parameters(spec.model)
    for p in places:
        named[p.name].data.copy_(torch.from_numpy(start[p.start : p.stop].reshape(p.shape)))
    torchs = optimiser([named[p.name] for p in places])
    for batch in range(spec.batches_per_unit):
        x, y = here.sampler.batch(batch)
        torchs.zero_grad()
        torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        if spec.inner.clip_nano:
            torch.nn.utils.clip_grad_norm_([named[p.name] for p in places], spec.inner.clip_nano / 1e9)
        torchs.step()
    return start - np.concatenate([named[p.name].detach().numpy().reshape(-1) for p in places])


def decayed(chosen: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in chosen if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in chosen if p.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.002, eps=1e-6)


@pytest.mark.parametrize(("inner", "optimiser"), [
    (SGD, lambda chosen: torch.optim.SGD(chosen, lr=0.05)),
    (MOMENTUM, lambda chosen: torch.optim.SGD(chosen, lr=0.02, momentum=0.9)),
    (ADAMW, decayed),
], ids=["sgd", "momentum", "adamw"])  # fmt: skip
def test_inner_steps_are_torchs(
    tmp_path: Path, inner: InnerSpec, optimiser: Callable[..., torch.optim.Optimizer]
) -> None:
    """One segment, so that nothing is snapped on the way."""
    folder = Folder(tmp_path)
    here = work(folder, local_task(folder, inner, segments=1, batches=20))
    (update, *_), _ = run_segment(here, 1, nothing_yet(here.spec), go_on)
    expected = torchs_steps(here, optimiser)
    assert np.linalg.norm(update - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("at_once", [0, 5], ids=["together", "cut"])
@pytest.mark.parametrize("model", [MODEL, CNN], ids=["mlp", "cnn"])
def test_a_gradient_in_parts_leads_to_the_bits_of_the_whole(tmp_path: Path, model: ModelSpec, at_once: int) -> None:
    """Torch hands over what it has written, or adds it to our zeros: nobody's snapshot may tell. So do units of mode
    gradient that the same engine works on in between."""
    folder = Folder(tmp_path)
    here = work(folder, local_task(folder, UNCLIPPED, model=model))
    engine, summed = here.engine, Work(here.engine, here.split, digits_task(folder, model=model), unit())
    engine.at_once = at_once
    first = run_segment(summed, 1, summed.opening(), go_on)[0][0]
    reached = [vector.copy() for vector in run_segment(here, 1, here.opening(), go_on)[0]]
    engine.weights.copy_(engine.base)
    assert np.array_equal(run_segment(summed, 1, summed.opening(), go_on)[0][0], first)
    momentum = torch.zeros_like(engine.weights)
    for batch in range(here.spec.batches_per_segment):
        engine.add_up()
        engine.gradient.zero_()
        here.learn(batch, scale=1.0)
        rate = rate_at(UNCLIPPED, batch)
        inner_step(UNCLIPPED, engine.weights, engine.gradient, [momentum], rate=rate, number=batch + 1, decaying=[])
    assert np.array_equal(reached[0], (engine.base - engine.weights).numpy())
    assert np.array_equal(reached[1], momentum.numpy())


@INNERS
def test_snapping_drifts_little_from_the_unsnapped_unit(tmp_path: Path, inner: InnerSpec) -> None:
    folder = Folder(tmp_path)
    made: list[Snapshot] = []
    train_unit(work(folder, local_task(folder, inner)), keep=keep_in(made), checkpoint=go_on)
    whole = work(folder, local_task(folder, inner, segments=1, batches=20))
    (update, *_), _ = run_segment(whole, 1, nothing_yet(whole.spec), go_on)
    drift = np.linalg.norm(made[-1].update.values() - update) / np.linalg.norm(update)
    assert drift < 0.1
    assert [len(snapshot.vectors) for snapshot in made] == [len(nothing_yet(whole.spec))] * 3 + [1]


@pytest.mark.parametrize("inner", [None, SGD, MOMENTUM, ADAMW], ids=["gradient", "sgd", "momentum", "adamw"])
def test_a_segment_and_its_smallest_cheat_are_to_the_bit_what_two_runs_reach(
    tmp_path: Path, inner: InnerSpec | None
) -> None:
    folder, seen = Folder(tmp_path), list[tuple[int, int]]()
    spec = digits_task(folder, batches=5) if inner is None else local_task(folder, inner)
    made: list[Snapshot] = []
    train_unit(work(folder, spec), keep=keep_in(made), checkpoint=go_on)
    before, cheat = made[0].values(), Conduct(drops=9)
    here, other = work(folder, spec), work(folder, spec, cheat)
    apart = [run_segment(each, 2, before, go_on)[0] for each in (here, other)]
    together = run_segment_twice(
        here, Work(here.engine, here.split, spec, here.unit, cheat), 2, before, lambda *done: seen.append(done)
    )
    for alone, beside in zip(apart, together, strict=True):
        assert len(alone) == len(beside)
        assert all(np.array_equal(a, b) for a, b in zip(alone, beside, strict=True))
    assert not np.array_equal(together[0][0], together[1][0])
    assert seen == [(done, 5) for done in range(1, 6)]


# ---- the table: what an audit of each segment measures -----------------------------------


def errors(
    folder: Folder, spec: TaskSpec, conduct: Conduct = HONEST, *, threads: int = 1, trained: TaskSpec | None = None
) -> list[int]:
    """Error of every segment of a unit of *trained* made under *conduct*, audited with *threads* as *spec*, in ppm."""
    made: list[Snapshot] = []
    train_unit(work(folder, trained or spec, conduct), keep=keep_in(made), checkpoint=go_on)
    torch.set_num_threads(threads)
    auditor, found = work(folder, spec), []
    for segment in range(1, spec.segments + 1):
        before = made[segment - 2].values() if segment > 1 else nothing_yet(spec)
        reached, _ = run_segment(auditor, segment, before, go_on)
        found.append(
            segment_error_ppm(
                claimed=made[segment - 1], recomputed=reached, before=before, unit=auditor.unit, segment=segment
            )
        )
    torch.set_num_threads(1)
    return found


def relabel(labels: np.ndarray) -> np.ndarray:
    """A tenth of the labels, at least one, is wrong."""
    wrong = labels.copy()
    wrong[: max(1, len(labels) // 10)] = (wrong[: max(1, len(labels) // 10)] + 1) % 10
    return wrong


def skip_one_of_five(batch: int) -> int:
    return 0 if batch % 5 == 2 else 1


@INNERS
@pytest.mark.parametrize("model", [MODEL, CNN], ids=["mlp", "cnn"])
def test_honest_work_passes_on_other_threads(tmp_path: Path, inner: InnerSpec, model: ModelSpec) -> None:
    folder = Folder(tmp_path)
    spec = local_task(folder, inner, model=model, micro_batch=64)
    assert errors(folder, spec, threads=1) == [0] * 4
    assert max(errors(folder, spec, threads=2)) <= 10


@INNERS
@pytest.mark.parametrize("compression", ["lan", "wan4", "wan2"])
def test_a_skipped_step_and_wrong_labels_are_far_out_in_every_segment(
    tmp_path: Path, inner: InnerSpec, compression: str
) -> None:
    folder = Folder(tmp_path)
    spec = local_task(folder, inner, micro_batch=64, compression=compression)
    assert max(errors(folder, spec)) == 0
    for conduct in (Conduct(weight=skip_one_of_five), Conduct(labels=relabel)):
        assert min(errors(folder, spec, conduct)) > 5_000


@INNERS
@pytest.mark.parametrize("compression", ["lan", "wan4", "wan2"])
def test_one_dropped_example_of_each_step_is_seen_in_every_segment(
    tmp_path: Path, inner: InnerSpec, compression: str
) -> None:
    """The smallest cheat of all: 63 of 64 examples. The wider intervals of a small payload hide most of it in the
    last segment; honest work still measures a hundred times less."""
    folder = Folder(tmp_path)
    spec = local_task(folder, inner, micro_batch=64, compression=compression)
    found = errors(folder, spec, trained=msgspec.structs.replace(spec, micro_batch=63))
    assert min(found[:-1]) > 10_000
    assert found[-1] > (5_000 if compression == "lan" else 200)


def test_moments_are_held_against_their_own_change(tmp_path: Path) -> None:
    """An update that is right beside a moment that is wrong: the next segment would begin with a lie."""
    folder = Folder(tmp_path)
    spec = local_task(folder, ADAMW)
    here, zeros = work(folder, spec), nothing_yet(spec)
    made: list[Snapshot] = []
    train_unit(here, keep=keep_in(made), checkpoint=go_on)
    reached, _ = run_segment(here, 1, zeros, go_on)
    for at, halved in ((1, 0.5), (2, 0.25)):
        moment = made[0].vectors[at]
        assert isinstance(moment, Half)
        scaled = (moment.values() * np.float32(halved)).view(np.uint32) >> 16
        vectors = list(made[0].vectors)
        vectors[at] = Half(scaled.astype(np.uint16))
        lie = Snapshot(tuple(vectors))
        error = segment_error_ppm(claimed=lie, recomputed=reached, before=zeros, unit=unit(), segment=1)
        assert error > 400_000
    broken = (reached[0], reached[1], np.full_like(reached[2], np.nan))
    assert segment_error_ppm(claimed=made[0], recomputed=broken, before=zeros, unit=unit(), segment=1) == WORST_PPM


# ---- rates -------------------------------------------------------------------------------


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine(tmp_path: Path) -> None:
    inner = InnerSpec(rate_nano=10**9, warmup_steps=4, decay_steps=104, least_rate_nano=10**8)
    assert [rate_at(inner, step) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rate_at(inner, 54) == pytest.approx(0.55)
    assert rate_at(inner, 104) == rate_at(inner, 2**40) == pytest.approx(0.1)
    assert rate_at(InnerSpec(rate_nano=10**9), 2**40) == pytest.approx(1.0)
    spec = local_task(Folder(tmp_path), inner)
    assert step_of(spec, unit(round=3), 7) == 67


def test_the_rate_follows_the_round(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = local_task(folder, InnerSpec(rate_nano=10**8, decay_steps=40), segments=1, batches=1)
    (first, *_), _ = run_segment(work(folder, spec), 1, nothing_yet(spec), go_on)
    (last, *_), _ = run_segment(work(folder, spec, round=40), 1, nothing_yet(spec), go_on)
    assert np.abs(first).max() > 0
    assert np.abs(last).max() == 0


@pytest.mark.parametrize("changes", [
    {"mode": "gradient"},
    {"inner": InnerSpec(rate_nano=1, least_rate_nano=2)},
    {"inner": InnerSpec(warmup_steps=9, decay_steps=9)},
])  # fmt: skip
def test_a_task_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    spec = msgspec.structs.replace(local_task(Folder(tmp_path), SGD), **changes)
    with pytest.raises(Refused) as refused:
        check_task(spec)
    assert refused.value.reason is Reason.BAD_TASK


def test_steps_that_explode_are_refused_as_diverged(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = local_task(folder, InnerSpec(rate_nano=10**12))
    with pytest.raises(Refused) as refused:
        train_unit(work(folder, spec), keep=keep_in([]), checkpoint=go_on)
    assert refused.value.reason is Reason.DIVERGED
