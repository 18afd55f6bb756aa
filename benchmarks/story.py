"""The story of two rigs: they mine, yield by their owner's policy, train and are paid, and go back to their miners.

    .venv/bin/python benchmarks/story.py [--pictures FOLDER]      about two minutes

A real network of processes (four validators, a trainer that does nothing else), two real daemons with the policy
``idle_only``, and two fake miners that speak as T-Rex and xmrig do. There is no GPU here: the device that either miner
gives up is the CPU. The story is told by what the daemons say of themselves: their logs, their API, their dashboard.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import psutil
import tomlkit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/contract"))

import record
from fakes.miners import FakeTrex
from fakes.xmrig import FakeXmrig

from potminer.cli.place import Place
from potminer.cli.sources import Daemon
from potminer.cli.trusted import Examiner
from potminer.dashboard.app import DashboardApp
from potminer.dashboard.source import Berth
from potminer.devnet.course import Requester, bench_worker
from potminer.devnet.plan import Member, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.node.taskfile import load_task_file
from potminer.wire.control import DeviceState, Snapshot
from potminer.wire.task import Reward
from potminer.world.api.attach import find
from potminer.world.assets import asset
from potminer.world.paths import locate

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 200
PATIENCE_S = 240.0
MEMORY_FREE_S = 2.0


@dataclass
class Rig:
    """A daemon of the owner, the miner that has its device, and when what happened."""

    name: str
    member: Member
    fake: FakeTrex | FakeXmrig
    times: dict[str, float] = field(default_factory=dict)

    @property
    def server(self) -> FakeXmrig:
        return self.fake if isinstance(self.fake, FakeXmrig) else self.fake.server  # type: ignore[return-value]

    @property
    def paused(self) -> bool:
        return self.fake.paused if isinstance(self.fake, FakeXmrig) else bool(self.fake.reply["paused"])

    def earn(self, rate: int) -> None:
        """Its pool is there, or gone (0)."""
        if isinstance(self.fake, FakeXmrig):
            self.fake.rates, self.fake.connected = [rate or None] * 3, rate > 0
            return
        self.fake.reply["hashrate"] = rate
        for gpu in self.fake.reply["gpus"]:
            gpu["hashrate"] = rate // len(self.fake.reply["gpus"])

    def configure(self, kind: str) -> None:
        path = self.member.datadir / "potminer.toml"
        file = tomlkit.parse(path.read_text(encoding="utf-8"))
        file["rig"]["name"] = self.name
        file["idle"] = {
            "policy": "idle_only", "min_idle_s": 0, "quiet_s": 2, "cpu_util_max_percent": 100, "remote": "ignored",
            "full_screen": "ignored",
        }
        miners = tomlkit.aot()
        miners.append(tomlkit.item({"kind": kind, "url": self.server.url}))
        file["miners"] = miners
        path.write_text(tomlkit.dumps(file), encoding="utf-8")

    def workers(self) -> list[psutil.Process]:
        """Its processes that may hold a model."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or ())
            if "potminer.train.worker" in words and str(self.member.datadir) in _environment(process):
                found.append(process)
        return found


def _environment(process: psutil.Process) -> str:
    try:
        return " ".join(process.parent().cmdline()) if process.parent() else ""
    except psutil.Error:
        return ""


class Teller:
    def __init__(self, rigs: list[Rig], processes: Processes, pictures: Path | None) -> None:
        self.rigs, self._processes, self._pictures = rigs, processes, pictures
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self._began:7.1f} s  {line}\n")
        sys.stdout.flush()

    async def photograph(self, rig: Rig) -> Snapshot:
        return await (await self._processes.face(rig.member)).snapshot()

    async def until(self, rig: Rig, what: str, holds: Callable[[Snapshot], bool]) -> Snapshot:
        node = await self._processes.face(rig.member)
        async with asyncio.timeout(PATIENCE_S), aclosing(node.watch()) as photographs:
            async for seen in photographs:
                if holds(seen):
                    break
        rig.times[what] = time.monotonic()
        self.say(f"{rig.name}: {what}")
        return seen

    async def all(self, what: str, holds: Callable[[Snapshot], bool]) -> None:
        await asyncio.gather(*(self.until(rig, what, holds) for rig in self.rigs))

    async def picture(self, name: str) -> None:
        """The dashboard as it looks now, on the first rig: Overview, Miners, Rigs and Logs."""
        if self._pictures is None:
            return
        examiner = Examiner(Place(self.rigs[0].member.datadir))
        here, *others = (
            Berth(rig.name, Daemon(partial(find, locate({}, datadir=rig.member.datadir)), examiner))
            for rig in self.rigs
        )
        app = DashboardApp(here.source, lambda: time.time_ns() // 1_000_000, others=others)
        async with app.run_test(size=(120, 36)) as pilot:
            for key, screen in (("1", "overview"), ("3", "miners"), ("7", "rigs"), ("8", "logs")):
                await pilot.press(key)
                await pilot.pause(2.5)
                path = self._pictures / f"{name}-{screen}.svg"
                path.write_text(app.export_screenshot(title=f"potminer: {name}"), encoding="utf-8")
        self.say(f"pictures {self._pictures}/{name}-*.svg")


def device(state: DeviceState) -> Callable[[Snapshot], bool]:
    return lambda seen: bool(seen.devices) and seen.devices[0].state is state


async def owner_returns(teller: Teller, rig: Rig) -> float:
    """``potminer mode mine``: seconds from the daemon's hearing it until the workers, and all they held, were gone."""
    held = rig.workers()
    assert held, "nothing trained"
    command = [sys.executable, "-m", "potminer.cli.main", "--datadir", str(rig.member.datadir), "mode", "mine"]
    teller.say(f"{rig.name}: the owner is back: potminer mode mine ({len(held)} worker)")
    asked = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.DEVNULL)
    gone = asyncio.create_task(asyncio.to_thread(psutil.wait_procs, held, 30))
    await teller.until(rig, "gives way", lambda seen: seen.devices[0].state is not DeviceState.TRAINING)
    _, alive = await gone
    assert not alive, "a worker is still there"
    free_s = time.monotonic() - rig.times["gives way"]
    await asked.wait()
    return free_s


