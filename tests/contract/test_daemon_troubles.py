"""A real daemon in trouble: full disk, foreign folder, no network, impatient owner. It says so and ends well."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from potminer.base.errors import Exit, PotminerError, Unreachable
from potminer.cli.main import main
from potminer.devnet.plan import Plan, make_plan
from potminer.wire.genesis import chain_id
from potminer.wire.tx import Transaction, Transfer, sign_transaction
from potminer.world.api.attach import Client, find
from potminer.world.paths import locate

PATIENCE_S = 90


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A chain of one validator, which needs nobody else to make blocks; and a trainer."""
    return make_plan(tmp_path / "net", validators=1, trainers=1, seed=1, byzantine=[])


class Daemon:
    def __init__(self, process: asyncio.subprocess.Process, datadir: Path) -> None:
        self.process = process
        self.datadir = datadir

    async def face(self) -> Client:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                assert self.process.returncode is None, await self.words()
                try:
                    client = Client(find(locate({}, datadir=self.datadir)))
                    async with client as node:
                        await node.snapshot()
                    return client
                except Unreachable:
                    await asyncio.sleep(0.1)

    async def end(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            return await self.process.wait()

    async def words(self) -> str:
        return (self.datadir.parent / f"{self.datadir.name}.out").read_text()


@asynccontextmanager
async def started(datadir: Path, *wrapper: str) -> AsyncIterator[Daemon]:
    """`potminer run --headless` on *datadir*, inside *wrapper*; ended whatever happens."""
    command = [*wrapper, sys.executable, "-m", "potminer.cli.main", "--datadir", str(datadir), "run", "--headless"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POTMINER_")}
    with (datadir.parent / f"{datadir.name}.out").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ
        )
    try:
        yield Daemon(process, datadir)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def powerless() -> Sequence[str]:
    """Root writes wherever it likes; without this capability it is told off like everybody."""
    if os.getuid():
        return ()
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")


async def pay(plan: Plan, daemon: Daemon, count: int) -> int:
    """*count* transfers, each awaited; the height of the last."""
    height = 0
    async with await daemon.face() as node:
        genesis = await node.genesis()
        for _ in range(count):
            account = await node.account(plan.requester.public)
            body = Transfer(bytes(range(32)), 1)
            fee = genesis.parameters.minimum_fee
            transaction = Transaction(
                chain_id(genesis), plan.requester.public, account.nonce, fee, account.height + 100, body
            )
            receipt = await node.post(sign_transaction(transaction, plan.requester), wait_ms=10_000)
            assert receipt.height is not None
            height = receipt.height
    return height


async def test_a_folder_that_nobody_may_write_is_said(plan: Plan) -> None:
    datadir = plan.trainers[0].datadir
    datadir.chmod(0o500)
    try:
        async with started(datadir, *powerless()) as daemon:
            assert await daemon.end() == Exit.NOT_PERMITTED
            said = await daemon.words()
    finally:
        datadir.chmod(0o700)
    assert said.startswith("error: ")
    assert str(datadir) in said
    assert "Traceback" not in said
    assert "bug" not in said


async def test_a_disk_that_is_full_at_the_start_is_said(plan: Plan) -> None:
    """As a full disk: no file may grow beyond 8 KiB."""
    datadir = plan.trainers[0].datadir
    async with started(datadir, "prlimit", "--fsize=8192") as daemon:
        assert await daemon.end() == Exit.FAILURE
        said = await daemon.words()
    assert said.startswith("error: ")
    assert "Traceback" not in said
    assert "bug" not in said


async def test_a_disk_that_fills_up_ends_the_node_and_loses_nothing_final(plan: Plan) -> None:
    datadir = plan.validators[0].datadir
    async with started(datadir) as daemon:
        height = await pay(plan, daemon, 2)
        now = max(each.stat().st_size for each in datadir.glob("potminer.sqlite*"))
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (now + 16_384, now + 16_384))
        with pytest.raises((PotminerError, AssertionError)):
            await pay(plan, daemon, 200)
        assert await daemon.end() == Exit.FAILURE
        said = await daemon.words()
        assert said.startswith("error: ")
        assert "Traceback" not in said
    async with started(datadir) as daemon:
        assert await pay(plan, daemon, 1) > height, "what was final is there, and the chain goes on"


async def test_without_a_network_it_waits_and_says_so(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """Its validators do not run: the node lives, answers, and leaves when asked to."""
    datadir = plan.trainers[0].datadir
    async with started(datadir) as daemon:
        node = await daemon.face()
        async with node, asyncio.timeout(PATIENCE_S), aclosing(node.watch()) as photographs:
            async for seen in photographs:
                assert seen.chain.peers == 0
                if any("no other node" in alert.text for alert in seen.alerts):
                    break
        assert await asyncio.to_thread(main, ["--datadir", str(datadir), "status"]) == Exit.OK
        assert "no other node" in capsys.readouterr().out
        daemon.process.terminate()
        async with asyncio.timeout(30):
            assert await daemon.process.wait() == Exit.OK


async def test_a_second_signal_means_now(plan: Plan) -> None:
    """Both wait while the process is stopped, so they arrive together: the first is still being heeded."""
    async with started(plan.trainers[0].datadir) as daemon:
        await daemon.face()
        daemon.process.send_signal(signal.SIGSTOP)
        daemon.process.send_signal(signal.SIGINT)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGCONT)
        assert await daemon.end() == Exit.INTERRUPTED


async def test_the_log_is_json_a_line_and_bounded(plan: Plan) -> None:
    datadir = plan.trainers[0].datadir
    assert main(["--datadir", str(datadir), "config", "set", "logs.format", "json"]) == Exit.OK
    async with started(datadir) as daemon:
        await daemon.face()
        daemon.process.terminate()
        assert await daemon.end() == Exit.OK
    lines = [json.loads(line) for line in (datadir / "logs/potminer.log").read_text().splitlines()]
    assert {frozenset(line) for line in lines} == {frozenset({"time", "level", "line"})}
    assert lines[-1]["line"] == "leaving"
    assert lines[0]["time"].endswith("Z")
