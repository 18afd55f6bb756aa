"""A miner that potminer itself starts: to pause it is to end it, to resume it is to start it again.

Only our own child is ever ended, with SIGTERM to its group first and SIGKILL after a while. What it is, is noted in a
file, so that after a crash of ours the next start finds it again instead of starting a second one. A miner that ends
by itself is started again after a pause that grows; meanwhile it counts as running at 0 H/s, so that duty asks for
the device in an orderly way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import psutil
from msgspec.structs import replace

from potminer.wire.facts import MinerSample
from potminer.world.rig.miners.interface import Capabilities, Failure, Identity, MinerAdapter, MinerError

KIND = "process"
LOG_BYTES = 10_485_760
NOTE_BYTES = 4_096
MARK = "POTMINER_OWNED_MINER"
"""A variable in the miner's environment that names its note: were we killed before the note was written, the next
start finds it by this."""
BEGUN_S = 0.05
"""Two readings of one process's birth differ by a clock tick at most."""


class Known(msgspec.Struct, frozen=True):
    """Which process it is: a pid is used again, a pid with its birth is not."""

    pid: int
    begun: float


@dataclass(frozen=True, slots=True)
class Command:
    """*argv* as it stands, without a shell. *folder*: where it runs; *notes*: a folder of ours for pid and log."""

    argv: tuple[str, ...]
    notes: Path
    folder: Path | None = None
    name: str = "miner"
    patience_s: float = 15.0
    """From SIGTERM to SIGKILL: a miner hands in its last share."""
    again_s: tuple[float, ...] = (3.0, 10.0, 30.0, 60.0, 300.0)
    """Before it is started again after it ended by itself; the last repeats."""
    steady_s: float = 120.0
    """Having run so long, the row begins anew."""


