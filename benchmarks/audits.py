"""Audits: honest ones by the thousand, what they cost, and how soon a cheat in m of S segments is drawn.

``honest``: workers of the product, processes with 1 and 2 threads, train and audit one another on small models; a
third auditor splits every micro-batch. ``cost``: a whole network with its ledger in one process, ten trainers who are
all new, and how much is recomputed of what is trained, round by round. ``detection``: the ledger's own drawing.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from record import ROOT, Figures, finish, parser
from residues import digits
from schooling import go_on, say, task

sys.path.insert(0, str(ROOT))

from potminer.base.bounded import MILLION
from potminer.base.digest import Domain, digest, number
from potminer.core.ledger.audits import draw_audits
from potminer.core.ledger.rewards import audited_ppm
from potminer.core.ledger.sketch import differs
from potminer.core.ledger.state import Draft
from potminer.train.bench import Bench
from potminer.train.cheat import Cheat, cheat
from potminer.train.conduct import Conduct
from potminer.train.folder import Folder
from potminer.train.pipe import read_frame
from potminer.wire import record as records
from potminer.wire.codec import decode, encode
from potminer.wire.model import Cnn, Gpt, Mlp
from potminer.wire.record import Phase, TaskRecord
from potminer.wire.residue import leaf_number, leaves_of
from potminer.wire.task import AdamW, AuditSpec, DataSpec, InnerSpec, Momentum, Reward, Sgd, TaskSpec, Unit
from potminer.wire.trainer import (
    PIPE_BYTES,
    Audited,
    AuditJob,
    Heartbeat,
    Job,
    Progress,
    Ready,
    Report,
    Trained,
    TrainJob,
)
from potminer.wire.tx import Finding
from tests.simulation.company import Company
from tests.unit.ledger_world import World

MLP = Mlp(64, (32,), 10)
SEGMENTS = 4
ADAMW = InnerSpec(AdamW(), rate_nano=2_000_000)
STRICTEST_PPM = 10
"""The least tolerance that calibration sets."""


# ---- honest audits -----------------------------------------------------------------------


class Worker:
    """A worker process of the product, asked one thing after the other."""

    def __init__(self, blobs: Path, threads: int) -> None:
        options = [f"--blobs={blobs}", "--device=cpu", f"--threads={threads}"]
        words = [sys.executable, "-m", "potminer.train.worker", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def ask(self, job: Job) -> Report:
        body = encode(job)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(len(body).to_bytes(4, "big") + body)
        self._process.stdin.flush()
        while True:
            frame = read_frame(self._process.stdout)
            if frame is None:
                raise SystemExit("a worker ended")
            report = decode(Report, frame, max_bytes=PIPE_BYTES)  # type: ignore[arg-type]
            if not isinstance(report, Ready | Heartbeat | Progress):
                return report

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Honest:
    audits: int = 0
    refused: int = 0
    sketches_differ: int = 0
    exact: int = 0
    worst_ppm: int = 0

    def add(self, found: Audited, leaf: bytes) -> None:
        self.audits += 1
        self.exact += not found.error_ppm
        self.refused += found.finding is not Finding.MEASURED or found.error_ppm > STRICTEST_PPM
        self.sketches_differ += differs(found.sketch, leaf)
        self.worst_ppm = max(self.worst_ppm, found.error_ppm)


def small_tasks(folder: Folder) -> dict[str, TaskSpec]:
    pictures = digits(folder)

    def local(inner: InnerSpec, compression: str, model: Any = MLP, data: DataSpec = pictures) -> TaskSpec:
        changes = {"segments": SEGMENTS, "batches_per_segment": 2, "compression": compression, "inner": inner}
        return task(folder, model, data, seed=1, **changes)

    gradient = task(folder, MLP, pictures, seed=1, mode="gradient", segments=SEGMENTS, batches_per_segment=2)
    momentum = InnerSpec(Momentum(900_000_000), rate_nano=20_000_000)
    return {
        "mlp, gradient": gradient,
        "mlp, sgd, wan4": local(InnerSpec(Sgd(), rate_nano=50_000_000), "wan4"),
        "mlp, momentum, lan": local(momentum, "lan"),
        "mlp, adamw, wan2": local(ADAMW, "wan2"),
        "cnn, momentum, wan4": local(momentum, "wan4", Cnn(1, 8, 8, (4, 8), 3, 16, 10)),
        "gpt with dropout, adamw, lan": local(ADAMW, "lan", Gpt(16, 16, 1, 2, 16, 10), _letters(folder)),
    }


def _letters(folder: Folder) -> DataSpec:
    import numpy as np
    from safetensors.numpy import save

    words, tokens = np.random.default_rng(5), [0]
    for _ in range(2_999):
        tokens.append(int(words.integers(16)) if words.integers(8) == 0 else (tokens[-1] * 5 + 1) % 16)
    blob = folder.write(save({"tokens": np.array(tokens, np.uint8)}))
    return DataSpec(blob, blob, len(tokens) - 16, len(tokens) - 16, (16,))


def honest(options: argparse.Namespace, folder: Folder, place: Path) -> Figures:
    workers = {1: Worker(place, 1), 2: Worker(place, 2)}
    splitting = Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=cheat(None), thrift=2)
    specs, sizes = small_tasks(folder), (8, 16, 32, 64)
    units = -(-options.audits // (len(specs) * len(sizes) * 2 * SEGMENTS))
    found: Figures = {}
    for name, spec in specs.items():
        told = Honest()
        for size in sizes:
            for at in range(units):
                _audit_unit(replace(spec, micro_batch=size), at, workers, splitting, folder, told)
        found[name] = {**vars(told)}
        say((name, found[name]))
    for worker in workers.values():
        worker.close()
    found["all"] = {
        word: (max if word == "worst_ppm" else sum)(each[word] for each in found.values()) for word in vars(Honest())
    }
    return found


def _audit_unit(
    spec: TaskSpec, at: int, workers: dict[int, Worker], splitting: Bench, folder: Folder, told: Honest
) -> None:
    unit = Unit(bytes(32), at, 0, 0, digest(Domain.DRAW, number(at)), bytes(32))
    threads = 1 + at % 2
    made = workers[threads].ask(TrainJob(1, spec, unit, spec.initial_model))
    if not isinstance(made, Trained):
        raise SystemExit(f"not trained: {made}")
    chain, leaves = (None, *made.snapshots), leaves_of(made.residues)
    for segment in range(1, spec.segments + 1):
        leaf = (at + segment) % 32
        job = AuditJob(2, spec, unit, spec.initial_model, segment, chain[segment - 1], chain[segment], leaf)
        for report in (workers[3 - threads].ask(job), splitting.audit(job, go_on)):
            if not isinstance(report, Audited):
                raise SystemExit(f"not audited: {report}")
            told.add(report, leaves[leaf_number(segment, leaf)])
    for blob in made.snapshots:
        folder.path(blob).unlink(missing_ok=True)


# ---- what audits cost --------------------------------------------------------------------


@dataclass
class Counting(Company):
    """A company that counts the samples it trains and those it recomputes, by round."""

    world: World
    folder: Folder
    order: random.Random
    trainers: tuple[str, ...]
    trained: Counter[int] = field(default_factory=Counter)
    recomputed: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        Company.__init__(self, self.world, self.folder, self.order, self.trainers)

    def _work(self, bench: Bench, job: Job) -> Report:
        report = super()._work(bench, job)
        if isinstance(report, Trained) and isinstance(job, TrainJob):
            self.trained[job.unit.round] += report.samples
        if isinstance(report, Audited) and isinstance(job, AuditJob):
            self.recomputed[job.unit.round] += report.samples * (2 if job.calibrate else 1)
        return report

    def share(self, first: int, last: int) -> float:
        """Recomputed of trained, over the rounds from *first* on and before *last*."""
        rounds = range(first, last)
        return sum(self.recomputed[at] for at in rounds) / sum(self.trained[at] for at in rounds)


def cost(options: argparse.Namespace, folder: Folder, place: Path) -> Figures:
    names, rounds = tuple(f"trainer-{at}" for at in range(6)), options.rounds
    price = 2 * 10**9 // options.units
    spec = task(
        folder, Mlp(64, (8,), 10), digits(folder), seed=1, rounds=rounds, units_per_trainer=options.units,
        segments=options.segments, micro_batch=8,
        inner=InnerSpec(Momentum(900_000_000), rate_nano=20_000_000), audit=AuditSpec(30_000, 1_000), min_trainers=2,
        max_trainers=len(names), reward=Reward(rounds * len(names) * options.units * price, price),
    )  # fmt: skip
    world = World(bond=10**6, epoch_blocks=10**6, second_audit_ppm=50_000, calibrated=False)
    company = Counting(world, folder, random.Random(1), names)
    world.submit(spec, trainers=names)
    company.start()
    while world.state.head.open_tasks:
        company.block()
        if len(world.blocks) > 60 * rounds:
            raise SystemExit("the task does not end")
    done = max(company.trained) + 1
    cuts = [cut for cut in (0, 1, 5, 10, 20, 30, 60, 120) if cut < done] + [done]
    return {
        "rounds": done,
        "segments of a unit": spec.segments,
        "units of a trainer": spec.units_per_trainer,
        "units": done * len(names) * spec.units_per_trainer,
        "recomputed of trained": company.share(0, done),
        **{f"rounds {a + 1} to {b}": company.share(a, b) for a, b in pairwise(cuts)},
        "last ten rounds": company.share(max(0, done - 10), done),
        "what the rate alone would cost": spec.audit.rate_ppm / MILLION / spec.segments,
    }


# ---- how soon a cheat is drawn -----------------------------------------------------------


def detection(options: argparse.Namespace, folder: Folder, place: Path) -> Figures:
    """Chance that a unit with m cheated segments is found in its round, theory beside the ledger's own drawing."""
    found: Figures = {"drawn": _drawings(options.draws)}
    found["measured on a segment, ppm"] = _flagged(folder)
    return found


