"""Useful samples per second of a devnet (four validators, two trainers of one thread) against plain PyTorch.

Cases are WHO:SECONDS:ROUNDS. *new*: trainers without a stake, as everybody begins. *grown*: each begins with a bond
that asks for the rarest audits, as if it had been earned. *overlap*: the same, and a round trains while the one before
is audited. *local*: grown, in mode local: SGD with momentum, a step after every batch, as plain PyTorch does.
SECONDS: how long a unit takes plain PyTorch here, about. A round lasts from the close of the one before to its own. The
first round of a task calibrates (everything is recomputed, once more by the committee) and loads torch: it stands by
itself; all else is the median of the other rounds.

Plain PyTorch runs before, between and after the cases, on the same model, data, batch and number of threads: once as
one process of two threads, once as two processes of one. The faster counts. A unit of mode gradient adds its gradients
up and steps once a round, plain PyTorch steps after every batch; *adding* is plain PyTorch that does not either.
PyTorch's own data-parallel training over gloo (two processes of one thread, no checks) runs beside them.
Nobody watches meanwhile but one question a second to one validator. Ratios of CPU time hold on a machine with
neighbours, too: what the trainers' workers, or all processes together, got out of a CPU second, against plain PyTorch.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import psutil
from record import Figures, finish, parser
from safetensors.numpy import save_file

from potminer.base.bounded import GRAINS_PER_POT
from potminer.devnet.course import Requester, bench_worker
from potminer.devnet.plan import make_plan
from potminer.devnet.processes import Processes
from potminer.node.taskfile import TaskFile, load_task_file
from potminer.train.folder import Folder
from potminer.train.snap import encode_snapshot, snap
from potminer.wire.control import RoundView
from potminer.wire.model import parameter_count
from potminer.wire.task import InnerSpec, Momentum, Reward, Unit, state_codings
from potminer.world.api.attach import Client, NotFound

FASHION = Path("/usr/share/datasets/fashion-mnist")
PHASES = {"compute": ("commit",), "network": ("reveal", "aggregate"), "consensus": ("draw",),
          "audit": ("audit", "open", "dispute")}  # fmt: skip
TRAINERS = 2
GROWN = 334 * GRAINS_PER_POT
"""Bond in grains that is full for a task of one POT a unit: its work is audited at the task's rate, 3 %."""
VALIDATION = 500
"""Nobody scores the model here: it would be on the cores that train."""
WALK = InnerSpec(Momentum(900_000_000), rate_nano=20_000_000)
"""What ``plain.py`` does."""
LOOK_S = 1.0
STALL_S = 300.0
LONG = 100
"""Rounds over which the price of calibration is told, too."""


# ---- plain PyTorch -----------------------------------------------------------------------


def plain(
    task: Path, *, processes: int, threads: int, seconds: float, adding: bool = False
) -> tuple[float, float]:
    """Samples per second of *processes* at once, and per second of their CPU time."""
    command = [sys.executable, str(Path(__file__).with_name("plain.py")), str(task)]
    command += ["--threads", str(threads), "--seconds", str(seconds), *(["--adding"] if adding else [])]
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

    def look(self, closed: int) -> None:
        while len(self.rounds) < closed:
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
        requester = Requester(plan, processes, child, blobs, lambda course: None)
        await requester.bond_trainers()
        await requester.order(task)
        node = await processes.face(plan.validators[0])
        rounds = await watched(node, requester.course.task, meter)
    refused = sum(sum(view.units.rejected.values()) for view in rounds)
    if refused or len(rounds) < task.rounds:
        raise SystemExit(f"{len(rounds)} rounds of {task.rounds}, {refused} honest units were refused")
    return rounds, meter


