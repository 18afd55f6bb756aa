"""The worker process that holds torch, seen from the node: requests in, reports out, kept alive.

A worker says that it lives every two seconds. One that falls silent, speaks nonsense or ends
is killed with its process group and started again after a pause that grows; the requests it
held are answered Failed(``child-died``), those not yet sent wait for the next worker.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from potminer.base.errors import Malformed
from potminer.wire.codec import decode, encode
from potminer.wire.trainer import PIPE_BYTES, Cancel, Failed, Heartbeat, Job, Progress, Ready, Report

WORKER_ARGUMENT = "__worker__"
"""First argument by which a frozen potminer (no ``python -m``) knows that it is to be a worker."""
OUTSTANDING = 256
"""Requests that may wait for answers; more are answered ``busy``."""
STDERR_BYTES = 65_536


class ChildState(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    """Spawned, not yet heard."""
    RUNNING = "running"
    WAITING = "waiting"
    """Dead; the next one starts after a pause."""


LEGAL_MOVES: dict[ChildState, frozenset[ChildState]] = {
    ChildState.STOPPED: frozenset({ChildState.STARTING}),
    ChildState.STARTING: frozenset({ChildState.RUNNING, ChildState.WAITING, ChildState.STOPPED}),
    ChildState.RUNNING: frozenset({ChildState.WAITING, ChildState.STOPPED}),
    ChildState.WAITING: frozenset({ChildState.STARTING, ChildState.STOPPED}),
}


@dataclass(frozen=True, slots=True)
class Launch:
    """How a worker is started and how long it is borne with."""

    blobs: Path
    device: str = "auto"
    threads: int = 1
    max_bytes: int = 4 * 1024**3
    nice: int = 0
    cheat: str | None = None
    bus: str = ""
    """The card that *device* must be; refused where torch says that it is another."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the worker gets besides ours: which cards it sees."""
    silence_ms: int = 30_000
    """No word for so long: dead. Importing torch from a cold disk takes ten seconds of this."""
    pauses_ms: tuple[int, ...] = (5_000, 30_000, 120_000)
    """Before the next start; the last one repeats. An answered job starts the row anew."""
    stop_ms: int = 5_000
    """From the closing of its stdin to the kill."""

    def command(self) -> list[str]:
        frozen = bool(getattr(sys, "frozen", False))
        start = [sys.executable, WORKER_ARGUMENT] if frozen else [sys.executable, "-m", "potminer.train.worker"]
        options = {"blobs": self.blobs, "device": self.device, "threads": self.threads, "nice": self.nice}
        words = [f"--{name}={value}" for name, value in options.items()]
        words.append(f"--max-bytes={self.max_bytes}")
        if self.bus:
            words.append(f"--bus={self.bus}")
        return start + words + ([f"--cheat={self.cheat}"] if self.cheat else [])


@dataclass(slots=True)
class _Request:
    job: Job
    answer: asyncio.Future[Report]
    sent: bool = False


