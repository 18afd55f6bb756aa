"""How good the models are that the network trains, beside plain PyTorch at equal samples (docs/training-results.md).

Every row of a part is a run of its own with a seed; what is compared within a part has seen the same number of samples.
``fashion`` and ``fashion-gradient``: McMahan's CNN in both modes. ``gpt``: nanoGPT's CPU preset on Shakespeare's plays.
``skewed``: data that cannot be shared out evenly. ``bytes``: what a sample, and what a loss, costs on the wire.
``snapping``: what integers cost. ``tune``, ``tune-small``, ``tune-mlp``: where rates come from, without the test split.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
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
from potminer.train.weights import model_size
from potminer.wire.model import Convolution, Dense, Flatten, Halve, Layers, ModelSpec, Relu, parameter_count
from potminer.wire.task import Skewed, TaskSpec, kept_beside, snapshot_size

TRAINERS = 4
UP_AND_DOWN = ("payload bytes a sample", "with the model down")


@dataclass(frozen=True)
class Setting:
    """What a row needs beside its own numbers."""

    folder: Folder
    seed: int
    samples: int
    text: Path
    threads: int
    looks: int = 4
    held: bool = False
    """Judged by training pictures that are held back, not by the test split."""


Row = Callable[[Setting], Curve]


# ---- rows --------------------------------------------------------------------------------


def central(
    at: Setting, *, batch: int, rate: float, falls: bool, nesterov: bool = False, model: ModelSpec = CNN
) -> Curve:
    """torch.optim.SGD with momentum 0.9; where the rate *falls*, a cosine to a twentieth after warming up."""
    steps = at.samples // batch

    def optimiser(module: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(module.parameters(), rate, momentum=0.9, nesterov=nesterov)

    spec = task(at.folder, model, fashion(at.folder, held=at.held), seed=at.seed)
    cosine = (steps // 20, 0.05) if falls else None
    curve = plain(
        at.folder, spec, optimiser, seed=at.seed, batch=batch, steps=steps, cosine=cosine, threads=at.threads,
        looks=at.looks,
    )  # fmt: skip
    for point in curve:  # an all-reduce in a ring: every one of four sends 2 * 3 / 4 of the gradient a step
        point["payload bytes a sample"] = 1.5 * 4 * parameter_count(model) / (batch / TRAINERS)
    return curve


def local(
    at: Setting, *, steps: int, batch: int, rate: float, compression: str = "wan4", outer: float = 1.0, mu: float = 0.0,
    exact: bool = False, trainers: int = TRAINERS, model: ModelSpec = CNN, sparse: float | None = None,
    carry: bool = False, ends: bool = False, **changes: Any,
) -> Curve:
    """Rounds of *steps* inner steps of *batch* samples for each trainer, in segments of one to ten steps, two at least
    where there are ten steps or more.

    *exact* snaps nothing; *sparse* neither, and sends the largest alone, its number being the residual's decay.
    *carry*: units begin with the last round's momentum, which its mean update shows; *ends*: with the mean of what it
    really was in the end, which only the exact way can have.
    """
    rounds = at.samples // (trainers * steps * batch)
    every, each = rounds * steps, max(each for each in (1, 5, 10) if steps % each == 0 and each <= max(5, steps // 2))
    spec = task(
        at.folder, model, fashion(at.folder, held=at.held), seed=at.seed, rounds=rounds, segments=steps // each,
        batches_per_segment=each, micro_batch=batch, compression=compression, outer_rate_nano=round(outer * 1e9),
        outer_momentum_nano=round(mu * 1e9), **changes,
        inner=momentum(rate, steps=every, least=rate / 20, warmup=every // 20, carry=carry),
    )  # fmt: skip
    if sparse is not None:
        curve = unsnapped(
            at.folder, spec, trainers=trainers, seed=at.seed, threads=at.threads, shrink=TopK(sparse), looks=at.looks
        )
        return _priced(curve, spec, payload=TopK.BITS * parameter_count(model) / 8)
    train = partial(unsnapped, ends=ends) if exact else network
    found = train(at.folder, spec, trainers=trainers, seed=at.seed, threads=at.threads, looks=at.looks)
    return _priced(found, spec)


def gradient(at: Setting, *, rate: float, compression: str = "lan", model: ModelSpec = CNN) -> Curve:
    """Mode gradient: four units of 64 samples, one segment each, then Nesterov's step outside."""
    spec = task(
        at.folder, model, fashion(at.folder, held=at.held), seed=at.seed, rounds=at.samples // 256, mode="gradient",
        segments=1, batches_per_segment=1, micro_batch=64, outer_rate_nano=round(rate * 1e9),
        outer_momentum_nano=900_000_000, compression=compression,
    )  # fmt: skip
    found = network(at.folder, spec, trainers=TRAINERS, seed=at.seed, threads=at.threads, looks=at.looks)
    return _priced(found, spec)


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
    exact: bool = False, carry: bool = False, beta1: float = 0.9,
) -> Curve:
    """Rounds of *steps* inner steps of *batch* sequences for each trainer, in segments of five or ten."""
    rounds, each = at.samples // (TRAINERS * steps * batch), 10 if steps >= 50 else 5
    every = rounds * steps
    spec = task(
        at.folder, GPT, shakespeare(at.folder, at.text), seed=at.seed, rounds=rounds, segments=steps // each,
        batches_per_segment=each, micro_batch=batch, compression=compression, outer_rate_nano=round(outer * 1e9),
        outer_momentum_nano=round(mu * 1e9),
        inner=adamw(rate, steps=every, warmup=every // 20, carry=carry, beta1=beta1),
    )  # fmt: skip
    train = unsnapped if exact else network
    return _priced(train(at.folder, spec, trainers=TRAINERS, seed=at.seed, looks=2, threads=at.threads), spec)


def _priced(curve: Curve, spec: TaskSpec, *, payload: float | None = None) -> Curve:
    """With what a sample costs on the wire: a payload up, and the next model down, with what momentum lies beside it,
    over the samples of a unit."""
    up = snapshot_size(spec, spec.segments) if payload is None else payload
    down = model_size(spec.model, beside=kept_beside(spec))
    for point in curve:
        point["payload bytes a sample"] = up / spec.samples_per_unit
        point["with the model down"] = (up + down) / spec.samples_per_unit
    return curve


# ---- parts -------------------------------------------------------------------------------

def restarted(rate: float, steps: int) -> float:
    """The rate at which *steps* whose momentum begins at zero lead as far as at *rate* with momentum at rest."""
    return rate / (1 - 0.9 * (1 - 0.9**steps) / (steps * (1 - 0.9)))


def _even(*, steps: int, rate: float = 0.02, mu: float = 0.8, **changes: Any) -> Row:
    """Four trainers with a quarter of the central batch each, the same samples in as many steps, each going as far: a
    part of the way inside the units, the rest by Nesterov's momentum *mu* between them. One step at a time all of the
    momentum is outside, as in mode gradient."""
    if steps == 1:
        return partial(local, steps=1, batch=16, rate=rate, mu=0.9, **changes)
    return partial(local, steps=steps, batch=16, rate=(1 - mu) * restarted(rate, steps), mu=mu, **changes)


MINI = partial(_even, model=CNN)
SMALL = partial(_even, model=MLP)
GOING = partial(local, batch=16, carry=True)
"""Each unit goes on with the momentum of all: the same samples in as many steps, at the rate of the centralised run."""
LARGEST = partial(local, model=MLP, batch=16, rate=0.05)
"""As ADR 23 was measured."""
SILO = Layers(
    (1, 28, 28),
    (
        Convolution(6, 5), Relu(), Halve(), Convolution(16, 5), Relu(), Halve(), Flatten(),
        Dense(120), Relu(), Dense(84), Relu(), Dense(10),
    ),
)  # fmt: skip
"""The layers of the published skews, their convolutions padded here."""
CARRIED = partial(local_gpt, batch=3, rate=0.001, outer=0.5, mu=0.9, beta1=0.0, carry=True)
"""All of the first moment is outside, where it lasts from round to round; the second is carried."""
RATES = (0.01, 0.02, 0.035, 0.05)
EVERY = (("even", None), ("Dirichlet 0.5", 500), ("Dirichlet 0.1", 100))


def _skew(milli: int | None) -> dict[str, Any]:
    return {} if milli is None else {"sampling": Skewed(milli)}


PARTS: dict[str, tuple[int, dict[str, Row]]] = {
    "fashion": (76_800, {
        **{
            f"central, batch 64, {rate}": partial(central, batch=64, rate=rate, falls=True) for rate in (0.02, 0.035)
        },
        "local, 4 x 16, 5 steps, wan4, carried": partial(GOING, steps=5, rate=0.02),
    }),
    "fashion-gradient": (76_800, {
        "central, batch 256, Nesterov": partial(central, batch=256, rate=0.02, falls=False, nesterov=True),
        "gradient, 4 x 64, Nesterov, lan": partial(gradient, rate=0.02),
    }),
    "gpt": (24_000, {
        "central, batch 12": central_gpt,
        "central, batch 12, thrice the rate": partial(central_gpt, rate=0.003),
        "local, 4 x 3, 50 steps, lan": partial(local_gpt, steps=50, batch=3, rate=0.001, outer=0.7, mu=0.6),
        "carried, 4 x 3, 5 steps, lan": partial(CARRIED, steps=5),
        "carried, 4 x 3, 10 steps, lan": partial(CARRIED, steps=10),
        "from nothing, 4 x 3, 5 steps, lan": partial(CARRIED, steps=5, carry=False),
    }),
    "skewed": (800_000, {
        f"MLP, {name}": partial(local, model=MLP, steps=50, batch=32, rate=0.03, trainers=10, **_skew(milli))
        for name, milli in EVERY
    }),
    "skewed-cnn": (640_000, {
        f"CNN, {name}": partial(local, model=SILO, steps=20, batch=64, rate=0.03, trainers=10, **_skew(milli))
        for name, milli in EVERY
    }),
    "bytes": (102_400, {
        "DDP, batch 64": partial(central, batch=64, rate=0.02, falls=True, model=MLP),
        **{
            f"local, {steps} {'step' if steps == 1 else 'steps'}, {width}": SMALL(steps=steps, compression=width)
            for width, many in (("lan", (1, 10, 50)), ("wan4", (10, 50)), ("wan2", (10, 50, 200)))
            for steps in many
        },
    }),
    "topk": (256_000, {
        **{f"top 64 of 4,096, {steps} steps": partial(LARGEST, steps=steps, sparse=0.95) for steps in (10, 20, 50)},
        **{f"wan2, {steps} steps": partial(LARGEST, steps=steps, compression="wan2") for steps in (100, 200, 500)},
        **{f"float32, {steps} steps": partial(LARGEST, steps=steps, exact=True) for steps in (10, 100)},
    }),
    "snapping": (102_400, {
        "float32 throughout": SMALL(steps=20, exact=True),
        **{width: SMALL(steps=20, compression=width) for width in ("lan", "wan4", "wan2")},
    }),
    "snapping-cnn": (40_960, {
        "float32 throughout": MINI(steps=20, exact=True),
        **{width: MINI(steps=20, compression=width) for width in ("lan", "wan4", "wan2")},
    }),
    "fashion-outside": (76_800, {
        "local, 4 x 16, 10 steps, wan4, carried": partial(GOING, steps=10, rate=0.02),
        "local, 4 x 16, 10 steps, wan4, 0.8 outside": MINI(steps=10),
    }),
    "tune": (51_200, {
        **{f"CNN, central, {rate}": partial(central, batch=64, rate=rate, falls=True) for rate in RATES},
        **{
            f"CNN, carried, {steps} steps, {rate}": partial(GOING, steps=steps, rate=rate, exact=True)
            for steps in (5, 10) for rate in RATES
        },
        **{f"CNN, local, 10 steps, outside {mu}": MINI(steps=10, mu=mu, exact=True) for mu in (0.0, 0.5, 0.8, 0.9)},
    }),
    "tune-small": (51_200, {
        **{f"central, {rate}": partial(central, batch=64, rate=rate, falls=True, model=SILO) for rate in RATES},
        **{
            f"{what}, {steps} steps, {rate}": partial(
                local, batch=16, steps=steps, rate=rate, exact=True, model=SILO, **{how: True}
            )
            for what, how in (("carried", "carry"), ("ends", "ends")) for steps in (5, 10) for rate in RATES
        },
        **{
            f"carried, wan4, {steps} steps, {rate}": partial(GOING, steps=steps, rate=rate, model=SILO)
            for steps in (5, 10) for rate in RATES
        },
        **{
            f"outside 0.8, {steps} steps, {rate}": _even(steps=steps, rate=rate, exact=True, model=SILO)
            for steps in (5, 10) for rate in RATES
        },
    }),
    "tune-mlp": (102_400, {
        **{
            f"MLP, central, {rate}": partial(central, batch=64, rate=rate, falls=True, model=MLP)
            for rate in (*RATES, 0.1)
        },
        **{
            f"MLP, carried, {steps} steps, {rate}, outside {mu}": partial(
                GOING, steps=steps, rate=(1 - mu) * rate, mu=mu, exact=True, model=MLP
            )
            for steps in (5, 10, 20, 50) for mu in (0.0, 0.5, 0.8) for rate in RATES
        },
        **{  # with --samples 307200
            f"MLP, fashion.toml, carried, {rate}": partial(
                GOING, steps=40, batch=64, rate=rate, exact=True, model=MLP
            )
            for rate in RATES
        },
        "MLP, fashion.toml, outside": partial(
            local, steps=40, batch=64, rate=0.013, mu=0.7, exact=True, model=MLP
        ),
        **{
            f"MLP, ends, {steps} steps, {rate}": partial(
                local, batch=16, steps=steps, rate=rate, exact=True, model=MLP, ends=True
            )
            for steps in (10, 50) for rate in RATES
        },
        **{
            f"MLP, local, {steps} steps, {rate}, outside {mu}": SMALL(steps=steps, rate=rate, mu=mu, exact=True)
            for steps in (10, 50) for mu in (0.0, 0.5, 0.8, 0.9) for rate in (0.02, 0.03)
        },
    }),
}  # fmt: skip
SEEDS = {
    "fashion": 3, "fashion-outside": 3, "fashion-gradient": 3, "skewed": 3, "skewed-cnn": 3, "snapping": 5,
    "snapping-cnn": 3,
}  # fmt: skip
"""Of the parts that are decided by less than what seeds differ by; else one."""
LOOKS = {
    "bytes": 24, "skewed": 10, "skewed-cnn": 10, "fashion": 2, "fashion-gradient": 2, "snapping-cnn": 1,
    "fashion-outside": 2, "tune": 1, "tune-small": 1,
}  # fmt: skip
LOSSES = {"bytes": (0.45, 0.40)}
"""Whose price is asked for."""
HELD = frozenset({"tune", "tune-mlp", "tune-small"})


def run(cell: tuple[str, str, int, argparse.Namespace]) -> tuple[str, Curve]:
    part, name, seed, options = cell
    say(f"{name}, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="potminer-quality-", dir=_memory()) as place:
        samples, rows = PARTS[part]
        at = Setting(
            Folder(Path(place)), seed, options.samples or samples, options.text, options.threads, LOOKS.get(part, 4),
            part in HELD,
        )  # fmt: skip
        return name, rows[name](at)


def _memory() -> str | None:
    """Blobs come and go by the gigabyte: a disk made of memory serves them better."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("part", choices=tuple(PARTS))
    made.add_argument("--only", help="rows with this in their name")
    made.add_argument("--seeds", type=int, help="instead of the part's own number")
    made.add_argument("--samples", type=int, help="that every row sees, instead of the part's own number")
    made.add_argument("--jobs", type=int, default=2, help="rows at a time")
    made.add_argument("--threads", type=int, default=1, help="of each row")
    made.add_argument("--text", type=Path, default=ROOT / "assets" / "shakespeare")
    options: argparse.Namespace = made.parse_args()
    options.seeds = options.seeds or SEEDS.get(options.part, 1)
    names = [name for name in PARTS[options.part][1] if options.only is None or options.only in name]
    cells = [(options.part, name, seed, options) for name in names for seed in range(1, options.seeds + 1)]
    found: dict[str, list[Curve]] = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for name, curve in pool.map(run, cells):
            found.setdefault(name, []).append(curve)
    figures: Figures = {name: _summary(curves, LOSSES.get(options.part, ())) for name, curves in found.items()}
    finish(f"quality {options.part}", figures, options, note=f"{options.seeds} seeds")


def _summary(curves: list[Curve], losses: tuple[float, ...]) -> Figures:
    """The last points: their mean, and every seed's own with their deviation where they differ; then what each of
    *losses* cost."""
    last = [curve[-1] for curve in curves]
    found: Figures = {}
    for measure in last[0]:
        values = [point[measure] for point in last]
        found[measure] = statistics.fmean(values)
        if min(values) < max(values):
            found[f"{measure}, by seed"] = values
            found[f"{measure}, deviation"] = statistics.stdev(values)
    for loss in losses:
        found[f"to a loss of {loss}"] = _price(curves, loss)
    return found


def _price(curves: list[Curve], loss: float) -> Figures | str:
    """Samples until the loss was first reached, and what a trainer of four had sent and received by then."""
    reached = [_until(curve, loss) for curve in curves]
    known = [samples for samples in reached if samples is not None]
    if len(known) < len(reached):
        return f"not reached by {len(reached) - len(known)} of {len(reached)} seeds"
    samples, last = statistics.fmean(known), curves[0][-1]
    price = {name: last[name] * samples / TRAINERS / 1e6 for name in UP_AND_DOWN if name in last}
    return {"samples": samples, **{f"MB a trainer, {name.partition(' a')[0]}": cost for name, cost in price.items()}}


def _until(curve: Curve, loss: float) -> float | None:
    """Samples at which *curve* first was at *loss* or below, in a line between two looks; None where it never was."""
    for before, point in pairwise([None, *curve]):
        if point is not None and point["loss"] <= loss:
            if before is None:
                return point["samples"]
            share = (before["loss"] - loss) / (before["loss"] - point["loss"])
            return before["samples"] + share * (point["samples"] - before["samples"])
    return None


if __name__ == "__main__":
    main()
