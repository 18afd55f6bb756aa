"""Residues: how far honest machines and guesses are from what a trainer was bound to (docs/spec/training.md).

A unit is computed with 2 threads. Then every segment is recomputed with 1 thread, and by a process of its own without
AVX-512, and guessed from all that is public: the middle of each interval, and the likeliest residue under a Laplace
density around the value before the segment and around a repetition of the last segment's change.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from efficiency import FASHION
from msgspec.structs import replace
from record import ROOT, Figures, finish, parser

from potminer.train.bookwork import read_model
from potminer.train.cheat import guess
from potminer.train.data import training_split
from potminer.train.device import prepare
from potminer.train.dither import dithers
from potminer.train.folder import Folder
from potminer.train.grid import blocks, part_of, powers
from potminer.train.residue import FINER, probes, residues
from potminer.train.snap import Snapshot, decode_snapshot, encode_snapshot, nothing_yet, snap
from potminer.train.step import Engine, Work, run_segment
from potminer.train.weights import Floats, encode_weights, initial_weights
from potminer.wire.codec import decode, encode
from potminer.wire.model import Cnn, Logistic, Mlp
from potminer.wire.residue import LEAVES, LEVELS, VOID
from potminer.wire.task import (
    BLOCK,
    AdamW,
    AuditSpec,
    DataSpec,
    Deadlines,
    InnerSpec,
    Momentum,
    Reward,
    TaskSpec,
    Unit,
    bits_of,
    snapshot_codings,
)

MLP = Mlp(64, (128,), 10)
CNN = Cnn(channels=1, height=28, width=28, filters=(32, 64), kernel=5, hidden=512, classes=10)
MOMENTUM = InnerSpec(Momentum(900_000_000), rate_nano=20_000_000)
ADAMW = InnerSpec(AdamW(), rate_nano=1_000_000)
UNIT = Unit(task=bytes(32), round=0, attempt=0, slot=0, trainer=bytes(32), seed=b"s" * 32)
NARROW = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
Levels = np.ndarray[Any, Any]


def go_on(done: int, total: int) -> None:
    """A checkpoint that lets everything pass."""


def tasks(folder: Folder) -> dict[str, TaskSpec]:
    def task(data: DataSpec, model: Any, batches: int, micro_batch: int, **changes: Any) -> TaskSpec:
        made = TaskSpec(
            name="residues", model=model, data=data, objective="classification", mode="gradient",
            initial_model=folder.write(encode_weights(model, initial_weights(model, seed=1))), rounds=1,
            units_per_trainer=1, segments=4, batches_per_segment=batches, micro_batch=micro_batch,
            outer_rate_nano=10**9, audit=AuditSpec(1_000_000, 1_000), deadlines=Deadlines(100, 100, 100, 100, 100),
            reward=Reward(1, 1), min_trainers=1, max_trainers=1,
        )  # fmt: skip
        return replace(made, **changes)

    def local(inner: InnerSpec, compression: str) -> dict[str, Any]:
        return {"mode": "local", "inner": inner, "compression": compression}

    small = digits(folder)
    made = {
        "mlp, gradient": task(small, MLP, 4, 32, segments=8),
        "mlp, large batches": task(small, MLP, 1, 4_096),
        "logistic": task(small, Logistic(64, 10), 4, 32),
        "mlp, momentum, wan2": task(small, MLP, 5, 64, **local(MOMENTUM, "wan2")),
        "mlp, adamw, wan4": task(small, MLP, 5, 64, **local(ADAMW, "wan4")),
    }
    if FASHION.exists():
        pictures = fashion(folder)
        made["cnn, momentum, wan4"] = task(pictures, CNN, 5, 64, **local(MOMENTUM, "wan4"))
        made["cnn, adamw, wan2"] = task(pictures, CNN, 5, 64, **local(ADAMW, "wan2"))
    return made


def digits(folder: Folder) -> DataSpec:
    files = [(ROOT / "assets" / "digits" / f"{name}.safetensors").read_bytes() for name in ("train", "validation")]
    return DataSpec(folder.write(files[0]), folder.write(files[1]), 1_437, 360, (1, 8, 8))


def fashion(folder: Folder) -> DataSpec:
    with tempfile.TemporaryDirectory() as place:
        make = ROOT / "assets" / "make_fashion.py"
        subprocess.run([sys.executable, make, FASHION, place], check=True, stdout=subprocess.DEVNULL)
        files = [(Path(place) / f"{name}.safetensors").read_bytes() for name in ("train", "validation")]
        return DataSpec(folder.write(files[0]), folder.write(files[1]), 60_000, 10_000, (1, 28, 28))


def worker(folder: Folder, spec: TaskSpec) -> Work:
    engine = Engine(spec.model, "cpu", spec.objective)
    engine.load(read_model(folder, spec, spec.initial_model).weights)
    return Work(engine, training_split(folder, spec), spec, UNIT)


def chain(work: Work) -> Iterator[tuple[Snapshot, tuple[Any, ...], Levels]]:
    """Snapshot, state before and update reached of every segment."""
    state = nothing_yet(work.spec)
    for segment in range(1, work.spec.segments + 1):
        reached, _ = run_segment(work, segment, state, go_on)
        made = snap(reached, spec=work.spec, unit=UNIT, segment=segment)
        yield made, state, reached[0]
        state = made.values()


def again(root: str, name: str) -> None:
    """Recompute what lies in *root*, on the kernels that the environment allows."""
    prepare(1)
    place = Path(root)
    spec = decode(TaskSpec, (place / "spec").read_bytes(), max_bytes=1 << 20)
    work, state, found = worker(Folder(place / "blobs"), spec), nothing_yet(spec), []
    for segment in range(1, spec.segments + 1):
        found.append(run_segment(work, segment, state, go_on)[0][0])
        data = (place / f"snapshot-{segment}").read_bytes()
        state = decode_snapshot(data, spec=spec, unit=UNIT, segment=segment).values()
    np.save(place / f"{name}.npy", np.stack(found))


# ---- distances ---------------------------------------------------------------------------


def levels(packed: bytes) -> Levels:
    halves = np.frombuffer(packed, np.uint8)
    return np.stack([halves & 15, halves >> 4], axis=1).reshape(-1).astype(np.int64)


def per_leaf(ours: Levels, theirs: Levels) -> list[float]:
    """Mean distance of every leaf with anything that counts."""
    apart = np.abs(ours - theirs)
    apart = np.minimum(apart, LEVELS - apart)
    apart[(ours == VOID) ^ (theirs == VOID)] = LEVELS // 2
    counts = ~((ours == VOID) & (theirs == VOID))
    pairs = zip(apart.reshape(LEAVES, -1), counts.reshape(LEAVES, -1), strict=True)
    return [float(leaf[counted].mean()) for leaf, counted in pairs if counted.any()]


CIRCLE = np.array([[min(abs(a - b), LEVELS - abs(a - b)) for b in range(LEVELS)] for a in range(LEVELS)])


def likeliest(made: Snapshot, segment: int, at: Levels, before: Levels, centre: Levels, spread: Levels) -> Levels:
    """The residues of least expected distance where values lie around *centre*, *spread* wide, in their intervals."""
    grid = made.update
    scale = powers(part_of(grid.exponents, slice(0, len(before))))
    low = np.concatenate([grid.levels[part] - dither for part, dither in dithers(UNIT, segment, len(before))]) * scale
    points = low[at, None] + (np.arange(64) + 0.5) / 64 * scale[at, None]
    away = np.abs(points - centre[at, None]) / spread[at, None]
    weight = np.exp(away.min(1, keepdims=True) - away)
    weight /= weight.sum(1, keepdims=True)
    circle = powers(grid.exponents[at // BLOCK] - np.int16(FINER[grid.bits]))[:, None]
    moved = np.abs(points - before[at, None]) >= circle
    turns = points / circle
    level = np.minimum(np.floor((turns - np.floor(turns)) * LEVELS), LEVELS - 1)
    chance = np.stack([(weight * moved * (level == each)).sum(1) for each in range(LEVELS)], axis=1)
    void = (weight * ~moved).sum(1)
    expected = chance @ CIRCLE + LEVELS // 2 * void[:, None]
    return np.where(LEVELS // 2 * (1 - void) < expected.min(1), VOID, expected.argmin(1))


def spread_of(change: Levels) -> Levels:
    padded = np.zeros(blocks(len(change)) * BLOCK)
    padded[: len(change)] = np.abs(change)
    return np.repeat(np.maximum(padded.reshape(-1, BLOCK).mean(1), 1e-30), BLOCK)[: len(change)]


def guesses(
    made: Snapshot, state: tuple[Any, ...], segment: int, at: Levels, last: Levels | None, spec: TaskSpec
) -> dict[str, Levels]:
    before = state[0]
    middle = guess(made, unit=UNIT, segment=segment)[0]
    coarse = bits_of(snapshot_codings(spec, segment)[0]) != 8
    spread = spread_of(last if coarse and last is not None else middle - before)
    found = {
        "middle": levels(residues(made.update, middle, before, at)),
        "around before": likeliest(made, segment, at, before, before.astype(np.float64), spread),
    }
    if last is not None:
        repeated = before + last.astype(np.float64)
        found["around a repetition"] = likeliest(made, segment, at, before, repeated, spread / 2)
    return found


# ---- one task ----------------------------------------------------------------------------


def measure(root: Path, folder: Folder, spec: TaskSpec) -> Figures:
    prepare(2)
    work = worker(folder, spec)
    made = list(chain(work))
    (root / "spec").write_bytes(encode(spec))
    for segment, (snapshot, _, _) in enumerate(made, 1):
        (root / f"snapshot-{segment}").write_bytes(encode_snapshot(snapshot, unit=UNIT, segment=segment))
    others: dict[str, Floats] = {}
    for name, environment in (("1 thread", {}), ("avx2", NARROW)):
        command = [sys.executable, __file__, "--again", str(root), name]
        subprocess.run(command, check=True, env={**os.environ, **environment})
        others[name] = np.load(root / f"{name}.npy")
    honest: dict[str, list[list[float]]] = {name: [] for name in others}
    guessed: dict[str, list[list[float]]] = {}
    void, last = [], None
    for segment, (snapshot, state, reached) in enumerate(made, 1):
        at = probes(spec.model, UNIT, segment)
        bound = levels(residues(snapshot.update, reached, state[0], at))
        void.append(float((bound == VOID).mean()))
        for name, states in others.items():
            theirs = levels(residues(snapshot.update, states[segment - 1], state[0], at))
            honest[name].append(per_leaf(bound, theirs))
        for name, theirs in guesses(snapshot, state, segment, at, last, spec).items():
            guessed.setdefault(name, []).append(per_leaf(bound, theirs))
        last = snapshot.update.values() - state[0]
    return {
        "void": [min(void), max(void)],
        "honest, most of a segment and a leaf": {name: _ends(found, max) for name, found in honest.items()},
        "guess, least of a segment and a leaf": {name: _ends(found, min) for name, found in guessed.items()},
        "ms of a segment, of its residues": _cost(work, made[0]),
    }


def _ends(found: list[list[float]], end: Callable[..., float]) -> list[float]:
    leaves = [leaves for leaves in found if leaves]
    return [end(float(np.mean(each)) for each in leaves), end(end(each) for each in leaves)]


def _cost(work: Work, first: tuple[Snapshot, tuple[Any, ...], Levels]) -> list[float]:
    snapshot, state, reached = first

    def took(job: Callable[[], object]) -> float:
        began = perf_counter()
        job()
        return 1_000 * (perf_counter() - began)

    def proof() -> None:
        residues(snapshot.update, reached, state[0], probes(work.spec.model, UNIT, 1))

    whole = min(took(lambda: run_segment(work, 1, state, go_on)) for _ in range(3))
    return [whole, min(took(proof) for _ in range(9))]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--again", nargs=2, metavar=("ROOT", "NAME"), help="used by this script itself")
    chosen = options.parse_args()
    if chosen.again:
        again(*chosen.again)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Folder(Path(place) / "blobs")
        figures = {name: measure(Path(place), folder, spec) for name, spec in tasks(folder).items()}
    finish("residues", figures, chosen)


if __name__ == "__main__":
    main()
