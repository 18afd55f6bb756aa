"""Useful samples per second of a devnet (four validators, two trainers of one thread) against plain PyTorch.

Plain PyTorch runs before and after the devnet, on the same model, data, batch and number of
threads: once as one process of two threads, once as two processes of one. The faster counts.
PyTorch's own data-parallel training over gloo (two processes of one thread, no checks) runs beside them.
The training phase begins when the first round opens; *steady* leaves the first round out, in
which every worker loads torch. Ratios of CPU time hold on a machine with neighbours, too: what
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
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
from record import ROOT, Figures, finish, parser
from safetensors.numpy import save_file

from potminer.devnet.course import Course, Requester, bench_worker
from potminer.devnet.plan import make_plan
from potminer.devnet.processes import Processes
from potminer.node.taskfile import TaskFile, load_task_file
from potminer.wire.control import RoundView

FASHION = Path("/usr/share/datasets/fashion-mnist")
PHASES = {"compute": ("commit",), "network": ("reveal", "aggregate"), "consensus": ("draw",),
          "audit": ("audit", "dispute")}  # fmt: skip
TRAINERS = 2
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


async def devnet(task: TaskFile, folder: Path) -> tuple[list[RoundView], Meter]:
    plan = make_plan(folder, validators=4, trainers=TRAINERS, seed=1, byzantine=[])
    meter = Meter()
    async with bench_worker(folder) as (child, blobs), Processes(plan) as processes:
        requester = Requester(plan, processes, child, blobs, meter.tell)
        spec = await requester.order(task)
        await requester.follow(spec)
        course = requester.course
    if sum(course.rejected.values()):
        raise SystemExit(f"honest units were refused: {course.rejected}")
    return course.rounds, meter


def summary(
    rounds: list[RoundView], meter: Meter, samples_per_unit: int, *, speed_of_light: float, per_cpu_s: float
) -> Figures:
    wall_s = ((rounds[-1].closed_ms or 0) - rounds[0].opened_ms) / 1_000
    steady_s = ((rounds[-1].closed_ms or 0) - (rounds[0].closed_ms or 0)) / 1_000
    units, later = (sum(view.units.accepted for view in some) for some in (rounds, rounds[1:]))
    steady = later * samples_per_unit / steady_s
    phases = {
        name: sum(view.phases_ms.get(p, 0) for view in rounds[1:] for p in parts) / 1_000
        for name, parts in PHASES.items()
    }
    ideal_s = later * samples_per_unit / speed_of_light
    cpu = {kind: seconds - meter.rounds[0][kind] for kind, seconds in meter.rounds[-1].items()}
    spent = sum(seconds for kind, seconds in cpu.items() if kind != "requester_worker")
    return {
        "cpu_ratio_to_plain_trainers_steady": later * samples_per_unit / cpu["trainer_worker"] / per_cpu_s,
        "cpu_ratio_to_plain_all_steady": later * samples_per_unit / spent / per_cpu_s,
        "rounds": len(rounds),
        "samples": units * samples_per_unit,
        "round_s": steady_s / max(1, len(rounds) - 1),
        "samples_per_s": units * samples_per_unit / wall_s,
        "samples_per_s_steady": steady,
        "ratio_to_plain": units * samples_per_unit / wall_s / speed_of_light,
        "ratio_to_plain_steady": steady / speed_of_light,
        "steady_phases_s": phases,
        "steady_time_share": {
            "plain_would_need": ideal_s / steady_s,
            "compute_beyond_plain": (phases["compute"] - ideal_s) / steady_s,
            **{name: phases[name] / steady_s for name in ("audit", "network", "consensus")},
            "between_rounds": 1 - sum(phases.values()) / steady_s,
        },
        "steady_cpu_cores": {kind: seconds / steady_s for kind, seconds in sorted(cpu.items())},
    }


def compare(path: Path, *, rounds: int | None, seconds: float, folder: Path) -> Figures:
    task = load_task_file(path)
    if rounds is not None:
        task = replace(task, rounds=rounds)
    shapes = {"one_process_two_threads": (1, TRAINERS), "two_processes_one_thread": (TRAINERS, 1)}
    seen: dict[str, list[float]] = {name: [] for name in shapes}
    per_cpu_s: list[float] = []
    allied: list[float] = []

    def measure() -> None:
        allied.append(ddp(path, folder / "ddp", steps=120))
        for name, (processes, threads) in shapes.items():
            wall, cpu = plain(path, processes=processes, threads=threads, seconds=seconds)
            seen[name].append(wall)
            if threads == 1:
                per_cpu_s.append(cpu)

    measure()
    found, meter = asyncio.run(devnet(task, folder / f"devnet-{task.name}"))
    measure()
    medians = {name: statistics.median(values) for name, values in seen.items()}
    light = max(medians.values())
    return {
        "plain_samples_per_s": medians,
        "plain_before_and_after": seen,
        "ddp_samples_per_s": statistics.median(allied),
        "ddp_ratio_to_plain": statistics.median(allied) / light,
        "unit_samples": task.samples_per_unit,
        "plain_samples_per_cpu_s": per_cpu_s,
        "devnet": summary(
            found, meter, task.samples_per_unit, speed_of_light=light, per_cpu_s=statistics.median(per_cpu_s)
        ),
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


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--only", choices=("digits", "cnn"))
    made.add_argument("--rounds", type=int, help="instead of 12 of digits and 5 of the CNN")
    options: argparse.Namespace = made.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="potminer-efficiency-"))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    figures: Figures = {}
    note = "digits is overhead alone: its whole unit is milliseconds of arithmetic"
    try:
        if options.only in (None, "digits"):
            path = ROOT / "assets" / "tasks" / "digits.toml"
            figures["digits"] = compare(path, rounds=options.rounds or 12, seconds=3, folder=folder)
        if options.only in (None, "cnn"):
            path = fashion(folder / "fashion")
            if path is None:
                note += "; the CNN was left out: apt-get install dataset-fashion-mnist"
            else:
                figures["fashion_cnn"] = compare(path, rounds=options.rounds, seconds=8, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish("efficiency", figures, options, note=note)


if __name__ == "__main__":
    main()
