"""What it costs to start and to stand still: wall time and resident memory of every kind of process.

Commands are run several times, in turn with ``python -c pass``, and the medians given with what
Python itself takes. Daemons and workers are real ones, of a devnet that has nothing to do.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import tomlkit
from record import Figures, finish, parser

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/contract"))

from fakes.xmrig import FakeXmrig

from potminer.devnet.plan import Member, make_plan
from potminer.devnet.processes import Processes
from potminer.wire.model import Mlp
from potminer.wire.trainer import Initialised, InitialiseJob
from potminer.world.child import Child, Launch

MIB = 2**20
COMMANDS = {
    "python": ["-c", "pass"],
    "help": ["-m", "potminer.cli.main", "--help"],
    "version": ["-m", "potminer.cli.main", "version"],
    "import_daemon": ["-c", "import potminer.node.life"],
    "import_dashboard": ["-c", "import potminer.dashboard.app"],
    "import_torch_bench": ["-c", "import potminer.train.bench"],
}
IDLE_S = 120.0


LAUNCHER = """
import os, sys, time
began = time.perf_counter()
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
pid = os.posix_spawn(sys.executable, [sys.executable, *sys.argv[1:]], os.environ, file_actions=silent)
_, status, used = os.wait4(pid, 0)
print(status, time.perf_counter() - began, used.ru_maxrss)
"""
"""A process counts its parent's memory as its own until it has executed: so the parent is a bare Python."""


def once(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and greatest resident MiB of one run."""
    launched = [sys.executable, "-I", "-S", "-c", LAUNCHER, *arguments]
    status, wall, kib = subprocess.run(launched, capture_output=True, text=True, check=True).stdout.split()
    if int(status):
        raise SystemExit(f"python {' '.join(arguments)} failed")
    return float(wall), int(kib) / 1024


def commands(repeats: int) -> Figures:
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for turn in range(repeats + 1):
        for name, arguments in COMMANDS.items():
            result = once(arguments)
            if turn:  # the first turn writes byte code and warms the disk's cache
                seen[name].append(result)
    return {
        name: {
            "s": statistics.median(wall for wall, _ in results),
            "s_least": min(wall for wall, _ in results),
            "rss_mib": statistics.median(rss for _, rss in results),
        }
        for name, results in seen.items()
    }


def resident(process: psutil.Process) -> float:
    return process.memory_info().rss / MIB


def _mines(member: Member, miner: str) -> None:
    """An owner's rig: its miner earns, and a program of the owner's is watched for."""
    path = member.datadir / "potminer.toml"
    file = tomlkit.parse(path.read_text(encoding="utf-8"))
    file["idle"] = {"policy": "idle_only", "exclusive": ["blender"]}
    file.append("miners", tomlkit.aot())
    file["miners"].append(tomlkit.item({"kind": "xmrig", "url": miner}))  # type: ignore[union-attr]
    path.write_text(tomlkit.dumps(file), encoding="utf-8")


async def idle(folder: Path) -> Figures:
    """Four validators and two trainers that wait for a task, one on duty with its worker, one beside a miner that
    earns; no face looks at them. Memory, and share of a core over IDLE_S: CPU time as the kernel counts it."""
    plan = make_plan(folder / "devnet", validators=4, trainers=2, seed=1, byzantine=[])
    async with FakeXmrig() as miner:
        _mines(plan.trainers[1], miner.url)
        async with Processes(plan) as processes:
            for member in plan.members:
                await processes.face(member)
            await asyncio.sleep(10)
            found = {name: process for process in psutil.Process().children() if (name := _member(process))}
            before, began = {name: sum(p.cpu_times()[:2]) for name, p in found.items()}, time.monotonic()
            await asyncio.sleep(IDLE_S)
            spent = time.monotonic() - began
            cpu = {name: 100 * (sum(p.cpu_times()[:2]) - before[name]) / spent for name, p in found.items()}
            validators = [name for name in found if name.startswith("validator")]
            worker = found["trainer-0"].children()
            return {
                "validator_rss_mib": statistics.median(resident(found[name]) for name in validators),
                "validator_core_percent": statistics.median(cpu[name] for name in validators),
                "trainer_daemon_rss_mib": resident(found["trainer-0"]),
                "trainer_daemon_core_percent": cpu["trainer-0"],
                "miners_daemon_rss_mib": resident(found["trainer-1"]),
                "miners_daemon_core_percent": cpu["trainer-1"],
                "trainer_worker_before_any_job_rss_mib": resident(worker[0]) if worker else None,
            }


def _member(process: psutil.Process) -> str:
    words = process.cmdline()
    return Path(words[words.index("--datadir") + 1]).name if "--datadir" in words else ""


async def worker(folder: Path) -> Figures:
    """A worker of ours: until it speaks, until its first job that needs no torch, and with torch loaded."""
    began = time.perf_counter()
    async with Child(Launch(blobs=folder, device="cpu", threads=1)) as child:
        report = await child.request(InitialiseJob(child.next_job(), Mlp(64, (64,), 10), 1))
        if not isinstance(report, Initialised):
            raise SystemExit(f"the worker answered {report!r}")
        first_s = time.perf_counter() - began
        own = next(p for p in psutil.Process().children() if any("train.worker" in word for word in p.cmdline()))
        return {"first_answer_s": first_s, "without_torch_rss_mib": resident(own)}


def with_torch() -> float:
    """Resident MiB of a process that has the training room and has trained one step."""
    code = (
        "import psutil, torch, potminer.train.bench; from potminer.train.model import build;"
        "from potminer.wire.model import Cnn; torch.set_num_threads(1); m = build(Cnn(1, 28, 28, (32, 64), 5, 512, 10),"
        "'cpu'); m(torch.zeros(64, 1, 28, 28)).sum().backward(); print(psutil.Process().memory_info().rss)"
    )
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) / MIB


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--repeats", type=int, default=7)
    options = made.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="potminer-imports-"))
    try:
        figures: Figures = {
            "commands": commands(options.repeats),
            "idle": asyncio.run(idle(folder)),
            "worker": {**asyncio.run(worker(folder)), "with_torch_after_a_cnn_step_rss_mib": with_torch()},
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish("imports", figures, options)


if __name__ == "__main__":
    main()
