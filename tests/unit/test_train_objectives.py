"""Language and regression from file to score, every architecture through training and audit, and data that lie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from potminer.train import tensors
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_updates
from potminer.train.cheat import cheat
from potminer.train.data import training_split
from potminer.train.device import prepare
from potminer.train.folder import Folder
from potminer.train.objective import Score, mean_loss
from potminer.train.refusal import Reason, Refused
from potminer.train.shapes import check_task
from potminer.wire.model import (
    Convolution,
    Dense,
    Flatten,
    Gpt,
    Halve,
    Layers,
    Logistic,
    Mlp,
    ModelSpec,
    Norm,
    Relu,
    ResNet,
)
from potminer.wire.task import AdamW, DataSpec, InnerSpec, TaskSpec
from potminer.wire.trainer import AggregateJob, AuditJob, EvaluateJob, TrainJob
from potminer.wire.tx import Finding
from tests.unit.train_kit import digits_task, go_on, local_task, unit

CONTEXT = 16
GPT = Gpt(vocabulary=12, context=CONTEXT, layers=2, heads=2, width=16)
ADAMW = InnerSpec(AdamW(beta2_nano=990_000_000), rate_nano=5_000_000, clip_nano=10**9)


@pytest.fixture(autouse=True)
def quiet_torch() -> Iterator[None]:
    prepare(1)
    yield
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)


def language_task(folder: Folder, inner: InnerSpec = ADAMW, *, dtype: type = np.uint8) -> TaskSpec:
    """A language in which every token is known from the one before it, but for one in eight."""
    rng, tokens = np.random.default_rng(5), [0]
    for _ in range(2_999):
        tokens.append(int(rng.integers(12)) if rng.integers(8) == 0 else (tokens[-1] * 5 + 1) % 12)
    blob = folder.write(tensors.encode({"tokens": np.array(tokens, dtype)}))
    samples = len(tokens) - CONTEXT
    return local_task(
        folder, inner, micro_batch=8, objective="language", model=GPT,
        data=DataSpec(blob, blob, samples, samples, (CONTEXT,)),
    )  # fmt: skip


def regression_task(folder: Folder) -> TaskSpec:
    rng = np.random.default_rng(6)
    x = rng.normal(0, 1, (500, 6)).astype(np.float32)
    y = (x @ rng.normal(0, 1, (6, 2)) + 3).astype(np.float32)
    blob = folder.write(tensors.encode({"x": x, "y": y}))
    inner = InnerSpec(rate_nano=100_000_000)
    data = DataSpec(blob, blob, 500, 500, (6,))
    return local_task(folder, inner, micro_batch=32, objective="regression", model=Mlp(6, (), 2), data=data)


def bench(folder: Folder, *, threads: int = 1, kind: str | None = None) -> Bench:
    return Bench(folder, device="cpu", threads=threads, max_bytes=2 * 1024**3, cheat=cheat(kind))


def audited(folder: Folder, spec: TaskSpec, kind: str | None = None) -> list[int]:
    """Error of every segment of a unit, audited with two threads."""
    base = spec.initial_model
    made = bench(folder, kind=kind).train(TrainJob(1, spec, unit(), base), go_on)
    chain, auditor, found = (None, *made.snapshots), bench(folder, threads=2), []
    for segment in range(1, spec.segments + 1):
        report = auditor.audit(AuditJob(2, spec, unit(), base, segment, chain[segment - 1], chain[segment], 0), go_on)
        assert report.finding is Finding.MEASURED
        found.append(report.error_ppm)
    return found


def trained(folder: Folder, spec: TaskSpec, rounds: int) -> tuple[list[int], list[int]]:
    """Accuracy (ppm) and loss (millionths) before the first of *rounds* of one unit each, and after every one."""
    worker, model = bench(folder), spec.initial_model
    reports = [worker.evaluate(EvaluateJob(1, spec, model), go_on)]
    for round in range(rounds):
        made = worker.train(TrainJob(2, spec, unit(round=round), model), go_on)
        summed = aggregate_updates(
            folder, AggregateJob(3, spec, model, (unit(round=round),), made.snapshots[-1:]), go_on
        )
        assert summed.model is not None
        model = summed.model
        reports.append(worker.evaluate(EvaluateJob(4, spec, model), go_on))
    return [r.accuracy_ppm for r in reports], [r.loss_micro for r in reports]


def test_a_language_is_learnt(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = msgspec.structs.replace(language_task(folder), outer_momentum_nano=300_000_000)
    accuracy, loss = trained(folder, spec, 8)
    assert loss[0] == pytest.approx(np.log(12) * 1e6, rel=0.02)
    assert accuracy[-1] > 800_000  # 0.885 is what can be known


def test_numbers_are_learnt(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    accuracy, loss = trained(folder, regression_task(folder), 3)
    assert accuracy[0] < 500_000
    assert accuracy[-1] > 990_000
    assert loss[-1] < loss[0] / 100


def test_text_of_both_types_is_the_same_text(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    batches = []
    for dtype in (np.uint8, np.int64):
        split = training_split(folder, language_task(folder, dtype=dtype))
        x, y = split.batch(np.array([0, 7, len(split) - 1]))
        assert x.shape == y.shape == (3, CONTEXT)
        assert np.array_equal(x[:, 1:], y[:, :-1])
        batches.append((x, y))
    assert all(np.array_equal(a, b) for a, b in zip(*batches, strict=True))
    assert split.every().tolist() == list(range(0, 3_000 - CONTEXT, CONTEXT))


ARCHITECTURES: list[ModelSpec] = [
    Logistic(64, 10),
    ResNet(channels=1, height=8, width=8, filters=8, groups=4, blocks=1, classes=10),
    Layers((1, 8, 8), (Convolution(8, 3), Norm(4), Relu(), Halve(), Flatten(), Dense(10))),
]


@pytest.mark.parametrize("model", ARCHITECTURES, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("mode", ["gradient", "local"])
def test_every_architecture_is_trained_and_audited(tmp_path: Path, model: ModelSpec, mode: str) -> None:
    folder = Folder(tmp_path)
    make = digits_task(folder, model=model) if mode == "gradient" else local_task(folder, ADAMW, model=model)
    assert max(audited(folder, make)) <= 10
    assert min(audited(folder, make, "labelflip")) > 20_000


def test_language_and_numbers_are_audited(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for spec in (language_task(folder), regression_task(folder)):
        assert max(audited(folder, spec)) <= 10
        for kind in ("labelflip", "lazy-2", "signflip", "garbage"):
            assert min(audited(folder, spec, kind)) > 20_000


def test_scores_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    outputs = torch.from_numpy(rng.normal(0, 1, (60, 2)).astype(np.float32))
    wanted = outputs + torch.from_numpy(rng.normal(0, 0.3, (60, 2)).astype(np.float32))
    score = Score("regression")
    for part in (slice(0, 45), slice(45, 60)):
        score.add(outputs[part], wanted[part])
    explained = 1 - float(((outputs - wanted) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())
    assert score.accuracy_ppm() == pytest.approx(explained * 1e6, abs=2)
    assert score.mean_loss() == pytest.approx(float(mean_loss("regression", outputs, wanted)), rel=1e-5)
    constant = Score("regression")
    constant.add(torch.full((3, 1), torch.nan), torch.ones(3, 1))
    assert constant.accuracy_ppm() == 0
    tokens = Score("language")
    tokens.add(torch.eye(4).repeat(2, 1, 1), torch.tensor([[0, 1, 2, 3], [0, 1, 0, 0]]))
    assert tokens.accuracy_ppm() == 750_000


# ---- what is refused ---------------------------------------------------------------------


@pytest.mark.parametrize("arrays", [
    {"x": np.zeros(3_000, np.int64)},
    {"tokens": np.zeros(2_999, np.uint8)},
    {"tokens": np.zeros(3_000, np.float32)},
    {"tokens": np.full(3_000, 12, np.uint8)},
    {"tokens": np.full(3_000, -1, np.int64)},
])  # fmt: skip
def test_text_other_than_the_task_says_is_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    folder = Folder(tmp_path)
    spec = language_task(folder)
    data = msgspec.structs.replace(spec.data, train=folder.write(tensors.encode(arrays)))
    with pytest.raises(Refused) as refused:
        training_split(folder, msgspec.structs.replace(spec, data=data))
    assert refused.value.reason is Reason.BAD_DATA


@pytest.mark.parametrize(("name", "bad"), [("x", np.nan), ("x", -np.inf), ("y", np.inf), ("y", np.nan)])
def test_data_that_are_no_numbers_are_refused(tmp_path: Path, name: str, bad: float) -> None:
    folder = Folder(tmp_path)
    spec = regression_task(folder)
    arrays = {"x": np.zeros((500, 6), np.float32), "y": np.zeros((500, 2), np.float32)}
    arrays[name][499, 1] = bad
    data = msgspec.structs.replace(spec.data, train=folder.write(tensors.encode(arrays)))
    with pytest.raises(Refused) as refused:
        training_split(folder, msgspec.structs.replace(spec, data=data))
    assert refused.value.reason is Reason.BAD_DATA


def test_an_objective_has_its_models(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    language, numbers = language_task(folder), regression_task(folder)
    for spec in (
        msgspec.structs.replace(language, objective="classification"),
        msgspec.structs.replace(numbers, objective="language"),
        msgspec.structs.replace(numbers, model=Logistic(6, 2)),
    ):
        with pytest.raises(Refused) as refused:
            check_task(spec)
        assert refused.value.reason is Reason.BAD_TASK


