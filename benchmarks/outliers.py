"""How much longer than usual are honest updates: what "outliers are audited whole" costs those who are honest.

A network of honest trainers, as ``schooling`` has it, for some rounds of several tasks: even data and classes shared
out by Dirichlet mixtures, one unit a trainer. Per task the largest length over the round's median of trainers' medians,
and the share of units above 3: each of them is audited in all its segments, and loses nothing else.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from record import Figures, finish, parser
from schooling import CNN, GPT, MLP, adamw, cheat, fashion, go_on, momentum, shakespeare, task, units_of

from potminer.core.ledger.outliers import outliers
from potminer.train.bench import Bench
from potminer.train.bookwork import aggregate_updates
from potminer.train.folder import Folder
from potminer.wire.length import square_of
from potminer.wire.record import UnitRecord
from potminer.wire.task import AdamW, Skewed, TaskSpec
from potminer.wire.trainer import AggregateJob, TrainJob

ROUNDS, TRAINERS = 8, 10


def lengths_of(folder: Folder, spec: TaskSpec, seed: int) -> Figures:
    bench = Bench(folder, device="cpu", threads=1, max_bytes=2**33, cheat=cheat(None))
    model, worst, first, found, units_seen = spec.initial_model, 0.0, 0.0, 0, 0
    for number in range(ROUNDS):
        units = units_of(spec, number, TRAINERS, seed)
        made = [bench.train(TrainJob(1, spec, unit, model), go_on) for unit in units]
        said = {at: UnitRecord(u.trainer, lengths=m.lengths) for at, (u, m) in enumerate(zip(units, made, strict=True))}
        squares = sorted(square_of(each.lengths) for each in said.values())
        times = (squares[-1] / squares[(len(squares) - 1) // 2]) ** 0.5
        worst, first = max(worst, times), first or times
        found, units_seen = found + len(outliers(said)), units_seen + len(units)
        payloads = tuple(each.snapshots[-1] for each in made)
        lengths = tuple(each.lengths[0] for each in made)
        summed = aggregate_updates(folder, AggregateJob(1, spec, model, tuple(units), payloads, lengths), go_on)
        if summed.malformed or summed.model is None:
            raise SystemExit(f"honest updates are not as long as their trainers said: {summed.malformed}")
        model = summed.model
    return {"longest": round(worst, 2), "longest_in_round_1": round(first, 2), "outliers": found / units_seen}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--only", nargs="*", help="these tasks only")
    made.add_argument("--shakespeare", type=Path, help="where assets/make_shakespeare.py has put the plays")
    made.add_argument("--seed", type=int, default=1)
    options = made.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="potminer-outliers-") as home:
        folder = Folder(Path(home))
        data = fashion(folder)
        steps: dict[str, Any] = {"segments": 4, "batches_per_segment": 5, "rounds": ROUNDS}
        mlp = task(folder, MLP, data, seed=1, inner=momentum(0.03), **steps)
        every: dict[str, TaskSpec] = {
            "mlp": mlp,
            **{f"mlp-dirichlet-{milli / 1000}": _skewed(mlp, milli) for milli in (500, 100)},
            "mlp-adamw-wan4": replace(mlp, inner=replace(mlp.inner, optimiser=AdamW()), compression="wan4"),
            "mlp-gradient": task(folder, MLP, data, seed=1, mode="gradient", rounds=ROUNDS),
            "cnn-dirichlet-0.5": _skewed(task(folder, CNN, data, seed=1, inner=momentum(0.02), rounds=ROUNDS), 500),
        }
        if options.shakespeare is not None:
            plays = shakespeare(folder, options.shakespeare)
            every["gpt"] = task(folder, GPT, plays, seed=1, inner=adamw(1e-3, steps=40, warmup=5), rounds=ROUNDS)
        for name in options.only or every:
            figures[name] = lengths_of(folder, every[name], options.seed)
    finish("outliers", figures, options, note=f"{TRAINERS} honest trainers, {ROUNDS} rounds")


def _skewed(spec: TaskSpec, milli: int) -> TaskSpec:
    return replace(spec, sampling=Skewed(milli))


if __name__ == "__main__":
    main()
