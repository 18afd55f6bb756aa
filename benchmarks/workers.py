"""Several workers of one rig: what each takes of the host's memory, and that on a small host they load torch in turn.

    .venv/bin/python benchmarks/workers.py [--workers 4]      about a minute

Real worker processes on the CPU, one unit each of the digits task and of a CNN with as many samples as Fashion-MNIST
(drawn at random: what counts here is how many bytes they are). A worker loads torch with its first job; on a host of
8 GiB or less the next one begins when that is done.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import tomlkit
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import record

from potminer.node.crew import Crew, CrewHands
from potminer.node.taskfile import load_task_file
from potminer.train.folder import Folder
from potminer.train.weights import encode_weights, initial_weights
from potminer.wire.task import TaskSpec, Unit
from potminer.wire.trainer import Trained, TrainJob
from potminer.world.assets import asset
from potminer.world.child import Launch

LIMIT_MIB = 1_024
TORCH_MIB = 120
"""A worker without torch is far below, one with it far above."""


@dataclass
class Watch:
    """Looks at our children's memory, twenty times a second, from a thread of its own."""

    peaks: dict[int, float] = field(default_factory=dict)
    began: dict[int, float] = field(default_factory=dict)
    """When a worker was first seen to load torch."""
    loaded: dict[int, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.wait(0.05):
            for child in psutil.Process().children():
                with suppress(psutil.Error):
                    mib, now = child.memory_info().rss / 2**20, time.monotonic()
                    self.peaks[child.pid] = max(mib, self.peaks.get(child.pid, 0.0))
                    if mib > TORCH_MIB:
                        self.began.setdefault(child.pid, now)

    def most_at_once(self) -> int:
        """How many loaded torch at the same moment."""
        spans = [(self.began[pid], self.loaded[pid]) for pid in self.began if pid in self.loaded]
        return max((sum(a < at + 1e-9 <= b for a, b in spans) for at, _ in spans), default=0)


def images(folder: Path) -> TaskSpec:
    """The Fashion-MNIST task with random images in their number."""
    source = asset("tasks/fashion.toml")
    said = tomlkit.parse(source.read_text(encoding="utf-8"))
    rng = np.random.default_rng(1)
    for split, count in (("train", 60_000), ("validation", 10_000)):
        path = folder / f"{split}.safetensors"
        x = rng.standard_normal((count, 1, 28, 28), dtype=np.float32)
        save_file({"x": x, "y": rng.integers(0, 10, count, dtype=np.int64)}, path)
        said["data"][split] = str(path)
    path = folder / "fashion.toml"
    path.write_text(tomlkit.dumps(said), encoding="utf-8")
    return spec_of(path, folder)


def spec_of(path: Path, folder: Path) -> TaskSpec:
    task, blobs = load_task_file(path), Folder(folder)
    weights = encode_weights(task.model, initial_weights(task.model, seed=1))
    return task.to_spec(
        train=blobs.write(task.train.read_bytes()), validation=blobs.write(task.validation.read_bytes()),
        initial_model=blobs.write(weights),
    )


async def measure(folder: Path, spec: TaskSpec, workers: int, *, one_by_one: bool) -> record.Figures:
    watch = Watch()

    def note(level: str, line: str) -> None:
        words = line.split()
        if "worker" in words and "none yet" not in line and words[words.index("worker") + 1].rstrip(":").isdigit():
            watch.loaded.setdefault(int(words[words.index("worker") + 1].rstrip(":")), time.monotonic())

    hands = CrewHands(
        lambda: time.time_ns() // 1_000_000, note, lambda bus, run: None, lambda bus: None, lambda bus, run: None
    )
    crew = Crew({"cpu": (Launch(folder, device="cpu", threads=1),) * workers}, one_by_one=one_by_one, hands=hands)
    looking = threading.Thread(target=watch.run)
    looking.start()
    began = time.monotonic()
    try:
        await crew.start("cpu", 1)
        units = [Unit(bytes(32), 0, 0, slot, bytes(32), bytes(32)) for slot in range(workers)]
        jobs = (TrainJob(at, spec, unit, spec.initial_model) for at, unit in enumerate(units, 1))
        reports = await asyncio.gather(*(crew.work(job) for job in jobs))
        took = time.monotonic() - began
    finally:
        watch.over.set()
        looking.join()
        await crew.stop_all()
    assert all(isinstance(report, Trained) for report in reports), reports
    return {
        "peak_rss_mib": round(max(watch.peaks.values())), "together_mib": round(sum(watch.peaks.values())),
        "loading_at_once": watch.most_at_once(), "all_done_s": round(took, 1),
    }


async def run(workers: int) -> record.Figures:
    figures: record.Figures = {"workers": workers}
    with tempfile.TemporaryDirectory(prefix="pm-") as name:
        folder = Path(name)
        spec = spec_of(asset("tasks/digits.toml"), folder)
        figures["digits"] = {
            "in_turn": await measure(folder, spec, workers, one_by_one=True),
            "at_once": await measure(folder, spec, workers, one_by_one=False),
        }
        cnn = images(folder)
        figures["fashion"] = {"in_turn": await measure(folder, cnn, workers, one_by_one=True)}
    return figures




def main() -> None:
    made = record.parser(__doc__ or "")
    made.add_argument("--workers", type=int, default=4)
    options: argparse.Namespace = made.parse_args()
    figures = asyncio.run(run(options.workers))
    record.finish("workers", figures, options)
    worst = max(each["peak_rss_mib"] for task in ("digits", "fashion") for each in figures[task].values())
    turns = max(figures[task]["in_turn"]["loading_at_once"] for task in ("digits", "fashion"))
    if worst > LIMIT_MIB or turns > 1:
        raise SystemExit(f"{worst} MiB in a worker, {turns} loading at once: 1 GiB and 1 are allowed")


if __name__ == "__main__":
    main()
