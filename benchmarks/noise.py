"""How far honest machines and the smallest cheats are from a claimed segment, by segment length, optimiser and width.

A unit of three segments is computed with 1 thread and snapped. Every segment is then audited as the product audits:
with 2 threads, and by a process of its own without AVX-512. Cheats begin each segment from the honest snapshot before
it and report what they reached; their error is what an honest auditor measures. ppm, as the ledger sees them.

*Carried* rows are those of a task in its eighth round: weights and second moment are what 105 steps led to, and the
payload holds the moment, too. Optimiser and batch are char-gpt's.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from record import ROOT, Figures, finish, parser
from residues import NARROW, UNIT
from schooling import CNN, GPT, fashion, go_on, say, shakespeare, task

from potminer.train.aggregate import rounded
from potminer.train.audit import segment_error_ppm
from potminer.train.bookwork import read_model
from potminer.train.conduct import HONEST, Conduct
from potminer.train.data import training_split
from potminer.train.device import prepare
from potminer.train.folder import Folder
from potminer.train.snap import Snapshot, State, decode_snapshot, encode_snapshot, snap
from potminer.train.step import Engine, Work, run_segment
from potminer.train.weights import Model, encode_model, flush, initial_weights
from potminer.wire.codec import decode, encode
from potminer.wire.task import AdamW, InnerSpec, Momentum, Sgd, TaskSpec, Unit, carries

SEGMENTS = 3
WIDTHS = ("lan", "wan4", "wan2")
INNER = {
    "SGD": InnerSpec(Sgd(), rate_nano=20_000_000),
    "momentum": InnerSpec(Momentum(900_000_000), rate_nano=20_000_000),
    "AdamW": InnerSpec(AdamW(), rate_nano=1_000_000, clip_nano=10**9),
    "carried AdamW": InnerSpec(
        AdamW(0, 990_000_000, decay_nano=100_000_000, carry=True), rate_nano=1_000_000, clip_nano=10**9
    ),
}
ROUND, LED = 7, 105
"""Of carried rows: rounds that are over, and the steps in them where a unit has three segments of five."""
ROWS = (
    ("CNN", "SGD", 5), ("CNN", "momentum", 1), ("CNN", "momentum", 5), ("CNN", "momentum", 20), ("CNN", "AdamW", 5),
    ("GPT", "SGD", 5), ("GPT", "AdamW", 1), ("GPT", "AdamW", 5), ("GPT", "AdamW", 20), ("GPT", "carried AdamW", 1),
    ("GPT", "carried AdamW", 5),
)  # fmt: skip


def work(spec: TaskSpec, folder: Folder, conduct: Conduct = HONEST) -> Work:
    engine = Engine(spec.model, "cpu", spec.objective)
    model = read_model(folder, spec, spec.initial_model)
    engine.load(model.weights, moment=model.moment)
    return Work(engine, training_split(folder, spec), spec, unit_of(spec), conduct)


def unit_of(spec: TaskSpec) -> Unit:
    return replace(UNIT, round=ROUND) if carries(spec) else UNIT


def led(spec: TaskSpec, folder: Folder) -> TaskSpec:
    """*spec* from where ``LED`` of its steps lead."""
    prepare(1)
    before = replace(spec, segments=1, batches_per_segment=LED)
    engine = Engine(spec.model, "cpu", spec.objective)
    engine.load(initial_weights(spec.model, seed=1))
    begun = Work(engine, training_split(folder, spec), before, UNIT)
    reached, _ = run_segment(begun, 1, begun.opening(), go_on)
    model = Model(rounded(engine.base.numpy().astype(float) - reached[0]), moment=flush(reached[1]))
    return replace(spec, initial_model=folder.write(encode_model(spec.model, model)))


def cheats(spec: TaskSpec, segment: int) -> Iterator[tuple[str, Conduct]]:
    """One sample of the segment's last micro-batch; its middle step; a tenth of its labels or tokens."""
    each = spec.batches_per_segment
    yield "one example of the last step dropped", Conduct(drops=segment * each - 1)
    if each > 1:
        middle = segment * each - 1 - each // 2
        yield f"one of {each} steps skipped", Conduct(weight=lambda batch: int(batch != middle))
    yield "a tenth of the labels wrong", Conduct(labels=_wrong)


def _wrong(labels: Any) -> Any:
    chance = np.random.default_rng(7).random(labels.shape)
    return np.where(chance < 0.1, (labels + 1) % (int(labels.max()) + 1), labels)