class ProcessMiner:
    """MinerAdapter of an owned child. *api* reads its hash rate where it has an API that we know.

    *started* and *ended* hear its pid, so that its load counts as the miner's and not as ours. ``follow`` keeps it
    running; without it nothing is started. ``close`` ends it.
    """

    kind = KIND
    capabilities = Capabilities(pauses=True, single_gpus=False)

    def __init__(
        self, command: Command, *, clock: Callable[[], int], api: MinerAdapter | None = None,
        strangers: set[int] | None = None,
    ) -> None:
        self.name = f"{KIND}@{command.name}"
        self._command = command
        self._clock = clock
        self._api = api
        self._strangers = set() if strangers is None else strangers
        self._child: asyncio.subprocess.Process | None = None
        self._known = self._recall()
        self._wanted = True
        self._failures = 0
        self._began = 0.0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    # ---- the adapter ----------------------------------------------------------------------

    async def identify(self) -> Identity:
        version = "" if self._api is None else (await self._api.identify()).version
        return Identity(kind=KIND, version=version, writable=True)

    async def read(self) -> MinerSample:
        """Its API's word where it has one; else that it runs, at a rate that nobody knows."""
        now, runs = self._clock(), self._runs()
        if runs and self._api is not None and self._wanted:
            with suppress(MinerError):
                return replace(await self._api.read(), name=self.name, kind=KIND, pauses_single_gpus=False)
        return MinerSample(
            name=self.name, kind=KIND, version="", alive=True, paused=not self._wanted and not runs,
            hashrate_hs=None if runs else 0, uptime_s=None, accepted=None, rejected=None, pauses_single_gpus=False,
            gpus=(), taken_at_ms=now,
        )

    async def pause(self, bus: str | None = None) -> MinerSample:
        async with self._turn:
            self._wanted = False
            self._changed.set()
            await self._end()
            if self._runs():
                raise MinerError(Failure.REFUSED, "it was told to end, and killed, and is still there")
            return await self.read()

    async def resume(self, bus: str | None = None) -> MinerSample:
        async with self._turn:
            self._wanted = True
            if not self._runs():
                await self._start()
            self._changed.set()
            return await self.read()

    # ---- keeping it ------------------------------------------------------------------------

    async def follow(self, note: Callable[[str, str], None]) -> None:
        """Start it, and start it again when it ends by itself, for ever."""
        while True:
            self._changed.clear()
            if self._wanted and not self._runs():
                await self._begin(note)
            wait_s = self._pause_s() if self._wanted and not self._runs() else 1.0
            await self._stirred(wait_s)

    async def close(self) -> None:
        """Ours ends with us: whoever stops potminer stops its miner."""
        async with self._turn:
            self._wanted = False
            await self._end()

    async def _begin(self, note: Callable[[str, str], None]) -> None:
        loop = asyncio.get_running_loop()
        if self._began and loop.time() - self._began >= self._command.steady_s:
            self._failures = 0
        if self._failures and not await self._waited():
            return
        async with self._turn:
            if not self._wanted or self._runs():
                return
            self._failures += 1
            try:
                await self._start()
                note("info", f"{self.name} started (pid {self._known.pid if self._known else 0})")
            except MinerError as error:
                note("warning", f"{self.name}: {error}")

    async def _waited(self) -> bool:
        """The pause before another start; False where somebody decided otherwise meanwhile."""
        return not await self._stirred(self._pause_s())

    async def _stirred(self, within_s: float) -> bool:
        """``timeout`` and not ``wait_for``: in Python 3.11 that loses a cancellation that comes with the event."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await self._changed.wait()
        return False

    def _pause_s(self) -> float:
        waits = self._command.again_s
        return waits[min(max(0, self._failures - 1), len(waits) - 1)]

    # ---- the process ------------------------------------------------------------------------

    def _runs(self) -> bool:
        if self._child is not None:
            return self._child.returncode is None
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        """The one that an earlier start of ours left behind, if it is still the same."""
        known = self._known
        if known is None:
            return None
        try:
            process = psutil.Process(known.pid)
            same = abs(process.create_time() - known.begun) < BEGUN_S and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return process if same else None

    async def _start(self) -> None:
        command = self._command
        try:
            with self._log() as log:
                self._child = await asyncio.create_subprocess_exec(
                    *command.argv, cwd=command.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**os.environ, MARK: str(self._note)}, start_new_session=sys.platform != "win32",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
            self._know(Known(self._child.pid, psutil.Process(self._child.pid).create_time()))
        except (OSError, ValueError, psutil.Error) as error:
            raise MinerError(Failure.REFUSED, f"it cannot be started: {type(error).__name__}") from error
        self._began = asyncio.get_running_loop().time()

    async def _end(self) -> None:
        if self._runs() and self._known is not None:
            self._signal(signal.SIGTERM)
            if not await self._gone(self._command.patience_s):
                self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
                await self._gone(self._command.patience_s)
        if not self._runs():
            self._child = None
            self._know(None)

    async def _gone(self, within_s: float) -> bool:
        """Whether it ended in that time. Its own exit is what is waited for; an adopted one is looked at."""
        process = self._process()
        if self._child is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._child.wait()
        elif process is not None:
            with suppress(psutil.Error):
                await asyncio.to_thread(process.wait, within_s)
        return not self._runs()

    def _signal(self, number: int) -> None:
        """To its group, which is ours to end: it was made for it alone."""
        known = self._known
        if known is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                os.kill(known.pid, signal.SIGTERM)
            else:
                os.killpg(known.pid, number)

    # ---- notes ------------------------------------------------------------------------------

    @property
    def _note(self) -> Path:
        return self._command.notes / f"{self._command.name}.json"

    def _know(self, known: Known | None) -> None:
        if self._known is not None:
            self._strangers.discard(self._known.pid)
        self._known = known
        if known is None:
            self._note.unlink(missing_ok=True)
            return
        self._strangers.add(known.pid)
        draft = self._note.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(known))
        draft.replace(self._note)

    def _recall(self) -> Known | None:
        try:
            with self._note.open("rb") as file:
                known = msgspec.json.decode(file.read(NOTE_BYTES), type=Known)
        except (OSError, msgspec.DecodeError, UnicodeError):
            known = None
        self._known = known
        if self._process() is None:
            self._known = known = self._marked()
        if known is not None:
            self._strangers.add(known.pid)
        return known

    def _marked(self) -> Known | None:
        """The leader of a group that bears our mark."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == str(self._note) and _leads(process.pid):
                    return Known(process.pid, process.create_time())
        return None

    def _log(self) -> BinaryIO:
        path = self._command.notes / f"{self._command.name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path.open("ab")


def _leads(pid: int) -> bool:
    return sys.platform == "win32" or os.getpgid(pid) == pid


def command_of(
    argv: Sequence[str], notes: Path, *, folder: str = "", number: int = 1
) -> Command:
    """*number*: which of the config's miners it is."""
    where = Path(folder).expanduser() if folder else None
    return Command(tuple(argv), notes, where, f"miner-{number}")