async def watched(node: Client, task: str, meter: Meter) -> list[RoundView]:
    """The closed rounds of *task*, the oldest first, when it has ended."""
    known, moved_s = 0, time.monotonic()
    while time.monotonic() - moved_s < STALL_S:
        await asyncio.sleep(LOOK_S)
        with suppress(NotFound):  # not in a block yet
            detail = await node.task(task)
            meter.look(len(detail.rounds))
            if detail.task.status != "open":
                return list(reversed(detail.rounds))
            if len(detail.rounds) != known:
                known, moved_s = len(detail.rounds), time.monotonic()
    raise SystemExit(f"no round has closed for {STALL_S:.0f} s")


def summary(rounds: list[RoundView], meter: Meter, task: TaskFile, *, light: float, per_cpu_s: float) -> Figures:
    """*light* is how many samples a second plain PyTorch makes with the same threads."""
    ends = [rounds[0].opened_ms, *(view.closed_ms or 0 for view in rounds)]
    lasted = [(after - before) / 1_000 for before, after in pairwise(ends)]
    samples = [view.units.accepted * task.samples_per_unit for view in rounds]
    ratios = [made / each / light for made, each in zip(samples, lasted, strict=True)]
    usual = statistics.median(lasted[1:])
    return {
        "unit_samples": task.samples_per_unit,
        "rounds": len(rounds),
        "round_s": usual,
        "ratio_to_plain": statistics.median(ratios[1:]),
        "ratio_by_round": ratios,
        "ratio_over_all_steady_rounds": sum(samples[1:]) / sum(lasted[1:]) / light,
        "calibration_in_rounds": lasted[0] / usual,
        f"ratio_over_{LONG}_rounds_with_calibration": LONG * samples[-1] / (lasted[0] + (LONG - 1) * usual) / light,
        "ratio_of_this_run_with_calibration": sum(samples) / sum(lasted) / light,
        "steady_time_share": shares(rounds, task, ideal_s=samples[-1] / light, usual_s=usual),
        **cpu_figures(meter, samples[-1], per_cpu_s=per_cpu_s),
    }


def cpu_figures(meter: Meter, samples: int, *, per_cpu_s: float) -> Figures:
    """Of a round of so many *samples*, from the end of the first to the end of the last: as we saw them, a second late
    at most."""
    first, last = meter.rounds[0], meter.rounds[-1]
    count = len(meter.rounds) - 1
    cpu = {kind: (last[kind] - first[kind]) / count for kind in sorted(last)}
    spent = sum(each for kind, each in cpu.items() if kind != "requester_worker")
    return {
        "cpu_s_a_round": cpu,
        "cpu_ratio_to_plain_trainers": samples / cpu["trainer_worker"] / per_cpu_s,
        "cpu_ratio_to_plain_all": samples / spent / per_cpu_s,
    }


def shares(rounds: list[RoundView], task: TaskFile, *, ideal_s: float, usual_s: float) -> Figures:
    """Where the time of the usual round went, by its phases. *training* is what COMMIT lasts longer than plain PyTorch
    would need and serialisation takes: fetching and loading the model, whoever else is on these cores, the wait for a
    block. Where rounds overlap their phases do, and audits and the rest cannot be told apart by time."""
    serialisation = serialisation_s(task) / usual_s
    found: Figures = {"plain_would_need": ideal_s / usual_s, "serialisation": serialisation}
    if task.audit.overlap:
        return {**found, "all_else": 1 - ideal_s / usual_s - serialisation}
    phases = {
        name: statistics.median(sum(view.phases_ms.get(p, 0) for p in parts) for view in rounds[1:]) / 1_000 / usual_s
        for name, parts in PHASES.items()
    }
    found["training"] = phases.pop("compute") - ideal_s / usual_s - serialisation
    return {**found, **phases, "idle_between_rounds": 1 - sum(found.values()) - sum(phases.values())}


