"""A recording: what a dashboard saw of a daemon, in a file, and a source that shows it again.

One JSON a line: a photograph, as ``potminer status --watch --json`` writes it too, or an answer to a question that the
screens ask (``potminer record``). What a recording never heard it does not know.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec
from msgspec.structs import replace

from potminer.base.errors import Malformed, NotPermitted, PotminerError, UsageError
from potminer.dashboard.source import Source
from potminer.wire.answers import DayView, EarningsDetail, LogLevel, LogTail, NetworkView, SettingsView
from potminer.wire.control import (
    REPLY_BYTES,
    SNAPSHOT_BYTES,
    Command,
    Photo,
    Snapshot,
    TaskDetail,
    UnitOutcome,
    from_json,
)
from potminer.wire.proven import ProvenView

RECORDING_BYTES = 64 * 2**20
LINE_BYTES = SNAPSHOT_BYTES + REPLY_BYTES
ASK_S = 10.0
UNITS, LOG_LINES = 200, 1_000
_LONGEST_WAIT_MS = 2_000
_MARK = b'{"heard":'
_LEVELS = tuple(LogLevel)
T = TypeVar("T")


class Heard(Photo, frozen=True, kw_only=True):
    """Answers, each None where it was not asked for or is what was heard before. *heard* is the form's version."""

    heard: int = 1
    network: NetworkView | None = None
    earnings: EarningsDetail | None = None
    units: tuple[UnitOutcome, ...] | None = None
    log: LogTail | None = None
    settings: SettingsView | None = None
    day: DayView | None = None
    task: TaskDetail | None = None


class Recording:
    """A Source that shows the file at *path* at *speed* times the pace it was taken; a long silence is cut short."""

    def __init__(self, path: Path, *, speed: float = 1.0) -> None:
        self._path, self._speed = path, speed
        self._newest: Snapshot | None = None
        self._heard = Heard()

    def check(self) -> None:
        """UsageError where the file does not begin with a photograph."""
        try:
            with self._path.open("rb") as file:
                self._read(file.readline(LINE_BYTES))
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read: {error.strerror}", "Check the path.") from error

    def now_ms(self) -> int:
        return 0 if self._newest is None else self._newest.taken_ms

    def photographs(self) -> AsyncGenerator[Snapshot, None]:
        """All of them at once, and then the end."""
        return self._show(paced=False)

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        async with aclosing(self._show(paced=True)) as shown:
            async for photograph in shown:
                yield photograph
        await asyncio.Event().wait()

    async def _show(self, *, paced: bool) -> AsyncGenerator[Snapshot, None]:
        with self._path.open("rb") as file:
            while line := await asyncio.to_thread(file.readline, LINE_BYTES):
                found = self._read(line)
                if not isinstance(found, Snapshot):
                    self._heard = _newer(self._heard, found)
                    continue
                wait = found.taken_ms - self.now_ms() if self._newest is not None else 0
                if paced:
                    await asyncio.sleep(max(0, min(wait / self._speed, _LONGEST_WAIT_MS)) / 1000)
                self._newest = found
                yield found

    def _read(self, line: bytes) -> Snapshot | Heard:
        kind: type[Snapshot | Heard] = Heard if line.startswith(_MARK) else Snapshot
        try:
            found: Snapshot | Heard = from_json(kind, line, max_bytes=LINE_BYTES)
        except Malformed as error:
            hint = "`potminer record FILE` writes one. What `run --record` writes is for `potminer simulate policy`."
            raise UsageError(f"{self._path} is not a recording: {error}", hint) from error
        return found

    # ---- what it heard -------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        if self._newest is None:
            raise NotPermitted("the recording has not begun")
        return self._newest

    async def command(self, command: Command) -> None:
        raise NotPermitted("this is a recording", "Attach to a daemon to give orders.")

    async def task(self, task: str) -> TaskDetail:
        found = self._heard.task
        if found is None or found.task.task != task:
            raise _not_recorded()
        return found

    async def units(self, *, last: int) -> tuple[UnitOutcome, ...]:
        if self._heard.units is None:
            raise _not_recorded()
        return self._heard.units[:last]

    async def network(self) -> NetworkView:
        return _known(self._heard.network)

    async def earnings(self, *, units: int) -> EarningsDetail:
        found = _known(self._heard.earnings)
        return replace(found, units=found.units[:units])

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        found = _known(self._heard.log)
        wanted = _LEVELS[_LEVELS.index(level) :]
        lines = [line for line in found.lines if line.number > after and line.level in wanted]
        return replace(found, lines=tuple(lines[-last:]))

    async def settings(self) -> SettingsView:
        return _known(self._heard.settings)

    async def day(self) -> DayView:
        return _known(self._heard.day)

    async def prove(self, photograph: Snapshot, detail: EarningsDetail | None) -> ProvenView:
        """A proof is for whoever checks it: one that is only played back shows nothing."""
        raise NotPermitted("a recording proves nothing", "Attach to a daemon.")


def _known(found: T | None) -> T:
    if found is None:
        raise _not_recorded()
    return found


def _not_recorded() -> NotPermitted:
    return NotPermitted("the recording does not hold this", "`potminer record` hears what every screen asks.")


def _newer(old: Heard, new: Heard) -> Heard:
    said = {name: value for name in new.__struct_fields__ if (value := getattr(new, name)) is not None}
    return replace(old, **said)


# ---- making one --------------------------------------------------------------------------


class Tape:
    """A new file that only its owner may read; it holds addresses, earnings and log lines."""

    def __init__(self, path: Path, *, room: int = RECORDING_BYTES) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise NotPermitted(f"{path} cannot be written: {error.strerror}", "Name a new file.") from error
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self._room = room
        self.photographs = 0

    def write(self, what: Snapshot | Heard) -> bool:
        """Whether there was room."""
        line = msgspec.json.encode(what) + b"\n"
        self._room -= len(line)
        if self._room < 0:
            return False
        self._file.write(line)
        self._file.flush()
        self.photographs += isinstance(what, Snapshot)
        return True

    def close(self) -> None:
        self._file.close()


async def record(source: Source, tape: Tape, *, clock: Callable[[], float]) -> None:
    """Everything that *source* shows, until it ends or the tape is full. *clock* in seconds."""
    heard, asked = Heard(), -ASK_S
    async with aclosing(source.watch()) as photographs:
        async for photograph in photographs:
            if not tape.write(photograph):
                return
            if clock() - asked < ASK_S:
                continue
            asked = clock()
            answers = await _ask(source, photograph)
            fresh = {n: v for n in answers.__struct_fields__ if (v := getattr(answers, n)) != getattr(heard, n)}
            heard = _newer(heard, answers)
            if fresh and not tape.write(Heard(**fresh)):
                return


async def _ask(source: Source, photograph: Snapshot) -> Heard:
    """What the screens would ask now; what the node does not know or cannot say is left out."""
    found: dict[str, object] = {}
    task = photograph.training
    questions: dict[str, Callable[[], Awaitable[object]]] = {
        "network": source.network, "settings": source.settings, "day": source.day,
        "earnings": lambda: source.earnings(units=UNITS), "units": lambda: source.units(last=UNITS),
        "log": lambda: source.log(after=0, last=LOG_LINES, level=LogLevel.DEBUG),
    }  # fmt: skip
    if task is not None:
        questions["task"] = lambda: source.task(task.task)
    for name, question in questions.items():
        with suppress(PotminerError):
            found[name] = await question()
    return Heard(**found)  # type: ignore[arg-type]
