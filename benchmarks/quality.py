"""How good the models are that the network trains, beside plain PyTorch at equal samples (docs/training-results.md).

Every row of a part is a run of its own with a seed; what is compared within a part has seen the same number of samples.
``fashion``: McMahan's CNN in both modes. ``gpt``: nanoGPT's CPU preset on Shakespeare's plays. ``skewed``: data that
cannot be shared out evenly. ``bytes``: what a sample costs on the wire. ``snapping``: what integers cost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from record import ROOT, Figures, finish, parser

sys.path.insert(0, str(ROOT))

from schooling import (
    CNN,
    GPT,
    MLP,
    Curve,
    TopK,
    adamw,
    fashion,
    momentum,
    network,
    plain,
    say,
    shakespeare,
    task,
    unsnapped,
)

from potminer.train.folder import Folder
from potminer.wire.model import ModelSpec, parameter_count
from potminer.wire.task import Skewed, TaskSpec, snapshot_size

TRAINERS = 4


@dataclass(frozen=True)
class Setting:
    """What a row needs beside its own numbers."""

    folder: Folder
    seed: int
    samples: int
    text: Path
    threads: int


Row = Callable[[Setting], Curve]


# ---- rows --------------------------------------------------------------------------------


def central(
    at: Setting, *, batch: int, rate: float, falls: bool, nesterov: bool = False, model: ModelSpec = CNN
) -> Curve:
    """torch.optim.SGD with momentum 0.9; where the rate *falls*, a cosine to a twentieth after warming up."""
    steps = at.samples // batch

    def optimiser(module: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(module.parameters(), rate, momentum=0.9, nesterov=nesterov)

    spec = task(at.folder, model, fashion(at.folder), seed=at.seed)
    cosine = (steps // 20, 0.05) if falls else None
    curve = plain(
        at.folder, spec, optimiser, seed=at.seed, batch=batch, steps=steps, cosine=cosine, threads=at.threads
    )
    for point in curve:  # an all-reduce in a ring: every one of four sends 2 * 3 / 4 of the gradient a step
        point["payload bytes a sample"] = 1.5 * 4 * parameter_count(model) / (batch / TRAINERS)
    return curve


def local(
    at: Setting, *, steps: int, batch: int, rate: float, compression: str = "wan4", outer: float = 1.0, mu: float = 0.0,
    exact: bool = False, trainers: int = TRAINERS, model: ModelSpec = CNN, sparse: float | None = None, **changes: Any,
) -> Curve:
    """Rounds of *steps* inner steps of *batch* samples for each trainer, five to a segment or all in one.

    *exact* snaps nothing; *sparse* neither, and sends the largest alone, its number being the residual's decay.
    """
    rounds = at.samples // (trainers * steps * batch)
    every, each = rounds * steps, max(each for each in (1, 5, 10) if steps % each == 0 and each <= max(1, steps // 4))
    spec = task(
        at.folder, model, fashion(at.folder), seed=at.seed, rounds=rounds, segments=steps // each,
        batches_per_segment=each, micro_batch=batch, compression=compression, outer_rate_nano=round(outer * 1e9),
        outer_momentum_nano=round(mu * 1e9), inner=momentum(rate, steps=every, least=rate / 20, warmup=every // 20),
        **changes,
    )  # fmt: skip
    if sparse is not None:
        curve = unsnapped(
            at.folder, spec, trainers=trainers, seed=at.seed, threads=at.threads, shrink=TopK(sparse)
        )
        return _priced(curve, spec, payload=TopK.BITS * parameter_count(model) / 8)
    train = unsnapped if exact else network
    return _priced(train(at.folder, spec, trainers=trainers, seed=at.seed, threads=at.threads), spec)


def gradient(at: Setting, *, rate: float, compression: str = "lan") -> Curve:
    """Mode gradient: four units of 64 samples, then Nesterov's step outside."""
    spec = task(
        at.folder, CNN, fashion(at.folder), seed=at.seed, rounds=at.samples // 256, mode="gradient", segments=2,
        batches_per_segment=1, micro_batch=32, outer_rate_nano=round(rate * 1e9), outer_momentum_nano=900_000_000,
        compression=compression,
    )  # fmt: skip
    return _priced(network(at.folder, spec, trainers=TRAINERS, seed=at.seed, threads=at.threads), spec)


