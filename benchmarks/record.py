"""What every benchmark shares: timing that survives noise, and one line per run in results.jsonl."""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("results.jsonl")
Figures = dict[str, Any]


def parser(about: str) -> argparse.ArgumentParser:
    """The options every benchmark takes; its first docstring line is the description."""
    made = argparse.ArgumentParser(description=about.partition("\n")[0])
    made.add_argument("--json", action="store_true", help="print the record as JSON")
    made.add_argument("--dry", action="store_true", help="do not append to results.jsonl")
    return made


def per_second(work: Callable[[], object], *, units: int = 1, least_s: float = 0.15, repeats: int = 7) -> float:
    """Median rate of *units* per call and second of this process's CPU time, each repeat lasting at least *least_s*.

    CPU time does not count what neighbours take; what they do to clock and caches remains.
    """
    calls, rates = 1, []
    while len(rates) < repeats:
        began = time.process_time()
        for _ in range(calls):
            work()
        took = time.process_time() - began
        if took < least_s:
            calls = max(calls + 1, int(calls * least_s / max(took, 1e-9)) + 1)
            continue
        rates.append(calls * units / took)
    return statistics.median(rates)


def side_by_side(works: dict[str, Callable[[], object]], *, units: int = 1, repeats: int = 7) -> dict[str, float]:
    """Median CPU seconds per unit of every work, taken in turn, so that a noisy neighbour disturbs all alike."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            gc.collect()  # nobody pays for the rubbish of the one before
            began = time.process_time()
            work()
            took[name].append((time.process_time() - began) / units)
    return {name: statistics.median(values) for name, values in took.items()}


def percentile(values: Sequence[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]


def rounded(value: Any) -> Any:
    """Four significant digits: more would be noise."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(each) for name, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def finish(name: str, figures: Figures, options: argparse.Namespace, *, note: str = "") -> None:
    """Append the record, then print it: a table for people, JSON for scripts."""
    record = {
        "name": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(),
        "load_1min_after": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "note": note,
        "figures": rounded(figures),
    }
    if not options.dry:
        with RESULTS.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    if options.json:
        sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        return
    lines = _flat(record["figures"])
    width = max(len(label) for label, _ in lines)
    sys.stdout.write(f"{name} at {record['commit']}\n")
    sys.stdout.writelines(f"  {label:<{width}}  {value}\n" for label, value in lines)


def _flat(figures: Figures, prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for label, value in figures.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{label}.")
        else:
            shown = f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
            found.append((prefix + label, shown))
    return found


def _commit() -> str:
    """The commit, with ``+dirty`` where the product's own code differs from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", "potminer", "assets")
    return (head or "unknown") + ("+dirty" if changed else "")


def _git(*words: str) -> str:
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _machine() -> dict[str, Any]:
    import psutil

    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "os": platform.platform(),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "msgspec": _version("msgspec"),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
