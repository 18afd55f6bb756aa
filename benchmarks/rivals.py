"""Training beside others in one run: plain PyTorch, DistributedDataParallel, hivemind, and a devnet of ours.

Two trainers of one thread each, McMahan's CNN on Fashion-MNIST, batch 64, everything on loopback. PyTorch and hivemind
trust their peers and check nothing; a devnet has four validators, and its trainers audit one another. hivemind lives in
an environment that this script makes for it. Flower does not install here (docs/training-results.md).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from efficiency import TRAINERS, Case, ddp, devnet, fashion, plain, summary
from record import Figures, finish, parser
from safetensors.numpy import load_file

from potminer.node.taskfile import load_task_file

PINNED = ("torch==2.13.0", "hivemind==1.1.12")
"""A benchmark's dependency, never the product's."""


def environment(folder: Path) -> Path:
    """The Python of an environment with hivemind in it, made where it is not there yet."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PINNED], check=True, timeout=600)
    return python


def hivemind(python: Path, data: Path, *, seconds: float, target: int) -> Figures:
    """Samples a second computed by both peers, and credited in averaged steps."""
    with tempfile.TemporaryDirectory() as place:
        tensors = load_file(data)
        for name in "xy":
            np.save(Path(place) / f"{name}.npy", tensors[name])
        command = [str(python), str(Path(__file__).with_name("hivemind_peer.py")), "--place", place]
        command += ["--seconds", str(seconds), "--target", str(target)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        running = [subprocess.Popen([*command, "--rank", str(rank)], **pipes) for rank in range(TRAINERS)]
        try:
            said = [each.communicate(timeout=seconds + 300)[0].split() for each in running]
        finally:
            for each in running:
                each.kill()
    if not all(len(each) == 2 for each in said):
        raise SystemExit("a peer of hivemind's ended without a figure")
    return {"computed": sum(float(each[0]) for each in said), "credited": max(float(each[1]) for each in said)}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "potminer-hivemind")
    made.add_argument("--seconds", type=float, default=40)
    made.add_argument("--case", type=Case.said, default=Case.said("grown:20:4"), metavar="WHO:SECONDS:ROUNDS")
    made.add_argument("--without-us", action="store_true", help="leave the devnet out")
    options: argparse.Namespace = made.parse_args()
    python = environment(options.environment)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    folder = Path(tempfile.mkdtemp(prefix="potminer-rivals-"))
    try:
        path = fashion(folder / "fashion")
        if path is None:
            raise SystemExit("Fashion-MNIST is missing: apt-get install dataset-fashion-mnist")
        task = load_task_file(path)

        def light() -> tuple[float, float]:
            return plain(path, processes=TRAINERS, threads=1, seconds=8)

        first = light()
        figures: Figures = {"DDP": ddp(path, folder / "ddp", steps=120)}
        figures["hivemind, 1,024 a step"] = hivemind(python, task.train, seconds=options.seconds, target=1_024)
        figures["hivemind, 4,096 a step"] = hivemind(python, task.train, seconds=options.seconds, target=4_096)
        second = light()
        figures["plain"] = (first[0] + second[0]) / 2
        if not options.without_us:
            ours = options.case.of(task, per_second=figures["plain"] / TRAINERS)
            ran = asyncio.run(devnet(ours, folder / "devnet", bond=options.case.bond))
            figures["potminer"] = summary(*ran, ours, light=figures["plain"], per_cpu_s=first[1])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish("rivals", figures, options, note="samples a second; plain is two processes of one thread, before and after")


if __name__ == "__main__":
    main()
