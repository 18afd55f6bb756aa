"""Useful samples per second of a devnet (four validators, two trainers of one thread) against plain PyTorch.

Cases are WHO:SECONDS:ROUNDS. *new*: trainers without a stake, as everybody begins. *grown*: each begins with a bond
that asks for the rarest audits, as if it had been earned. SECONDS: how long a unit takes plain PyTorch here, about.
The first round of a task calibrates (everything is recomputed) and loads torch: *steady* leaves it out, the whole
counts it.

Plain PyTorch runs before and after the devnet, on the same model, data, batch and number of
threads: once as one process of two threads, once as two processes of one. The faster counts.
PyTorch's own data-parallel training over gloo (two processes of one thread, no checks) runs beside them.
The training phase begins when the first round opens. Ratios of CPU time hold on a machine with neighbours, too: what
the trainers' workers, or all processes together, got out of a CPU second, against plain PyTorch.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
from record import Figures, finish, parser
from safetensors.numpy import save_file

from potminer.base.bounded import GRAINS_PER_POT
from potminer.devnet.course import Course, Requester, bench_worker
from potminer.devnet.plan import make_plan
from potminer.devnet.processes import Processes
from potminer.node.taskfile import TaskFile, load_task_file
from potminer.train.folder import Folder
from potminer.train.snap import encode_snapshot, snap
from potminer.wire.control import RoundView
from potminer.wire.model import parameter_count
from potminer.wire.task import Reward, Unit

FASHION = Path("/usr/share/datasets/fashion-mnist")
PHASES = {"compute": ("commit",), "network": ("reveal", "aggregate"), "consensus": ("draw",),
          "audit": ("audit", "open", "dispute")}  # fmt: skip
TRAINERS = 2
GROWN = 200 * GRAINS_PER_POT
"""Bond in grains at which a task of one POT a unit is audited at its own rate; it asks for a tenth of a segment."""
VALIDATION = 500
"""Few: the requester scores every round on the cores that train."""


# ---- plain PyTorch -----------------------------------------------------------------------


def plain(task: Path, *, processes: int, threads: int, seconds: float) -> tuple[float, float]:
    """Samples per second of *processes* at once, and per second of their CPU time."""
    command = [sys.executable, str(Path(__file__).with_name("plain.py")), str(task)]
    command += ["--threads", str(threads), "--seconds", str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    said = [tuple(map(float, each.communicate()[0].split())) for each in running]
    return sum(wall for wall, _ in said), statistics.mean(cpu for _, cpu in said)


def ddp(task: Path, folder: Path, *, steps: int) -> float:
    """Samples per second of two processes of one thread under DistributedDataParallel."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        command = [sys.executable, str(Path(__file__).with_name("ddp.py")), str(task), "--world", str(TRAINERS)]
        command += ["--meet", str(Path(fresh) / "meet"), "--steps", str(steps)]
        running = [
            subprocess.Popen([*command, "--rank", str(rank)], stdout=subprocess.PIPE, text=True)
            for rank in range(TRAINERS)
        ]
        return sum(float(each.communicate()[0]) for each in running)


# ---- the devnet --------------------------------------------------------------------------


@dataclass
class Meter:
    """CPU seconds by kind of process, noted as rounds close."""

    rounds: list[Counter[str]] = field(default_factory=list)

    def tell(self, course: Course) -> None:
        while len(self.rounds) < len(course.rounds):
            self.rounds.append(cpu_by_kind())


def cpu_by_kind() -> Counter[str]:
    found: Counter[str] = Counter()
    for process in psutil.Process().children(recursive=True):
        try:
            words, times = process.cmdline(), process.cpu_times()
        except psutil.Error:
            continue
        role = "trainer" if any("/trainer-" in word for word in words) else "validator"
        kind = "worker" if any("train.worker" in word for word in words) else "daemon"
        if any("/requester" in word for word in words):
            role = "requester"
        found[f"{role}_{kind}"] += times.user + times.system
    return found