@dataclass(slots=True)
class _Tail:
    """The last STDERR_BYTES of what a worker printed."""

    chunks: deque[bytes] = field(default_factory=deque)
    held: int = 0

    def add(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.held += len(chunk)
        while self.held > STDERR_BYTES:
            self.held -= len(self.chunks.popleft())

    def text(self) -> str:
        return b"".join(self.chunks).decode(errors="replace")


class Child:
    """``async with Child(launch) as child: report = await child.request(job)``.

    *on_progress* hears Progress, *on_state* every change of ``state``, *on_ready* what device
    a worker chose and why; none of them may raise.
    """

    def __init__(
        self,
        launch: Launch,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_state: Callable[[ChildState], None] = lambda state: None,
        on_ready: Callable[[Ready], None] = lambda ready: None,
    ) -> None:
        self._launch = launch
        self._on_progress = on_progress
        self._on_state = on_state
        self._on_ready = on_ready
        self._requests: dict[int, _Request] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._last_job = 0
        self._failures = 0
        self._tail = _Tail()
        self.state = ChildState.STOPPED
        self.ready: Ready | None = None
        """What the worker said last about its device; None while there is no worker."""
        self.resident_bytes = 0

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ---- what the node says --------------------------------------------------------------

    def start(self) -> None:
        if self._supervisor is not None:
            raise AssertionError("a child is started once at a time")
        self._supervisor = asyncio.create_task(self._supervise(), name="child")

    def next_job(self) -> int:
        """A job number that this child has not seen."""
        self._last_job += 1
        return self._last_job

    async def request(self, job: Job) -> Report:
        """The one answer to *job*, Failed included; no fault of a worker is ever raised here.

        Waits while no worker runs. Cancelling the caller gives the job up.
        """
        if isinstance(job, Cancel) or job.job in self._requests:
            raise AssertionError(f"job {job.job} is asked for twice, or is a cancellation")
        if len(encode(job)) > PIPE_BYTES:
            return Failed(job.job, "fault", f"a job of more than {PIPE_BYTES} bytes")
        if self._supervisor is None:
            return Failed(job.job, "stopped", "the worker was stopped")
        if len(self._requests) >= OUTSTANDING:
            return Failed(job.job, "busy", f"{OUTSTANDING} jobs wait already")
        request = _Request(job, asyncio.get_running_loop().create_future())
        self._requests[job.job] = request
        try:
            self._send_waiting()
            return await request.answer
        except asyncio.CancelledError:
            self.cancel(job.job)
            raise

    def cancel(self, job: int) -> None:
        """Give *job* up: answered Failed(``cancelled``) at its next micro-batch, at once if it was not yet sent."""
        request = self._requests.get(job)
        if request is None:
            return
        if request.sent:
            self._write(Cancel(job))
        else:
            self._answer(Failed(job, "cancelled", "given up before it began"))

    async def stop(self, within_ms: int | None = None) -> None:
        """Let the worker end by itself, then kill it; what it had not answered is answered ``stopped``.

        *within_ms* is how long it is waited for, where that is less than the launch allows.
        """
        patience_ms = self._launch.stop_ms if within_ms is None else min(within_ms, self._launch.stop_ms)
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        process = self._process
        if process is not None and process.stdin is not None:
            process.stdin.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(patience_ms / 1_000):
                    await process.wait()
        supervisor.cancel()
        with suppress(asyncio.CancelledError):
            await supervisor
        for job in list(self._requests):
            self._answer(Failed(job, "stopped", "the worker was stopped"))
        if self.state is not ChildState.STOPPED:
            self._move(ChildState.STOPPED)

    def stderr(self) -> str:
        """The end of what workers printed, for the log."""
        return self._tail.text()

    # ---- keeping one alive ---------------------------------------------------------------

    async def _supervise(self) -> None:
        while True:
            self._move(ChildState.STARTING)
            ending = await self._live()
            if self._supervisor is None:
                return
            self._move(ChildState.WAITING)
            for job, request in list(self._requests.items()):
                if request.sent:
                    self._answer(Failed(job, "child-died", ending))
            pauses = self._launch.pauses_ms
            pause = pauses[min(self._failures, len(pauses) - 1)]
            self._failures += 1
            await asyncio.sleep(pause / 1_000)

    async def _live(self) -> str:
        """One worker from its birth to its end; how it ended."""
        try:
            process = await self._spawn()
        except OSError as error:
            return f"could not be started: {error}"
        if process.stdout is None or process.stderr is None:
            raise AssertionError("a worker has pipes")
        self._process = process
        printed = asyncio.create_task(self._keep_stderr(process.stderr), name="child-stderr")
        try:
            ending = await self._listen(process.stdout)
        finally:
            self._process, self.ready, self.resident_bytes = None, None, 0
            _kill(process)
            await process.wait()
            printed.cancel()
        return f"{ending} (exit code {process.returncode})"

    async def _spawn(self) -> asyncio.subprocess.Process:
        """In a group of its own, so that Ctrl-C reaches the node only and a kill reaches all of the worker."""
        windows = sys.platform == "win32"
        return await asyncio.create_subprocess_exec(
            *self._launch.command(),
            env={**os.environ, **dict(self._launch.environment)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=not windows,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    async def _listen(self, stdout: asyncio.StreamReader) -> str:
        """Take reports until there are no more to take; why."""
        while True:
            try:
                async with asyncio.timeout(self._launch.silence_ms / 1_000):
                    report = await _read_report(stdout)
            except TimeoutError:
                return f"silent for {self._launch.silence_ms} ms"
            except asyncio.IncompleteReadError:
                return "ended"
            except (Malformed, OSError) as error:
                return f"spoke nonsense: {error}"
            self._take(report)

    def _take(self, report: Report) -> None:
        match report:
            case Heartbeat():
                self.resident_bytes = report.resident_bytes
            case Ready():
                self.ready = report
                self._on_ready(report)
                if self.state is ChildState.STARTING:
                    self._move(ChildState.RUNNING)
                self._send_waiting()
            case Progress():
                self._on_progress(report)
            case Failed():
                self._answer(report)
            case _:
                self._failures = 0
                self._answer(report)

    async def _keep_stderr(self, stream: asyncio.StreamReader) -> None:
        while chunk := await stream.read(4_096):
            self._tail.add(chunk)

    # ---- words ---------------------------------------------------------------------------

    def _send_waiting(self) -> None:
        if self.state is not ChildState.RUNNING:
            return
        for request in self._requests.values():
            if not request.sent:
                request.sent = True
                self._write(request.job)

    def _write(self, job: Job) -> None:
        """Bounded by OUTSTANDING jobs of at most PIPE_BYTES; a broken pipe is noticed by the listener."""
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            body = encode(job)
            process.stdin.write(len(body).to_bytes(4, "big") + body)

    def _answer(self, report: Report) -> None:
        job = getattr(report, "job", 0)
        request = self._requests.pop(job, None)
        if request is not None and not request.answer.done():
            request.answer.set_result(report)

    def _move(self, to: ChildState) -> None:
        if to not in LEGAL_MOVES[self.state]:
            raise AssertionError(f"a child cannot go from {self.state} to {to}")
        self.state = to
        self._on_state(to)


async def _read_report(stdout: asyncio.StreamReader) -> Report:
    length = int.from_bytes(await stdout.readexactly(4), "big")
    if length > PIPE_BYTES:
        raise Malformed(f"a report of {length} bytes")
    body = await stdout.readexactly(length)
    return decode(Report, body, max_bytes=PIPE_BYTES)  # type: ignore[arg-type]


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
