"""potminer's validators beside PySyncObj (Raft), four nodes each on this machine, one after the other, as ratios.

PySyncObj promises less: its commands are not signed, its members may crash but not lie, and by default it
keeps its log in memory only; its clients are its own processes, without an API between. The ratio says what that costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from commits import real
from record import Figures, finish, parser

PINNED = "pysyncobj==0.3.17"
"""A benchmark's dependency, never the product's: it lives in an environment of its own."""
NODES = 4
COMMAND_BYTES = 190
"""As large as a signed transfer."""


def environment(folder: Path) -> Path:
    """The Python of an environment with PySyncObj in it, made where it is not there yet."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--no-deps", PINNED], check=True)
    return python


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def raft(python: Path, *, seconds: float, window: int) -> Figures:
    """All four submit at once, *window* commands each under way."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(NODES)]
    node = Path(__file__).with_name("raft_node.py")
    running = [
        subprocess.Popen(
            [str(python), str(node), str(seconds), str(window), str(COMMAND_BYTES), own,
             *(other for other in addresses if other != own)],
            stdout=subprocess.PIPE, text=True,
        )
        for own in addresses
    ]
    told = [json.loads(each.communicate(timeout=seconds + 60)[0]) for each in running]
    committed = sum(each["committed"] for each in told)
    return {
        "committed": committed,
        "failed": sum(each["failed"] for each in told),
        "committed_per_s": committed / max(each["seconds"] for each in told),
        "cpu_us_per_command_and_node": sum(each["cpu_s"] for each in told) / max(1, committed) / NODES * 1e6,
        "p50_ms": max(each["p50_ms"] for each in told),
        "p99_ms": max(each["p99_ms"] for each in told),
    }


def compared(options: argparse.Namespace) -> Figures:
    home = Path(options.environment or Path(tempfile.gettempdir()) / "potminer-benchmark-raft")
    theirs = raft(environment(home), seconds=options.seconds, window=options.window)
    ours = asyncio.run(real(options, "api"))
    return {
        "pysyncobj": theirs,
        "potminer": ours,
        "ours_to_theirs": {
            "committed_per_s": ours["committed_tx_per_s"] / theirs["committed_per_s"],
            "cpu_per_command": ours["cpu_us_per_tx_and_validator"] / theirs["cpu_us_per_command_and_node"],
            "p50": (ours["wait_for_block_p50_ms"] + ours["node_commit_p50_ms"]) / theirs["p50_ms"],
            "p99": (ours["wait_for_block_p99_ms"] + ours["node_commit_p99_ms"]) / theirs["p99_ms"],
        },
    }


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seconds", type=float, default=20.0)
    made.add_argument("--window", type=int, default=512, help="commands under way per PySyncObj node")
    made.add_argument("--clients", type=int, default=48, help="lanes of API requests to the validators")
    made.add_argument("--block", type=int, default=2_000, help="most transactions of a validators' block")
    made.add_argument("--environment", default=None, help="folder of the environment that PySyncObj is installed in")
    options = made.parse_args()
    options.py_spy, options.feeders = None, 1
    random.seed(1)
    finish("raft", compared(options), options, note="PySyncObj: unsigned, crash faults only, log in memory")


if __name__ == "__main__":
    main()
