"""``potminer rigs``, what a misspelt command is told, and recordings that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from potminer.base.errors import Exit, UsageError
from potminer.cli.main import cli
from potminer.cli.recording import Recording
from potminer.cli.rigs import print_rigs
from potminer.dashboard.app import DashboardApp
from potminer.dashboard.themes import THEMES
from potminer.view.rigs import RigSeen
from potminer.wire.control import Snapshot
from potminer.world.api.address import address_from_flag
from tests.contract.api_rig import NOW, photograph


@pytest.fixture(autouse=True)
def alone(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """A computer on which no daemon runs."""

    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["--datadir", str(tmp_path), *words])
        return getattr(done.exception, "exit", done.exit_code), f"{done.output}{done.exception or ''}"

    return call


def test_rigs_stand_on_one_page_and_those_that_do_not_answer_say_why(capsys: pytest.CaptureFixture[str]) -> None:
    far = RigSeen("http://127.0.0.1:40777 token=/home/owner/.config/potminer/rig-07.token", None, "no answer")
    seen = [RigSeen("here", photograph(7)), far, RigSeen("/run/api.sock", None, "nothing listens there")]
    print_rigs(seen, NOW + 1_000)
    told = capsys.readouterr().out
    assert "rig-07" in told
    assert "1 of 3 live" in told
    assert "/run/api.sock: nothing listens there" in told
    assert "POT today" in told.splitlines()[0], "a long name pushes nothing off the page"
    assert max(map(len, told.splitlines())) <= 80


def test_without_an_answer_it_ends_as_a_lost_daemon_does(alone: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/nobody.sock"
    code, told = alone("rigs", "--connect", where, "--json")
    assert code == Exit.UNREACHABLE
    said = json.loads(told.splitlines()[0])
    assert said["schema"] == 1
    assert [(each["name"], each["snapshot"]) for each in said["rigs"]] == [(where, None)]
    assert said["rigs"][0]["trouble"]


@pytest.mark.parametrize("where", ["http://127.0.0.1:4077", "ftp", "http://10.0.0.1:4077 token=x", "https://rig/"])
def test_a_place_that_is_none_is_said_at_once(where: str, alone: Callable[..., tuple[int, str]]) -> None:
    code, told = alone("rigs", "--connect", where)
    assert (code, "lost" in told) == ((Exit.UNREACHABLE, True) if where == "ftp" else (Exit.USAGE, False))


def test_a_far_port_that_ssh_brings_takes_the_token_of_its_rig() -> None:
    assert address_from_flag("http://127.0.0.1:4077 token=/x") == address_from_flag("http://127.0.0.1:4077 cookie=/x")


def test_a_misspelt_command_is_told_the_nearest(alone: Callable[..., tuple[int, str]]) -> None:
    for wrong, right in (("rig", "rigs"), ("statsu", "status"), ("earning", "earnings")):
        code, told = alone(wrong)
        assert code == Exit.USAGE
        assert right in told.rpartition("Did you mean ")[2]
    assert "Did you mean" not in alone("zzzzz")[1]


@pytest.mark.parametrize("text", ["", "{}\n", "no json\n"], ids=["empty", "other", "text"])
def test_a_file_that_is_no_recording_is_said_before_the_screen_opens(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="is not a recording"):
        Recording(path).check()


async def test_a_recording_does_not_call_itself_live(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    shown: Snapshot = replace(photograph(7), rig="rig-08")
    path.write_text(click.unstyle(_line(shown)), encoding="utf-8")
    recording = Recording(path)
    recording.check()
    app = DashboardApp(recording, recording.now_ms, recorded=True)
    async with app.run_test(size=(80, 24)) as pilot:
        while "rig-08" not in _top(app):
            await pilot.pause()
        assert "recording" in _top(app)
        assert "live" not in _top(app)
        await pilot.press("q")
    assert app._exit is True


def _line(shown: Snapshot) -> str:
    import msgspec

    return msgspec.json.encode(shown).decode() + "\n"


def _top(app: DashboardApp) -> str:
    return "".join(segment.text for segment in app.screen._compositor.render_strips()[0])


def test_the_owners_colours_are_a_setting(alone: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    assert alone("config", "set", "dashboard.theme", "light")[0] == 0
    assert alone("config", "get", "dashboard.theme")[1].strip() == "light"
    assert "did you mean contrast" in str(alone("config", "set", "dashboard.theme", "contrasts")[1])
    every = {theme.name for theme in THEMES}
    assert {f"potminer-{word}" for word in ("dark", "light", "contrast")} == every
    for name in every:
        app = DashboardApp(Recording(tmp_path / "none"), lambda: NOW, theme=name.removeprefix("potminer-"))
        assert app.theme == name
