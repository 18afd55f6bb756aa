"""The processes of a devnet: started as a user would start them, and ended by us alone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from potminer.base.errors import PotminerError, Unreachable
from potminer.devnet.plan import Member, Plan
from potminer.world.api.attach import Client, find
from potminer.world.paths import locate

START_S = 60.0
STOP_S = 12.0


class Processes:
    """Use as ``async with``: leaving ends every process it started, with SIGKILL where asking did not help."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._faces: dict[str, Client] = {}

    async def __aenter__(self) -> Self:
        for member in self.plan.members:
            await self.start(member)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_all()

    async def start(self, member: Member, environment: Mapping[str, str] | None = None) -> None:
        """*environment*: variables that this one process gets besides ours."""
        frozen = bool(getattr(sys, "frozen", False))
        command = [sys.executable] if frozen else [sys.executable, "-m", "potminer.cli.main"]
        command += ["--datadir", str(member.datadir), "run", "--headless"]
        if member.byzantine is not None:
            command += ["--byzantine", member.byzantine]
        with (member.datadir / "output.log").open("ab") as output:
            self._running[member.name] = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**_clean_environment(), **(environment or {})}, start_new_session=True,
            )

    async def kill(self, member: Member) -> None:
        """As a power cut would: the node and its worker, at once."""
        await self._forget(member)
        process = self._running.pop(member.name)
        _kill_group(process)
        await process.wait()

    def freeze(self, member: Member) -> None:
        """Stop the node where it stands, as a swapping machine or a suspended laptop would; ``thaw`` lets it go on."""
        self._running[member.name].send_signal(signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        self._running[member.name].send_signal(signal.SIGCONT)

    def code(self, member: Member) -> int | None:
        """What *member*'s process ended with; None while it runs, or where it was never started or was killed."""
        process = self._running.get(member.name)
        return None if process is None else process.returncode

    async def face(self, member: Member) -> Client:
        """A client of *member*'s API, once it answers; Unreachable where it was not started."""
        if member.name in self._faces:
            return self._faces[member.name]
        paths = locate({}, datadir=member.datadir)
        deadline = asyncio.get_running_loop().time() + START_S
        while True:
            self._check_alive(member)
            with suppress(Unreachable):
                async with AsyncExitStack() as opened:
                    client = await opened.enter_async_context(Client(find(paths)))
                    await client.snapshot()
                    opened.pop_all()
                self._faces[member.name] = client
                return client
            if asyncio.get_running_loop().time() > deadline:
                raise PotminerError(f"{member.name} does not answer", f"See {member.datadir / 'output.log'}.")
            await asyncio.sleep(0.1)

    def _check_alive(self, member: Member) -> None:
        process = self._running.get(member.name)
        if process is None:
            raise Unreachable(f"{member.name} is not running")
        if process.returncode is not None:
            said = _tail(member.datadir / "output.log")
            raise PotminerError(f"{member.name} ended with code {process.returncode}", said)

    async def _forget(self, member: Member) -> None:
        client = self._faces.pop(member.name, None)
        if client is not None:
            await client.__aexit__(None, None, None)

    async def stop_all(self) -> None:
        for client in self._faces.values():
            await client.__aexit__(None, None, None)
        self._faces.clear()
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
                if sys.platform != "win32":
                    process.send_signal(signal.SIGCONT)  # a frozen one hears nothing else
        for process in self._running.values():
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                _kill_group(process)
                await process.wait()
        self._running.clear()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _clean_environment() -> dict[str, str]:
    """Ours, without settings that would redirect a member to somewhere else."""
    return {name: value for name, value in os.environ.items() if not name.startswith("POTMINER_")}


def _tail(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")[-800:].strip()
    return ""
