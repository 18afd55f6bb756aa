"""The owner comes back: from ``mode off`` posted to a training rig until its worker process has ended.

The rig trains a real unit of a CNN that would last minutes; the owner's order interrupts it in
the middle. Between repetitions the rig is told to train again and comes back by itself.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from record import Figures, finish, parser
from safetensors.numpy import save_file

from potminer.devnet.course import Course, Requester, bench_worker
from potminer.devnet.plan import Member, make_plan
from potminer.devnet.processes import Processes
from potminer.node.taskfile import load_task_file
from potminer.wire.control import Mode, SetMode
from potminer.world.api.attach import Client

PATIENCE_S = 120.0
TRAINING_CPU_S = 3.0
"""A worker that used so much CPU has torch loaded and computes."""


def task(folder: Path) -> Path:
    """The CNN on noise: nothing is learnt, and every step costs what a real one does."""
    folder.mkdir()
    chance = np.random.default_rng(1)
    for name, count in (("train", 4_096), ("validation", 64)):
        images = chance.random((count, 1, 28, 28), np.float32)
        save_file({"x": images, "y": chance.integers(0, 10, count)}, folder / f"{name}.safetensors")
    return Path(shutil.copy(Path(__file__).parent / "tasks" / "fashion-cnn.toml", folder / "task.toml"))


def workers(member: Member) -> list[psutil.Process]:
    """Worker processes below *member*'s daemon."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any("train.worker" in word for word in words) and any(str(member.datadir) in word for word in words):
            found.append(process)
    return found


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def computing(member: Member) -> psutil.Process:
    """The member's worker, once it computes."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for process in workers(member):
            if alive(process) and sum(process.cpu_times()[:2]) > TRAINING_CPU_S:
                return process
        await asyncio.sleep(0.1)
    raise SystemExit(f"{member.name} did not begin to train within {PATIENCE_S:.0f} s")


async def interrupted(face: Client, member: Member) -> tuple[float, float]:
    """Seconds from the order until the API answered, and until the worker was gone."""
    process = await computing(member)
    began = time.perf_counter()
    await face.command(SetMode(Mode.OFF))
    answered = time.perf_counter() - began
    await asyncio.to_thread(process.wait, PATIENCE_S)
    return answered, time.perf_counter() - began


async def measure(folder: Path, repeats: int) -> Figures:
    plan = make_plan(folder / "devnet", validators=4, trainers=2, seed=1, byzantine=[])
    rig = plan.trainers[0]
    order = replace(load_task_file(task(folder / "task")), batches_per_segment=200, segments=16)
    seen: list[tuple[float, float]] = []

    def tell(course: Course) -> None:
        pass

    async with bench_worker(folder) as (child, blobs), Processes(plan) as processes:
        await Requester(plan, processes, child, blobs, tell).order(order)
        face = await processes.face(rig)
        for _ in range(repeats):
            await face.command(SetMode(Mode.AUTO))
            seen.append(await interrupted(face, rig))
    gone = [each for _, each in seen]
    return {
        "repetitions": repeats,
        "api_answers_ms_median": statistics.median(each for each, _ in seen) * 1_000,
        "worker_gone_s_median": statistics.median(gone),
        "worker_gone_s_most": max(gone),
        "worker_gone_s": gone,
        "target_s": 2.0,
    }


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--repeats", type=int, default=5)
    options = made.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="potminer-yield-"))
    try:
        figures = asyncio.run(measure(folder, options.repeats))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish("yield", figures, options)


if __name__ == "__main__":
    main()