def serialisation_s(task: TaskFile) -> float:
    """What snapping the states of one unit, writing them, and continuing from them takes."""
    spec = task.to_spec(train=bytes(32), validation=bytes(32), initial_model=bytes(32))
    unit = Unit(bytes(32), 0, 0, 0, bytes(32), bytes(32))
    vector = np.random.default_rng(1).normal(size=parameter_count(spec.model)).astype(np.float32)
    state = tuple(vector for _ in state_codings(spec))
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
        if who not in ("new", "grown", "overlap", "local"):
            raise ValueError(who)
        return cls(who, int(seconds), int(rounds))

    @property
    def name(self) -> str:
        return f"{self.who}_{self.seconds}s"

    @property
    def bond(self) -> int:
        return 0 if self.who == "new" else GROWN

    def of(self, task: TaskFile, *, per_second: float) -> TaskFile:
        """*task* with units of so many seconds where one thread makes *per_second* samples, and the money for it."""
        each = task.segments * task.micro_batch
        reward = Reward(TRAINERS * self.rounds * task.reward.price_per_unit, task.reward.price_per_unit)
        batches = max(1, round(self.seconds * per_second / each))
        audit = msgspec.structs.replace(task.audit, overlap=self.who == "overlap")
        if self.who == "local":
            task = replace(task, mode="local", inner=WALK, outer_rate_nano=10**9)
        return replace(task, rounds=self.rounds, batches_per_segment=batches, reward=reward, audit=audit)


def compare(path: Path, cases: list[Case], *, seconds: float, folder: Path) -> Figures:
    """Plain PyTorch before, between and after the cases."""
    task = load_task_file(path)
    shapes = {"one_process_two_threads": (1, TRAINERS), "two_processes_one_thread": (TRAINERS, 1)}
    seen: dict[str, list[float]] = {name: [] for name in shapes}
    per_cpu_s: list[float] = []
    adding: list[float] = []

    def measure() -> None:
        for name, (processes, threads) in shapes.items():
            wall, cpu = plain(path, processes=processes, threads=threads, seconds=seconds)
            seen[name].append(wall)
            if threads == 1:
                per_cpu_s.append(cpu)

    def measure_adding() -> None:
        adding.append(plain(path, processes=TRAINERS, threads=1, seconds=seconds, adding=True)[0])

    measure()
    measure_adding()
    allied = ddp(path, folder / "ddp", steps=120)
    tasks = {case: case.of(task, per_second=max(each[0] for each in seen.values()) / TRAINERS) for case in cases}
    ran = {}
    for case, made in tasks.items():
        ran[case] = asyncio.run(devnet(made, folder / f"devnet-{case.name}", bond=case.bond))
        measure()
    measure_adding()
    medians = {name: statistics.median(values) for name, values in seen.items()}
    light = max(medians.values())
    return {
        "plain_samples_per_s": medians,
        "plain_each_time": seen,
        "plain_samples_per_cpu_s": per_cpu_s,
        "adding_ratio_to_plain": statistics.median(adding) / light,
        "ddp_ratio_to_plain": allied / light,
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


CASES = [Case("grown", 20, 5), Case("local", 20, 5), Case("overlap", 20, 4), Case("new", 10, 4)]
"""Ten and a half minutes. A minute a unit, and thirty rounds of newcomers: --case grown:60:3, --case new:20:30."""


def end_with_us() -> None:
    """Who is told to stop stops the devnet, too: its processes have groups of their own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--case", type=Case.said, action="append", metavar="WHO:SECONDS:ROUNDS", help="instead of all")
    made.add_argument("--plain", type=float, default=6.0, metavar="SECONDS", help="of every look at plain PyTorch")
    options: argparse.Namespace = made.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="potminer-efficiency-"))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    end_with_us()
    figures: Figures = {}
    try:
        path = fashion(folder / "fashion")
        if path is None:
            raise SystemExit("Fashion-MNIST is missing: apt-get install dataset-fashion-mnist")
        figures = compare(path, options.case or CASES, seconds=options.plain, folder=folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish("efficiency", figures, options)


if __name__ == "__main__":
    main()
