"""What the dashboard showed, recorded and shown again: photographs and answers, on screens and as lines."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
from collections.abc import AsyncGenerator, Callable
from itertools import count
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from potminer.base.errors import Exit, NotPermitted, UsageError
from potminer.cli.main import main
from potminer.cli.recording import ASK_S, Recording, Tape, record
from potminer.dashboard.app import DashboardApp
from potminer.wire.answers import LogLevel
from potminer.wire.control import Pause, Snapshot
from tests.snapshot import answers
from tests.snapshot.conftest import Scripted


class Filmed(Scripted):
    """A daemon that shows its photographs one after the other and goes away."""

    def __init__(self, *photographs: Snapshot) -> None:
        super().__init__(photographs[0])
        self.film = photographs

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        for each in self.film:
            yield each


def film(photograph: Callable[[str], Snapshot]) -> tuple[Snapshot, ...]:
    """The same twice, then trouble."""
    first = photograph("training")
    return first, replace(first, taken_ms=first.taken_ms + 1_000), replace(photograph("trouble"),
                                                                          taken_ms=first.taken_ms + 60_000)


async def recorded(path: Path, *photographs: Snapshot, seconds_a_look: float = ASK_S) -> Path:
    tape, clock = Tape(path), count(0.0, seconds_a_look)
    await record(Filmed(*photographs), tape, clock=lambda: next(clock))
    tape.close()
    return path


async def test_a_recording_answers_what_the_daemon_did(
    tmp_path: Path, photograph: Callable[[str], Snapshot]
) -> None:
    shots = film(photograph)
    path = await recorded(tmp_path / "day.jsonl", *shots)
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    recording, live = Recording(path), Filmed(*shots)
    with pytest.raises(NotPermitted, match="has not begun"):
        await recording.snapshot()
    assert [each async for each in recording.photographs()] == list(shots)
    assert recording.now_ms() == shots[-1].taken_ms
    assert await recording.network() == await live.network()
    assert await recording.settings() == await live.settings()
    assert await recording.day() == await live.day()
    assert await recording.units(last=3) == (await live.units(last=200))[:3]
    assert (await recording.earnings(units=0)).days == (await live.earnings(units=200)).days
    whole = (await live.log(after=0, last=1_000, level=LogLevel.DEBUG)).lines
    assert (await recording.log(after=0, last=1_000, level=LogLevel.DEBUG)).lines == whole
    loud = await recording.log(after=whole[0].number, last=2, level=LogLevel.WARNING)
    assert [line.number for line in loud.lines] == [
        line.number for line in whole[1:] if line.level in (LogLevel.WARNING, LogLevel.ERROR)
    ][-2:]
    with pytest.raises(NotPermitted, match="recording"):
        await recording.command(Pause())


async def test_answers_that_did_not_change_are_written_once(
    tmp_path: Path, photograph: Callable[[str], Snapshot]
) -> None:
    path = await recorded(tmp_path / "day.jsonl", *film(photograph))
    lines = path.read_bytes().splitlines()
    assert [line.startswith(b'{"heard":') for line in lines] == [False, True, False, False]
    seldom = await recorded(tmp_path / "seldom.jsonl", *film(photograph), seconds_a_look=ASK_S / 10)
    assert len(seldom.read_bytes().splitlines()) == 4


async def test_a_tape_ends_where_it_is_full_and_overwrites_nothing(
    tmp_path: Path, photograph: Callable[[str], Snapshot]
) -> None:
    shot = photograph("training")
    size = len(msgspec.json.encode(shot)) + 1
    tape = Tape(tmp_path / "short.jsonl", room=2 * size)
    clock = count(-1_000.0, 0.0)
    await record(Filmed(*(replace(shot, taken_ms=at) for at in range(5))), tape, clock=lambda: next(clock))
    tape.close()
    assert tape.photographs <= 2
    assert (tmp_path / "short.jsonl").stat().st_size <= 2 * size
    with pytest.raises(NotPermitted, match="cannot be written"):
        Tape(tmp_path / "short.jsonl")


async def test_screens_that_ask_show_what_was_heard(
    tmp_path: Path, photograph: Callable[[str], Snapshot]
) -> None:
    path = await recorded(tmp_path / "day.jsonl", *film(photograph)[:1])
    recording = Recording(path, speed=100)
    app = DashboardApp(recording, recording.now_ms, recorded=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        async with asyncio.timeout(60):
            while "198.51.100.7" not in _text(app):
                await pilot.pause()
        assert "recording" in _text(app)


def _text(app: DashboardApp) -> str:
    return "".join(segment.text for strip in app.screen._compositor.render_strips() for segment in strip)


def test_without_a_terminal_a_line_is_told_for_every_change(
    tmp_path: Path, photograph: Callable[[str], Snapshot], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "day.jsonl"
    asyncio.run(recorded(path, *film(photograph)))
    assert main(["--datadir", str(tmp_path), "replay", str(path)]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("20") for line in lines) == 2
    assert all(len(line) <= 80 for line in lines)
    assert main(["replay", str(path), "--json"]) == Exit.OK
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["at_ms"] for each in said] == [answers.TAKEN, answers.TAKEN + 60_000]
    assert all(each["schema"] == 1 and each["devices"] for each in said)


@pytest.mark.parametrize("line", ["nonsense", '{"heard":1,"day":7}', '{"heard":2'])
def test_what_is_no_recording_is_said(
    line: str, tmp_path: Path, photograph: Callable[[str], Snapshot], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(msgspec.json.encode(photograph("training")) + b"\n" + line.encode() + b"\n")
    assert main(["replay", str(path), "--lines"]) == Exit.USAGE
    assert "is not a recording" in capsys.readouterr().err
    path.write_text(line)
    with pytest.raises(UsageError, match="is not a recording"):
        Recording(path).check()


def test_where_no_daemon_runs_nothing_is_recorded(tmp_path: Path) -> None:
    path = tmp_path / "none.jsonl"
    assert main(["--datadir", str(tmp_path), "record", str(path)]) == Exit.UNREACHABLE
    assert not path.exists()
    path.write_text("mine")
    assert main(["--datadir", str(tmp_path), "record", str(path)]) == Exit.NOT_PERMITTED
    assert path.read_text() == "mine"
