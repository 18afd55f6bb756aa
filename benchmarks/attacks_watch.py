"""What is watched while an attack runs: memory, open files and logs of every validator."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from commits import pids
from record import Figures

from potminer.devnet.plan import Plan
from potminer.devnet.processes import Processes

SAMPLE_S = 0.25
GRAVE = (" ERROR ", "Traceback", " CRITICAL ")


@dataclass
class Watch:
    """Memory in MiB and open files, by the name of a validator."""

    plan: Plan
    processes: Processes
    before: dict[str, tuple[float, int]] = field(default_factory=dict)
    most: dict[str, tuple[float, int]] = field(default_factory=dict)
    logs: dict[str, int] = field(default_factory=dict)

    def sample(self) -> dict[str, tuple[float, int]]:
        found = {}
        for name, pid in pids(self.processes).items():
            try:
                process = psutil.Process(pid)
                found[name] = process.memory_info().rss / 2**20, process.num_fds()
            except psutil.Error:
                continue
        for name, (memory, files) in found.items():
            held = self.most.get(name, (0.0, 0))
            self.most[name] = max(held[0], memory), max(held[1], files)
        return found

    async def run(self) -> None:
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_S)

    def begin(self) -> None:
        self.most.clear()
        self.before = self.sample()
        self.logs = {str(path): path.stat().st_size for path in self._files()}

    def _files(self) -> list[Path]:
        return [
            path for member in self.plan.validators
            for path in (member.datadir / "output.log", *member.datadir.glob("logs/*")) if path.is_file()
        ]  # fmt: skip

    def figures(self) -> Figures:
        after = self.sample()
        names = [name for name in after if name in self.before]
        grown, grave = 0, 0
        for path in self._files():
            with path.open("rb") as file:
                file.seek(min(self.logs.get(str(path), 0), path.stat().st_size))
                said = file.read().decode(errors="replace")
            grown += len(said)
            grave += sum(any(word in line for word in GRAVE) for line in said.splitlines())
        return {
            "memory_mib": [round(max((self.before[n][0] for n in names), default=0)),
                           round(max((each[0] for each in self.most.values()), default=0)),
                           round(max((after[n][0] for n in names), default=0))],
            "files": [max((self.before[n][1] for n in names), default=0),
                      max((each[1] for each in self.most.values()), default=0),
                      max((after[n][1] for n in names), default=0)],
            "log_kib": round(grown / 1024),
            "log_grave": grave,
        }  # fmt: skip
