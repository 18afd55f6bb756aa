"""A walk by keys through every screen of a real dashboard in tmux, at three sizes and in a storm of them.

    .venv/bin/python benchmarks/walk.py      needs tmux; --show prints every picture
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCREENS = {
    "1": "Chain", "2": "GPUs", "3": "Miners", "4": "Training", "5": "Network", "6": "Days", "7": "Together",
    "8": "Log", "9": "rig.name", "d": "system",
}  # fmt: skip
SIZES = ((80, 24), (120, 40), (20, 5))
SESSION = "potminer-walk"


def tmux(*words: str) -> str:
    return subprocess.run(["tmux", "-L", SESSION, *words], capture_output=True, text=True, check=True).stdout


def shown_within(word: str, seconds: float) -> tuple[bool, str]:
    deadline = time.monotonic() + seconds
    while True:
        picture = tmux("capture-pane", "-p", "-t", SESSION)
        if word in picture or time.monotonic() > deadline:
            return word in picture, picture
        time.sleep(0.1)


def storm(columns: int, lines: int) -> list[str]:
    """Forty sizes in four seconds, down to one line: afterwards the picture fits again."""
    for turn in range(40):
        size = (str(20 + 37 * turn % 140), str(1 + 13 * turn % 50))
        tmux("resize-window", "-t", SESSION, "-x", size[0], "-y", size[1])
        time.sleep(0.1)
    tmux("resize-window", "-t", SESSION, "-x", str(columns), "-y", str(lines))
    tmux("send-keys", "-t", SESSION, "2")
    whole, picture = shown_within("Mining, 24 h", 15)
    if whole:
        whole, picture = shown_within("q Quit", 15)
    if whole and len(picture.splitlines()) == lines:
        return []
    return [f"{columns}x{lines}: after the storm of sizes: {picture[-200:]}"]


def walk(folder: Path, columns: int, lines: int, *, show: bool) -> list[str]:
    """What went wrong, a line each."""
    potminer = [sys.executable, "-m", "potminer.cli.main"]
    command = [*potminer, "--datadir", str(folder / "rig-0"), "dashboard", "--connect", str(folder / "rig-1")]
    run = f"cd {shlex.quote(str(ROOT))} && PYTHONPATH=. {shlex.join(command)}; echo ended with $?; exec sleep 60"
    tmux("new-session", "-d", "-s", SESSION, "-x", str(columns), "-y", str(lines), "bash", "-c", run)
    faults = []
    try:
        if not shown_within("potminer", 30)[0]:
            faults.append(f"{columns}x{lines}: no first picture")
        for key, word in SCREENS.items():
            tmux("send-keys", "-t", SESSION, key)
            wanted = word if columns >= 80 else ""
            found, picture = shown_within(wanted, 15)
            if show:
                sys.stdout.write(f"---- {key} at {columns}x{lines}\n{picture}")
            if not found or "Traceback" in picture or "ended with" in picture:
                faults.append(f"{columns}x{lines}: screen {key} does not say {word}")
        for key in ("?", "Escape", "/", "x", "Escape", ":", "Escape", "w", "x", "x", "7", "Down", "Enter"):
            tmux("send-keys", "-t", SESSION, key)
            time.sleep(0.4)
        if columns >= 80 and not shown_within("rig-1", 10)[0]:
            faults.append(f"{columns}x{lines}: Enter on Rigs does not visit rig-1")
        if columns >= 80:
            faults += storm(columns, lines)
        tmux("send-keys", "-t", SESSION, "q")
        found, picture = shown_within("ended with 0", 15)
        if not found:
            faults.append(f"{columns}x{lines}: q does not end it well: {picture[-200:]}")
    finally:
        tmux("kill-session", "-t", SESSION)
    return faults


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--show", action="store_true", help="print what every screen shows")
    options = made.parse_args()
    faults = []
    with tempfile.TemporaryDirectory(prefix="pm-") as folder:
        command = [sys.executable, str(ROOT / "benchmarks/rigs.py"), folder, "2", "6"]
        rigs = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert rigs.stdout is not None
            rigs.stdout.readline()
            # A server that ends with its last session refuses a session that comes at that moment.
            tmux("start-server", ";", "set-option", "-g", "exit-empty", "off")
            for columns, lines in SIZES:
                faults += walk(Path(folder), columns, lines, show=options.show)
        finally:
            subprocess.run(["tmux", "-L", SESSION, "kill-server"], capture_output=True, check=False)
            rigs.communicate(b"", timeout=30)
    for fault in faults:
        sys.stdout.write(fault + "\n")
    sys.stdout.write(f"{len(SCREENS)} screens at {len(SIZES)} sizes, {len(faults)} faults\n")
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