def again(root: str) -> None:
    """Recompute every segment of what lies in *root*, on the kernels that the environment allows."""
    prepare(1)
    place = Path(root)
    spec = decode(TaskSpec, (place / "spec").read_bytes(), max_bytes=1 << 20)
    at = work(spec, Folder(place / "blobs"))
    state = at.opening()
    for segment in range(1, SEGMENTS + 1):
        reached, _ = run_segment(at, segment, state, go_on)
        np.save(place / f"reached-{segment}.npy", np.stack(reached))
        if segment < SEGMENTS:
            data = (place / f"snapshot-{segment}").read_bytes()
            state = decode_snapshot(data, spec=spec, unit=unit_of(spec), segment=segment).values()


def measure(root: Path, folder: Folder, spec: TaskSpec) -> Figures:
    prepare(1)
    honest, unit, befores, reaches = work(spec, folder), unit_of(spec), [], []
    state = honest.opening()
    for segment in range(1, SEGMENTS + 1):
        reached, _ = run_segment(honest, segment, state, go_on)
        befores.append(state)
        reaches.append(reached)
        made = snap(reached, spec=spec, unit=unit, segment=segment)
        (root / f"snapshot-{segment}").write_bytes(encode_snapshot(made, unit=unit, segment=segment))
        state = made.values()
    (root / "spec").write_bytes(encode(spec))
    subprocess.run([sys.executable, __file__, "--again", str(root)], check=True, env={**os.environ, **NARROW})
    found: Figures = {}
    for segment in range(1, SEGMENTS + 1):
        before, reached = befores[segment - 1], reaches[segment - 1]
        other = tuple(np.load(root / f"reached-{segment}.npy"))
        prepare(2)
        threaded, _ = run_segment(honest, segment, before, go_on)
        prepare(1)
        for width in WIDTHS if segment == SEGMENTS else ("lan",):
            coded = replace(spec, compression=width)
            where = f"last, {width}" if segment == SEGMENTS else f"segment {segment}"
            claimed = snap(reached, spec=coded, unit=unit, segment=segment)
            found.setdefault("honest, 2 threads", {})[where] = _error(claimed, threaded, before, unit, segment)
            found.setdefault("honest, AVX2", {})[where] = _error(claimed, other, before, unit, segment)
        for name, conduct in cheats(spec, segment):
            short, _ = run_segment(work(spec, folder, conduct), segment, before, go_on)
            for width in WIDTHS if segment == SEGMENTS else ("lan",):
                coded = replace(spec, compression=width)
                where = f"last, {width}" if segment == SEGMENTS else f"segment {segment}"
                claimed = snap(short, spec=coded, unit=unit, segment=segment)
                found.setdefault(name, {})[where] = _error(claimed, reached, before, unit, segment)
    found["drift from the unit without snapshots"] = _drift(work(spec, folder), reaches[-1])
    return found


def _error(claimed: Snapshot, reached: State, before: State, unit: Unit, segment: int) -> int:
    return segment_error_ppm(claimed=claimed, recomputed=reached, before=before, unit=unit, segment=segment)


def _drift(at: Work, reached: State) -> float:
    state = at.opening()
    for segment in range(1, SEGMENTS + 1):
        state, _ = run_segment(at, segment, state, go_on)
    return float(np.linalg.norm(reached[0] - state[0]) / np.linalg.norm(state[0]))


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--again", metavar="ROOT", help="used by this script itself")
    made.add_argument("--only", help="rows with this in their name")
    made.add_argument("--text", type=Path, default=ROOT / "assets" / "shakespeare")
    options: argparse.Namespace = made.parse_args()
    if options.again:
        again(options.again)
        return
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="potminer-noise-") as place:
        folder = Folder(Path(place) / "blobs")
        for model, inner, steps in ROWS:
            name = f"{model}, {inner}, {steps} {'step' if steps == 1 else 'steps'}"
            if options.only and options.only not in name:
                continue
            data = fashion(folder) if model == "CNN" else shakespeare(folder, options.text)
            spec = task(
                folder, CNN if model == "CNN" else GPT, data, seed=1, segments=SEGMENTS, batches_per_segment=steps,
                micro_batch=64 if model == "CNN" else 3 if "carried" in inner else 12, inner=INNER[inner],
            )  # fmt: skip
            if carries(spec):
                spec = led(spec, folder)
            figures[name] = measure(Path(place), folder, spec)
            say((name, figures[name]))
    note = "64 samples a step of the CNN, 12 x 64 tokens of the GPT, 3 x 64 where it carries"
    finish("noise", figures, options, note=note)


if __name__ == "__main__":
    main()
