"""What a validator's start costs: CPU seconds from exec until its API's address is published.

A network of four real validators makes some blocks, with as many accounts in its genesis as asked for, and is killed
as by a power cut. Then one of them is started again and again, alone, on the disk that is left, and killed each time.
CPU time is the kernel's, to the nanosecond: what neighbours take does not count, what they do to caches and clock
does.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from chaos import SENDERS, Town, funded
from record import Figures, finish, parser

from potminer.devnet.plan import Member, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.world.api.lockfile import read_note
from potminer.world.paths import locate

LOOK_S = 0.002
WITHIN_S = 120.0


async def grown(plan: Plan, blocks: int) -> None:
    """Until everybody has *blocks* blocks; then all are killed."""
    async with Processes(plan) as processes:
        town = Town(plan, processes)
        await town.begin()
        clients = asyncio.create_task(town.clients(10.0))

        async def enough() -> bool:
            return min([await town.height_of(member) or 0 for member in plan.validators]) >= blocks

        await town.until(enough, WITHIN_S)
        await asyncio.gather(*(processes.kill(member) for member in plan.validators))
        clients.cancel()
        await asyncio.gather(clients, return_exceptions=True)


def _cpu_s(process: int) -> float:
    """Of all its threads, those that ended included (clock_getcpuclockid)."""
    return time.clock_gettime(~process << 3 | 2)


def once(member: Member) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and resident MiB of one start."""
    lock = locate({}, datadir=member.datadir).lock
    lock.write_bytes(b"")
    command = [sys.executable, "-m", "potminer.cli.main", "--datadir", str(member.datadir), "run", "--headless"]
    began = time.monotonic()
    with (member.datadir / "output.log").open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        while (note := read_note(lock)) is None or not note.address:
            if process.poll() is not None or time.monotonic() > began + WITHIN_S:
                raise SystemExit(f"{member.name} does not start: see {member.datadir / 'output.log'}")
            time.sleep(LOOK_S)
        said = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        resident = next(line for line in said.splitlines() if line.startswith("VmRSS"))
        return _cpu_s(process.pid), time.monotonic() - began, int(resident.split()[1]) / 1024
    finally:
        process.kill()
        process.wait()


def measure(accounts: int, *, blocks: int, repeats: int, folder: Path) -> Figures:
    plan = make_plan(folder, validators=4, trainers=1, seed=1, byzantine=[])
    plan = replace(plan, members=plan.validators)
    funded(plan, accounts)
    asyncio.run(grown(plan, blocks))
    seen = [once(plan.validators[1]) for _ in range(repeats + 1)][1:]
    return {
        "cpu_s": statistics.median(cpu for cpu, _, _ in seen),
        "cpu_s_least": min(cpu for cpu, _, _ in seen),
        "wall_s": statistics.median(wall for _, wall, _ in seen),
        "rss_mib": statistics.median(rss for _, _, rss in seen),
    }


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--accounts", default=f"1000,{SENDERS}", help="accounts in the genesis, one network each")
    made.add_argument("--blocks", type=int, default=20, help="before the network is killed")
    made.add_argument("--repeats", type=int, default=7)
    options = made.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="potminer-starts-"))
    # As installed: a program that compiles its own source at every start takes twice the CPU time for it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    figures: Figures = {"blocks": options.blocks, "repeats": options.repeats}
    try:
        for accounts in (int(each) for each in options.accounts.split(",")):
            figures[f"accounts_{accounts}"] = measure(
                accounts, blocks=options.blocks, repeats=options.repeats, folder=folder / f"a{accounts}"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    finish("starts", figures, options, note="CPU seconds of one process; the wall belongs to the machine")


if __name__ == "__main__":
    main()