async def tell(teller: Teller, plan: Plan, order: Callable[[], Awaitable[object]]) -> record.Figures:
    await teller.all("its miner earns", device(DeviceState.MINING))
    await order()
    seen = await teller.until(teller.rigs[0], "sees the task", lambda seen: seen.training is not None)
    teller.say(f"the task {seen.training.phase if seen.training else ''}: the rigs mine, one trainer is not enough")
    await teller.picture("1-mining")
    for rig in teller.rigs:
        teller.say(f"{rig.name}: its pool is gone, it hashes nothing")
        rig.earn(0)
        rig.times["pool gone"] = time.monotonic()
    await teller.all("trains", device(DeviceState.TRAINING))
    assert all(rig.paused for rig in teller.rigs), "every miner was paused first"
    await teller.all("has a unit accepted", lambda seen: bool(seen.training and seen.training.my_units.accepted))
    await teller.picture("2-training")
    await teller.all("is paid", lambda seen: seen.earnings.paid > 0)
    await teller.picture("3-paid")
    free = {}
    for rig in teller.rigs:
        rig.earn(1_200)
        free[rig.name] = await owner_returns(teller, rig)
        teller.say(f"{rig.name}: memory is free after {free[rig.name]:.2f} s")
    await teller.all("its miner runs again and its rate is back: verified", device(DeviceState.COOLDOWN))
    assert not any(rig.paused for rig in teller.rigs), "no miner was left paused"
    await teller.picture("4-mining-again")
    return {
        rig.name: {
            "pool_gone_to_training_s": rig.times["trains"] - rig.times["pool gone"],
            "first_unit_after_s": rig.times["has a unit accepted"] - rig.times["trains"],
            "paid_pot": (await teller.photograph(rig)).earnings.paid / 10**9,
            "memory_free_s": free[rig.name],
        }
        for rig in teller.rigs
    }


def print_journal(rig: Rig) -> None:
    sys.stdout.write(f"\n{rig.name}, by its own log:\n")
    for line in (rig.member.datadir / "logs/potminer.log").read_text(encoding="utf-8").splitlines():
        if "cpu: " in line and " worker " not in line.replace("worker:", ""):
            sys.stdout.write(f"  {line}\n")


async def run(folder: Path, pictures: Path | None) -> record.Figures:
    task = load_task_file(asset("tasks/digits.toml"))
    task = replace(task, rounds=ROUNDS, reward=Reward(ROUNDS * 9 * 10**9, task.reward.price_per_unit))
    plan = make_plan(folder / "net", validators=4, trainers=3, seed=11, byzantine=[])
    rigs = [Rig("rig-trex", plan.trainers[1], FakeTrex()), Rig("rig-xmrig", plan.trainers[2], FakeXmrig())]
    async with rigs[0].server, rigs[1].server, bench_worker(plan.folder) as (child, blobs):
        for rig, kind in zip(rigs, ("trex", "xmrig"), strict=True):
            rig.earn(1_200)
            rig.configure(kind)
        async with Processes(plan) as processes:
            requester = Requester(plan, processes, child, blobs, lambda course: None)
            teller = Teller(rigs, processes, pictures)
            figures = await tell(teller, plan, lambda: requester.order(task))
    for rig in rigs:
        print_journal(rig)
    return figures


def main() -> None:
    made = record.parser(__doc__ or "")
    made.add_argument("--pictures", type=Path, help="write the dashboard's pictures, as SVG, into this folder")
    options: argparse.Namespace = made.parse_args()
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pm-") as folder:
        figures = asyncio.run(run(Path(folder), options.pictures))
    sys.stdout.write("\n")
    record.finish("story", figures, options)
    late = [name for name, of in figures.items() if of["memory_free_s"] > MEMORY_FREE_S]
    raise SystemExit(f"memory was not free within {MEMORY_FREE_S} s on {late}" if late else 0)


if __name__ == "__main__":
    main()
