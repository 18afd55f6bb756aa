"""The dashboard on a terminal of its own: first paint, key to repaint, and its cost, with 3 rigs of 12 cards at 2 Hz.

A pseudo-terminal is read byte by byte: a screen counts as painted when its own words have come.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

import psutil
import record

ROOT = Path(__file__).resolve().parents[1]
RIGS, GPUS = 3, 12
WORDS = {"5": b"Committee", "6": b"Days", "7": b"Together", "1": b"Earnings"}
"""Key of a screen, and what only a repaint of that screen says."""
ROUNDS = 5
WATCH_S = 20.0


class Terminal:
    def __init__(self, *command: str, columns: int = 120, lines: int = 40) -> None:
        self.began = time.perf_counter()
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT)}
        self._ours = ours
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
        )
        os.close(theirs)

    def until(self, word: bytes, within_s: float = 30.0) -> float:
        """When *word* was written, in seconds of the clock."""
        seen, deadline = b"", time.perf_counter() + within_s
        while word not in seen:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.perf_counter()))
            if not ready:
                raise SystemExit(f"{word!r} never came; the end of what did: {seen[-400:]!r}")
            seen = seen[-4_096:] + os.read(self._ours, 65_536)
        return time.perf_counter()

    def drain(self, for_s: float) -> None:
        deadline = time.perf_counter() + for_s
        while (left := deadline - time.perf_counter()) > 0:
            if select.select([self._ours], [], [], left)[0]:
                os.read(self._ours, 65_536)

    def press(self, key: str) -> float:
        os.write(self._ours, key.encode())
        return time.perf_counter()

    def end(self) -> None:
        self.press("q")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        os.close(self._ours)


def spent_by(process: psutil.Process) -> float:
    """Seconds of CPU, which neighbours cannot take away as they can wall time."""
    times = process.cpu_times()
    return times.user + times.system


def measure(folder: Path) -> record.Figures:
    potminer = [sys.executable, "-m", "potminer.cli.main"]
    others = [word for number in range(1, RIGS) for word in ("--connect", str(folder / f"rig-{number}"))]
    terminal = Terminal(*potminer, "--datadir", str(folder / "rig-0"), "dashboard", *others)
    painted = terminal.until(b"rig-0") - terminal.began
    process = psutil.Process(terminal.process.pid)
    start = spent_by(process)
    terminal.drain(3.0)
    repaints, worked = [], []
    for _ in range(ROUNDS):
        for key, word in WORDS.items():
            before, pressed = spent_by(process), terminal.press(key)
            repaints.append(terminal.until(word) - pressed)
            worked.append(spent_by(process) - before)
            terminal.drain(1.3)
    shares = {}
    for key, name in (("1", "overview"), ("7", "rigs")):
        terminal.press(key)
        terminal.drain(3.0)
        before, began = spent_by(process), time.perf_counter()
        terminal.drain(WATCH_S)
        shares[name] = (spent_by(process) - before) / (time.perf_counter() - began)
    resident = process.memory_info().rss
    terminal.end()
    return {
        "rigs": RIGS,
        "gpus": GPUS,
        "first_paint_ms": {"wall": round(1000 * painted), "cpu": round(1000 * start)},
        "repaint_ms": {"p50": round(1000 * statistics.median(repaints)), "max": round(1000 * max(repaints)),
                       "cpu_p50": round(1000 * statistics.median(worked)), "cpu_max": round(1000 * max(worked))},
        "core_percent": {name: round(100 * share, 2) for name, share in shares.items()},
        "resident_mib": round(resident / 2**20),
    }


def main() -> None:
    options = record.parser(__doc__ or "").parse_args()
    with tempfile.TemporaryDirectory(prefix="pm-") as folder:
        command = [sys.executable, str(ROOT / "benchmarks/rigs.py"), folder, str(RIGS), str(GPUS)]
        rigs = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert rigs.stdout is not None
            rigs.stdout.readline()
            figures = measure(Path(folder))
        finally:
            rigs.communicate(b"", timeout=30)
    record.finish("dashboard", figures, options)


if __name__ == "__main__":
    main()