def central_gpt(at: Setting, *, rate: float = 1e-3) -> Curve:
    """nanoGPT's recipe for its CPU preset: batch 12, AdamW from *rate* to a tenth of it, warming up for a twentieth."""
    steps = at.samples // 12

    def optimiser(module: torch.nn.Module) -> torch.optim.Optimizer:
        every = list(module.parameters())
        groups = [
            {"params": [p for p in every if p.dim() > 1], "weight_decay": 0.1},
            {"params": [p for p in every if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.99))

    spec = task(at.folder, GPT, shakespeare(at.folder, at.text), seed=at.seed)
    return plain(
        at.folder, spec, optimiser, seed=at.seed, batch=12, steps=steps, clip=1.0, cosine=(steps // 20, 0.1), looks=2,
        threads=at.threads,
    )  # fmt: skip


def local_gpt(
    at: Setting, *, steps: int, batch: int, rate: float, outer: float, mu: float, compression: str = "lan",
    exact: bool = False,
) -> Curve:
    rounds = at.samples // (TRAINERS * steps * batch)
    every = rounds * steps
    spec = task(
        at.folder, GPT, shakespeare(at.folder, at.text), seed=at.seed, rounds=rounds, segments=steps // 10,
        batches_per_segment=10, micro_batch=batch, compression=compression, outer_rate_nano=round(outer * 1e9),
        outer_momentum_nano=round(mu * 1e9), inner=adamw(rate, steps=every, warmup=every // 20),
    )  # fmt: skip
    train = unsnapped if exact else network
    return _priced(train(at.folder, spec, trainers=TRAINERS, seed=at.seed, looks=2, threads=at.threads), spec)


def _priced(curve: Curve, spec: TaskSpec, *, payload: float | None = None) -> Curve:
    """With what a sample costs on the wire: a payload up, and the next model down, over the samples of a unit."""
    up = snapshot_size(spec, spec.segments) if payload is None else payload
    down = 4 * parameter_count(spec.model)
    for point in curve:
        point["payload bytes a sample"] = up / spec.samples_per_unit
        point["with the model down"] = (up + down) / spec.samples_per_unit
    return curve


# ---- parts -------------------------------------------------------------------------------

MINI = partial(local, batch=16, rate=0.03)
"""Four trainers with a quarter of the central batch each: the same samples in as many steps."""
SMALL = partial(MINI, model=MLP, rate=0.05)
EVERY = (("even", None), ("Dirichlet 0.5", 500), ("Dirichlet 0.1", 100))


def _skew(milli: int | None) -> dict[str, Any]:
    return {} if milli is None else {"sampling": Skewed(milli)}


PARTS: dict[str, tuple[int, dict[str, Row]]] = {
    "fashion": (153_600, {
        "central, batch 64": partial(central, batch=64, rate=0.02, falls=True),
        "local, 4 x 16, 20 steps, wan4": partial(MINI, steps=20),
        "central, batch 256, Nesterov": partial(central, batch=256, rate=0.02, falls=False, nesterov=True),
        "gradient, 4 x 64, Nesterov, lan": partial(gradient, rate=0.02),
    }),
    "gpt": (24_000, {
        "central, batch 12": central_gpt,
        "central, batch 12, thrice the rate": partial(central_gpt, rate=0.003),
        "local, 4 x 3, 50 steps, lan": partial(local_gpt, steps=50, batch=3, rate=0.001, outer=0.7, mu=0.6),
        "local, 4 x 6, 50 steps, lan": partial(local_gpt, steps=50, batch=6, rate=0.003, outer=0.7, mu=0.6),
    }),
    "skewed": (480_000, {
        f"MLP, {name}": partial(
            local, model=MLP, steps=50, batch=32, rate=0.03, trainers=10, compression=width, **_skew(milli)
        )
        for name, milli in EVERY for width in ("wan4",)
    }),
    "skewed-cnn": (128_000, {
        f"CNN, {name}": partial(local, steps=20, batch=32, rate=0.03, trainers=10, **_skew(milli))
        for name, milli in EVERY[:2]
    }),
    "bytes": (153_600, {
        "DDP, batch 64": partial(central, batch=64, rate=0.05, falls=True, model=MLP),
        "local, 1 step, lan": partial(SMALL, steps=1, compression="lan"),
        "local, 10 steps, lan": partial(SMALL, steps=10, compression="lan"),
        "local, 50 steps, lan": partial(SMALL, steps=50, compression="lan"),
        "local, 10 steps, wan4": partial(SMALL, steps=10),
        "local, 50 steps, wan4": partial(SMALL, steps=50),
        "local, 10 steps, wan2": partial(SMALL, steps=10, compression="wan2"),
        "local, 50 steps, wan2": partial(SMALL, steps=50, compression="wan2"),
        "local, 200 steps, wan2": partial(SMALL, steps=200, compression="wan2"),
    }),
    "topk": (256_000, {
        **{f"top 64 of 4,096, {steps} steps": partial(SMALL, steps=steps, sparse=0.95) for steps in (10, 20, 50)},
        **{f"wan2, {steps} steps": partial(SMALL, steps=steps, compression="wan2") for steps in (100, 200, 500)},
        **{f"float32, {steps} steps": partial(SMALL, steps=steps, exact=True) for steps in (10, 100)},
    }),
    "snapping": (153_600, {
        "float32 throughout": partial(SMALL, steps=20, exact=True),
        **{width: partial(SMALL, steps=20, compression=width) for width in ("lan", "wan4", "wan2")},
    }),
    "snapping-cnn": (76_800, {
        "float32 throughout": partial(MINI, steps=20, exact=True),
        **{width: partial(MINI, steps=20, compression=width) for width in ("lan", "wan4", "wan2")},
    }),
}  # fmt: skip


def run(cell: tuple[str, str, int, argparse.Namespace]) -> tuple[str, Curve]:
    part, name, seed, options = cell
    say(f"{name}, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="potminer-quality-", dir=_memory()) as place:
        samples, rows = PARTS[part]
        at = Setting(Folder(Path(place)), seed, options.samples or samples, options.text, options.threads)
        return name, rows[name](at)


def _memory() -> str | None:
    """Blobs come and go by the gigabyte: a disk made of memory serves them better."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("part", choices=tuple(PARTS))
    made.add_argument("--only", help="rows with this in their name")
    made.add_argument("--seeds", type=int, default=1)
    made.add_argument("--samples", type=int, help="that every row sees, instead of the part's own number")
    made.add_argument("--jobs", type=int, default=2, help="rows at a time")
    made.add_argument("--threads", type=int, default=1, help="of each row")
    made.add_argument("--text", type=Path, default=ROOT / "assets" / "shakespeare")
    options: argparse.Namespace = made.parse_args()
    names = [name for name in PARTS[options.part][1] if options.only is None or options.only in name]
    cells = [(options.part, name, seed, options) for name in names for seed in range(1, options.seeds + 1)]
    found: dict[str, list[Curve]] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, curve in pool.map(run, cells):
            found.setdefault(name, []).append(curve)
    figures: Figures = {name: _summary(curves) for name, curves in found.items()}
    finish(f"quality {options.part}", figures, options, note=f"{TRAINERS} trainers, {options.seeds} seeds")


def _summary(curves: list[Curve]) -> Figures:
    """The last point: the mean of the seeds, and least and most where there are several."""
    last = [curve[-1] for curve in curves]
    found: Figures = {}
    for measure in last[0]:
        values = [point[measure] for point in last]
        found[measure] = sum(values) / len(values)
        if min(values) < max(values):
            found[f"{measure}, least and most"] = [min(values), max(values)]
    return found


if __name__ == "__main__":
    main()