async def devnet(task: TaskFile, folder: Path, *, bond: int) -> tuple[list[RoundView], Meter]:
    plan = make_plan(folder, validators=4, trainers=TRAINERS, seed=1, byzantine=[], trainer_bond=bond)
    meter = Meter()
    async with bench_worker(folder) as (child, blobs), Processes(plan) as processes:
        requester = Requester(plan, processes, child, blobs, meter.tell)
        await requester.bond_trainers()
        spec = await requester.order(task)
        await requester.follow(spec)
        course = requester.course
    if sum(course.rejected.values()):
        raise SystemExit(f"honest units were refused: {course.rejected}")
    return course.rounds, meter


def summary(rounds: list[RoundView], meter: Meter, task: TaskFile, *, light: float, per_cpu_s: float) -> Figures:
    """*light* is how many samples a second plain PyTorch makes with the same threads."""
    samples = task.samples_per_unit
    wall_s = ((rounds[-1].closed_ms or 0) - rounds[0].opened_ms) / 1_000
    units = sum(view.units.accepted for view in rounds)
    cpu = {kind: seconds - meter.rounds[0][kind] for kind, seconds in meter.rounds[-1].items()}
    spent = sum(seconds for kind, seconds in cpu.items() if kind != "requester_worker")
    later = (units - rounds[0].units.accepted) * samples
    steady_s = ((rounds[-1].closed_ms or 0) - (rounds[0].closed_ms or 0)) / 1_000
    return {
        "unit_samples": samples,
        "rounds": len(rounds),
        "round_s": steady_s / max(1, len(rounds) - 1),
        "ratio_to_plain_steady": later / steady_s / light,
        "ratio_to_plain_with_calibration": units * samples / wall_s / light,
        "ratio_by_round": [
            view.units.accepted * samples / ((view.closed_ms or 0) - view.opened_ms) * 1_000 / light for view in rounds
        ],
        "cpu_ratio_to_plain_trainers_steady": later / cpu["trainer_worker"] / per_cpu_s,
        "cpu_ratio_to_plain_all_steady": later / spent / per_cpu_s,
        "steady_time_share": split(rounds, task, ideal_s=later / light, steady_s=steady_s),
        "steady_cpu_cores": {kind: seconds / steady_s for kind, seconds in sorted(cpu.items())},
    }


def split(rounds: list[RoundView], task: TaskFile, *, ideal_s: float, steady_s: float) -> Figures:
    """Where the wall time went. *training* is what COMMIT lasts longer than plain PyTorch would need and
    serialisation takes: loading the model, fetching it, neighbours on the same cores, and the wait for a block."""
    phases = {
        name: sum(view.phases_ms.get(p, 0) for view in rounds[1:] for p in parts) / 1_000
        for name, parts in PHASES.items()
    }
    bytes_s = serialisation_s(task) * (len(rounds) - 1)
    return {
        "plain_would_need": ideal_s / steady_s,
        "serialisation": bytes_s / steady_s,
        "training": (phases["compute"] - ideal_s - bytes_s) / steady_s,
        **{name: phases[name] / steady_s for name in ("audit", "network", "consensus")},
        "between_rounds": 1 - sum(phases.values()) / steady_s,
    }


def serialisation_s(task: TaskFile) -> float:
    """What snapping the states of one unit, writing them, and continuing from them takes."""
    spec = task.to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))
    unit = Unit(bytes(32), 0, 0, 0, bytes(32), bytes(32))
    state = (np.random.default_rng(1).normal(size=parameter_count(spec.model)).astype(np.float32),)
    with tempfile.TemporaryDirectory() as name:
        folder, took = Folder(Path(name)), []
        for _ in range(9):
            began = time.perf_counter()
            snapshot = snap(state, spec=spec, unit=unit, segment=1)
            folder.write(encode_snapshot(snapshot, unit=unit, segment=1))
            snapshot.values()
            took.append(time.perf_counter() - began)
    return statistics.median(took) * spec.segments


