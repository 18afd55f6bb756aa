"""A daemon killed in every step of a hand-over gives its miner back at its next start. Real daemon, fake miners.

The fakes hold the hand-over in the step that is wanted: by not answering, by what they say, or by what they do not do.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from aiohttp import web
from fakes.miners import FakeTrex
from fakes.xmrig import FakeXmrig

from potminer.devnet.plan import make_plan
from potminer.world.paths import locate
from potminer.world.store.store import Store

pytestmark = pytest.mark.e2e

CONFIG = """
[node]
role = "trainer"
host = "127.0.0.1"
port = 0
[idle]
policy = "idle_only"
min_idle_s = 0
quiet_s = 1
cpu_util_max_percent = 100
remote = "ignored"
full_screen = "ignored"
[worker]
device = "cpu"
threads = 1
[[miners]]
kind = "{kind}"
url = "{url}"
"""


@dataclass
class Miner:
    """One of the fakes: how it is paused, how it earns, and what it was told."""

    fake: FakeXmrig | FakeTrex

    @property
    def kind(self) -> str:
        return "xmrig" if isinstance(self.fake, FakeXmrig) else "trex"

    @property
    def server(self) -> FakeXmrig:
        return self.fake if isinstance(self.fake, FakeXmrig) else self.fake.server  # type: ignore[return-value]

    @property
    def paused(self) -> bool:
        return self.fake.paused if isinstance(self.fake, FakeXmrig) else bool(self.fake.reply["paused"])

    def earn(self, *, rate: int) -> None:
        if isinstance(self.fake, FakeXmrig):
            self.fake.rates, self.fake.connected = [rate or None] * 3, rate > 0
        else:
            self.fake.reply["hashrate"] = rate
            for gpu in self.fake.reply["gpus"]:
                gpu["hashrate"] = rate

    def heed(self, heeds: bool) -> None:
        self.fake.heedless = not heeds

    def mute(self, muted: bool) -> None:
        """It listens and answers nothing that can be read."""
        self.server.raw = web.Response(status=503) if muted else None


class Daemon:
    def __init__(self, datadir: Path) -> None:
        self.datadir = datadir
        self.process: asyncio.subprocess.Process | None = None
        self.lines: list[str] = []

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "potminer.cli.main", "--datadir", str(self.datadir), "run",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )

    async def hear(self, word: str) -> None:
        """Until the log says *word*."""
        assert self.process is not None
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            self.lines.append(line)
            if word in line:
                return
        raise AssertionError(f"it ended before it said {word!r}: {''.join(self.lines)[-2_000:]}")

    async def kill(self) -> None:
        """As a power cut: the daemon and its workers at once."""
        assert self.process is not None
        family = [self.process.pid, *(p.pid for p in psutil.Process(self.process.pid).children(recursive=True))]
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        await self.process.wait()
        self.process = None

    async def close(self) -> None:
        if self.process is not None:
            await self.kill()


async def journal(datadir: Path) -> dict[bytes, bytes]:
    async with Store.open(locate({}, datadir=datadir).database) as store:
        return {key: value for key, value in (await store.load_journal()).items() if key.startswith(b"duty/")}


def pool_gone(miner: Miner) -> None:
    miner.earn(rate=0)


def ignores(miner: Miner) -> None:
    pool_gone(miner)
    miner.heed(False)


STEPS: dict[str, Callable[[Miner], None]] = {
    "releasing": ignores,  # it answers OK and goes on: the hand-over waits for it
    "verifying": pool_gone,
    "training": pool_gone,
    "draining": pool_gone,
    "restoring": pool_gone,
}


@pytest.mark.parametrize("kind", ["xmrig", "trex"])
async def test_a_daemon_killed_in_any_step_restores_its_miner_at_the_next_start(kind: str, tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "net", validators=1, trainers=1, seed=3, byzantine=[])
    datadir = plan.trainers[0].datadir
    miner = Miner(FakeXmrig() if kind == "xmrig" else FakeTrex())
    daemon = Daemon(datadir)
    async with asyncio.timeout(120), miner.server as server:
        (datadir / "potminer.toml").write_text(CONFIG.format(kind=kind, url=server.url), encoding="utf-8")
        try:
            for step, prepare in STEPS.items():
                prepare(miner)
                await daemon.start()
                await reach(daemon, step, miner)
                await daemon.kill()
                assert await journal(datadir), f"killed in {step}, and nothing says that the miner must run"
                miner.heed(True)
                miner.earn(rate=1_000)
                if step in ("verifying", "training", "restoring"):
                    assert miner.paused, "without us it would stay so"
                await daemon.start()
                await daemon.hear("cpu: cooldown")
                assert not miner.paused, f"killed in {step}"
                await daemon.kill()
                assert await journal(datadir) == {}, f"restored after {step}, and still noted"
        finally:
            await daemon.close()


async def reach(daemon: Daemon, step: str, miner: Miner) -> None:
    """Until the daemon is in *step*. The last two follow from the miner's running beside our work."""
    if step in ("releasing", "verifying", "training"):
        await daemon.hear(f"cpu: {step}")
        return
    await daemon.hear("cpu: training")
    # Asked back, it says OK and stays as it is: however slow we are, nothing is restored before the kill.
    miner.heed(False)
    asked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "potminer.cli.main", "--datadir", str(daemon.datadir), "mode", "mine",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    await daemon.hear(f"cpu: {step}")
    if asked.returncode is None:
        asked.kill()
    await asked.wait()
