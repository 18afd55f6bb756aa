"""Training beside others in one run: plain PyTorch, DistributedDataParallel, hivemind, Flower, and a devnet of ours.

Two trainers of one thread each, McMahan's CNN on Fashion-MNIST, batch 64, everything on loopback. PyTorch, hivemind and
Flower trust their peers and check nothing; a devnet has four validators, and its trainers audit one another. hivemind
and Flower live in environments that this script makes for them, Flower without what its own pins ask for.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from efficiency import TRAINERS, Case, ddp, devnet, end_with_us, fashion, plain, summary
from record import Figures, finish, parser
from safetensors.numpy import load_file

from potminer.node.taskfile import load_task_file

TORCH = "torch==2.13.0"
HIVEMIND = (TORCH, "hivemind==1.1.12")
FLOWER_ALONE = ("flwr==1.13.1",)
"""Flower pins its dependencies so narrowly (cryptography below 43, protobuf below 5, numpy below 2 or 3, a certifi for
each) that no solution was found among what mirrors have; it runs with the newest of them."""
FLOWER_NEEDS = (
    TORCH, "numpy", "grpcio", "protobuf<6", "cryptography", "pycryptodome", "iterators", "typer", "tomli", "tomli-w",
    "pathspec", "rich", "pyyaml", "requests",
)  # fmt: skip
"""Benchmarks' dependencies, never the product's."""


def environment(folder: Path, *installs: tuple[str, ...]) -> Path:
    """The Python of an environment made by these calls of pip's, where it is not there yet."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    made = folder / "potminer-made"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        for words in installs:
            subprocess.run([str(python), "-m", "pip", "install", "-q", *words], check=True, timeout=600)
        made.touch()
    return python


def lay_out(place: Path, data: Path) -> None:
    """The data as arrays that any environment can read."""
    tensors = load_file(data)
    for name in "xy":
        np.save(place / f"{name}.npy", tensors[name])


def flower(python: Path, data: Path, *, seconds: float, per_thread: float, rounds: int) -> float:
    """Samples a second credited in rounds that compute for so many *seconds* a client."""
    with tempfile.TemporaryDirectory() as place, socket.socket() as free:
        lay_out(Path(place), data)
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        script = [str(python), str(Path(__file__).with_name("flower_peer.py")), address]
        steps = max(1, round(seconds * per_thread / 64))
        told = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
        server = subprocess.Popen(
            [*script, "--serve", "--rounds", str(rounds)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=told,
        )
        clients = [
            subprocess.Popen(
                [*script, "--place", place, "--rank", str(rank), "--steps", str(steps)], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env=told,
            )
            for rank in range(TRAINERS)
        ]
        try:
            said = server.communicate(timeout=rounds * seconds * 4 + 120)[0]
        finally:
            for each in (server, *clients):
                each.kill()
                each.wait()
    if not said.strip():
        raise SystemExit("Flower's server ended without a figure")
    return float(said)


def hivemind(python: Path, data: Path, *, seconds: float, target: int) -> Figures:
    """Samples a second computed by both peers, and credited in averaged steps."""
    with tempfile.TemporaryDirectory() as place:
        lay_out(Path(place), data)
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
    made.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()), help="where they are made")
    made.add_argument("--seconds", type=float, default=40)
    made.add_argument("--case", type=Case.said, default=Case.said("grown:20:4"), metavar="WHO:SECONDS:ROUNDS")
    made.add_argument("--without-us", action="store_true", help="leave the devnet out")
    made.add_argument("--without", choices=("hivemind", "Flower"), action="append", default=[], help="leave one out")
    options: argparse.Namespace = made.parse_args()
    hive, flwr = options.environments / "potminer-hivemind", options.environments / "potminer-flower"
    python = {
        "hivemind": lambda: environment(hive, HIVEMIND),
        "Flower": lambda: environment(flwr, ("--no-deps", *FLOWER_ALONE), FLOWER_NEEDS),
    }
    ready = {name: made_by() for name, made_by in python.items() if name not in options.without}
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    end_with_us()
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
        if "hivemind" in ready:
            for target in (1_024, 4_096):
                found = hivemind(ready["hivemind"], task.train, seconds=options.seconds, target=target)
                figures[f"hivemind, {target:,} a step"] = found
        if "Flower" in ready:
            per_thread, case = first[0] / TRAINERS, options.case
            figures[f"Flower, {case.seconds} s a round"] = flower(
                ready["Flower"], task.train, seconds=case.seconds, per_thread=per_thread, rounds=case.rounds
            )
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