def _drawings(draws: int) -> Figures:
    segments, price, found = 8, 10**9, {}
    for paid in (0, 1, 10, 100, 1_000):
        world = World(bond=10**6, second_audit_ppm=0)
        wanted = audited_ppm(
            price=price, stake=paid * price, units=2, segments=segments,
            factor=world.state.parameters.audit_factor, floor_ppm=30_000,
        )  # fmt: skip
        seen: Counter[int] = Counter()
        total = 0
        for drawn in _drawn(world, segments, price, paid * price, draws):
            total += 1
            for cheated in (1, 2, 4, 8):
                seen[cheated] += any(segment <= cheated for segment in drawn)
        row: Figures = {"segments audited of a unit": wanted / MILLION}
        for cheated in (1, 2, 4, 8):
            row[f"{cheated} of 8"] = {
                "theory": _theory(wanted, cheated, segments), "drawn": seen[cheated] / total,
                "units until caught": 1 / _theory(wanted, cheated, segments),
            }  # fmt: skip
        found[f"{paid} units' pay at stake"] = {**row, "units drawn": total}
    return found


def _theory(wanted: int, cheated: int, segments: int) -> float:
    """*wanted* millionths of segments: the whole ones surely, one more with the chance that is left."""
    count, chance = divmod(wanted, MILLION)

    def missed(audited: int) -> float:
        return math.comb(segments - cheated, audited) / math.comb(segments, audited)

    rest = chance / MILLION
    return 1 - ((1 - rest) * missed(count) + (rest * missed(count + 1) if rest else 0.0))


