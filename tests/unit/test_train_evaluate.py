"""The trial of an evaluation: whoever runs the model on everything finds it, on any machine; nobody else does."""

from __future__ import annotations

from pathlib import Path

import torch

from potminer.core.ledger.evaluate import AGREEING_TRIAL, PROOF
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_updates
from potminer.train.cheat import Cheat
from potminer.train.conduct import HONEST
from potminer.train.evaluate import TrialSum
from potminer.train.folder import Folder
from potminer.wire.task import TaskSpec
from potminer.wire.trainer import AggregateJob, Evaluated, EvaluateJob, TrainJob
from tests.unit.train_kit import digits_task, go_on, unit


def score(
    folder: Folder, spec: TaskSpec, model: bytes, *, threads: int = 1, thrift: int = 0, seed: int = 1
) -> Evaluated:
    bench = Bench(folder, device="cpu", threads=threads, max_bytes=2**30, cheat=Cheat(HONEST), thrift=thrift)
    return bench.evaluate(EvaluateJob(1, spec, model, bytes([seed]) * 32), go_on)


def trained(folder: Folder, spec: TaskSpec, model: bytes, number: int) -> bytes:
    bench = Bench(folder, device="cpu", threads=1, max_bytes=2**30, cheat=Cheat(HONEST))
    made = bench.train(TrainJob(1, spec, unit(round=number), model), go_on)
    job = AggregateJob(2, spec, model, (unit(round=number),), made.snapshots[-1:])
    summed = aggregate_updates(folder, job, go_on).model
    assert summed is not None
    return summed


def test_other_threads_and_parts_find_the_same_and_every_seed_and_round_another(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    spec = digits_task(folder)
    one = trained(folder, spec, spec.initial_model, 0)
    two = trained(folder, spec, one, 1)
    true = score(folder, spec, one)
    for other in (score(folder, spec, one, threads=2), score(folder, spec, one, thrift=3)):
        assert abs(other.trial_micro - true.trial_micro) <= AGREEING_TRIAL // 10
        assert other.accuracy_ppm == true.accuracy_ppm
    far = PROOF * AGREEING_TRIAL
    assert abs(score(folder, spec, one, seed=2).trial_micro - true.trial_micro) > far
    assert abs(score(folder, spec, two).trial_micro - true.trial_micro) > far


def test_who_leaves_samples_out_is_found_out() -> None:
    torch.manual_seed(3)
    outputs = torch.randn(10_000, 10) * 5

    def trial(some: torch.Tensor) -> int:
        made = TrialSum(b"s" * 32)
        for part in torch.split(some, 256):
            made.add(part)
        return made.micro()

    true, half = trial(outputs), outputs.clone()
    half[5_000:] = 0
    tenth = outputs.clone()
    tenth[::10] = outputs.mean()
    for lazy in (half, tenth):
        assert abs(trial(lazy) - true) > PROOF * AGREEING_TRIAL
    one = outputs.clone()
    one[17] = 0
    assert trial(one) != true


def test_what_is_not_finite_counts_as_nothing() -> None:
    made = TrialSum(b"s" * 32)
    made.add(torch.tensor([[float("nan"), 1.0], [float("inf"), 0.0]]))
    assert made.micro() == 8_000_000