@dataclass(frozen=True)
class Case:
    who: str
    seconds: int
    rounds: int

    @classmethod
    def said(cls, text: str) -> Case:
        who, seconds, rounds = text.split(":")
        if who not in ("new", "grown"):
            raise ValueError(who)
        return cls(who, int(seconds), int(rounds))

    @property
    def name(self) -> str:
        return f"{self.who}_{self.seconds}s"

    @property
    def bond(self) -> int:
        return GROWN if self.who == "grown" else 0

    def of(self, task: TaskFile, *, per_second: float) -> TaskFile:
        """*task* with units of so many seconds where one thread makes *per_second* samples, and the money for it."""
        each = task.segments * task.micro_batch
        reward = Reward(TRAINERS * self.rounds * task.reward.price_per_unit, task.reward.price_per_unit)
        batches = max(1, round(self.seconds * per_second / each))
        return replace(task, rounds=self.rounds, batches_per_segment=batches, reward=reward)


def compare(path: Path, cases: list[Case], *, seconds: float, folder: Path) -> Figures:
    """Plain PyTorch before, between and after the cases."""
    task = load_task_file(path)
    shapes = {"one_process_two_threads": (1, TRAINERS), "two_processes_one_thread": (TRAINERS, 1)}
    seen: dict[str, list[float]] = {name: [] for name in shapes}
    per_cpu_s: list[float] = []
    allied: list[float] = []

    def measure() -> None:
        for name, (processes, threads) in shapes.items():
            wall, cpu = plain(path, processes=processes, threads=threads, seconds=seconds)
            seen[name].append(wall)
            if threads == 1:
                per_cpu_s.append(cpu)

    measure()
    allied.append(ddp(path, folder / "ddp", steps=120))
    tasks = {case: case.of(task, per_second=max(each[0] for each in seen.values()) / TRAINERS) for case in cases}
    ran = {}
    for case, made in tasks.items():
        ran[case] = asyncio.run(devnet(made, folder / f"devnet-{case.name}", bond=case.bond))
        measure()
    medians = {name: statistics.median(values) for name, values in seen.items()}
    light = max(medians.values())
    return {
        "plain_samples_per_s": medians,
        "plain_each_time": seen,
        "plain_samples_per_cpu_s": per_cpu_s,
        "ddp_ratio_to_plain": statistics.median(allied) / light,
        **{
            case.name: summary(*ran[case], made, light=light, per_cpu_s=statistics.median(per_cpu_s))
            for case, made in tasks.items()
        },
    }


# ---- data --------------------------------------------------------------------------------


def fashion(folder: Path) -> Path | None:
    """The task beside its converted data; None where Debian's dataset-fashion-mnist is not installed."""
    if not FASHION.is_dir():
        return None
    folder.mkdir()
    for name, source, most in (("train", "train", None), ("validation", "t10k", VALIDATION)):
        images = _idx(FASHION / f"{source}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)[:most]
        labels = _idx(FASHION / f"{source}-labels-idx1-ubyte.gz", 8)[:most]
        tensors = {"x": images.astype(np.float32) / 255, "y": labels.astype(np.int64)}
        save_file(tensors, folder / f"{name}.safetensors")
    return Path(shutil.copy(Path(__file__).parent / "tasks" / "fashion-cnn.toml", folder / "task.toml"))


def _idx(path: Path, header: int) -> np.ndarray:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


CASES = [Case("grown", 5, 6), Case("grown", 20, 5), Case("new", 20, 4)]
"""Seven minutes. A minute a unit, and thirty rounds of newcomers: --case grown:60:3, --case new:20:30."""


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--case", type=Case.said, action="append", metavar="WHO:SECONDS:ROUNDS", help="instead of all")
    options: argparse.Namespace = made.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="potminer-efficiency-"))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    figures: Figures = {}
    try:
        path = fashion(folder / "fashion")
        if path is None:
            raise SystemExit("Fashion-MNIST is missing: apt-get install dataset-fashion-mnist")
        figures = compare(path, options.case or CASES, seconds=6, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish("efficiency", figures, options)


if __name__ == "__main__":
    main()