def _drawn(world: World, segments: int, price: int, stake: int, draws: int) -> Iterator[list[int]]:
    """Audited segments of every unit, drawn from *draws* beacons with every trainer's bond set to *stake*."""
    from tests.unit.ledger_world import blob, spec

    names = ("ann", "ben", "cy", "dee")
    world.submit(
        spec(segments=segments, reward=Reward(price * 100, price), audit=AuditSpec(30_000, 1_000)), trainers=names
    )
    world.until(Phase.COMMIT)
    world.commit_all()
    world.until(Phase.REVEAL)
    world.reveal_all()
    for at in range(draws):
        draft = Draft(world.state)
        draft.put(records.CHAIN, replace(draft.head, beacon=blob("beacon", at)))
        current = world.round
        units = [replace(world.unit(slot), stake=stake) for slot in range(len(current.slots))]
        for trainer in set(current.slots):
            account = draft.need(records.Trainer, records.trainer_key(trainer))
            draft.put(records.trainer_key(trainer), replace(account, bond=stake))
        made = draw_audits(draft, world.task, draft.need(TaskRecord, records.task_key(world.task)), current, units)
        for slot in range(len(units)):
            yield [audit.segment for audit in made if audit.slot == slot]


def _flagged(folder: Folder) -> Figures:
    """Errors of all eight segments of real units that skipped one of two batches in m of them."""
    made = task(
        folder, MLP, digits(folder), seed=1, segments=8, batches_per_segment=2, micro_batch=32,
        inner=InnerSpec(Momentum(900_000_000), rate_nano=20_000_000),
    )  # fmt: skip
    unit, auditor, found = Unit(bytes(32), 0, 0, 0, bytes(32), bytes(32)), None, {}
    for cheated in (0, 1, 2, 4, 8):
        lazy = Conduct(weight=lambda batch, most=cheated: int(batch % 2 == 0 or batch // 2 >= most))
        worker = Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=Cheat(lazy))
        auditor = auditor or Bench(folder, device="cpu", threads=1, max_bytes=2**32, cheat=cheat(None))
        chain = (None, *worker.train(TrainJob(1, made, unit, made.initial_model), go_on).snapshots)
        jobs = [
            AuditJob(2, made, unit, made.initial_model, at, chain[at - 1], chain[at], 0)  # type: ignore[arg-type]
            for at in range(1, 9)
        ]
        found[f"{cheated} of 8"] = [auditor.audit(job, go_on).error_ppm for job in jobs]
    return found


PARTS = {"honest": honest, "cost": cost, "detection": detection}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("part", choices=tuple(PARTS))
    made.add_argument("--audits", type=int, default=10_000)
    made.add_argument("--rounds", type=int, default=60)
    made.add_argument("--segments", type=int, default=8, help="of a unit, in cost")
    made.add_argument("--units", type=int, default=2, help="of a trainer in a round, in cost")
    made.add_argument("--draws", type=int, default=500)
    options: argparse.Namespace = made.parse_args()
    with tempfile.TemporaryDirectory(prefix="potminer-audits-") as place:
        figures = PARTS[options.part](options, Folder(Path(place)), Path(place))
    finish(f"audits {options.part}", figures, options)


if __name__ == "__main__":
    main()
