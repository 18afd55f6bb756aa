"""The door: help, exit codes, errors without tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from potminer import __version__
from potminer.base.errors import Exit, NoDevice
from potminer.cli.main import COMMANDS, Door, cli, main
from potminer.cli.output import print_json, print_table, report_bug
from potminer.cli.span import parse_span
from potminer.wire.control import AccountView, TaskDetail, TaskView

TASK = TaskView(
    task="ab" * 32, name="digits", requester="pot1", status="open", round=0, rounds=1, phase="train", trainers=0,
    escrow=0, price_per_unit=1,
)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_help_lists_what_is_installed_on_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "status" in out
    assert "dashboard" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_no_arguments_without_a_terminal_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    assert "Commands:" in out


def test_every_listed_command_can_be_loaded() -> None:
    context = click.Context(cli)
    assert isinstance(cli, Door)
    listed = cli.list_commands(context)
    assert {"status", "why", "dashboard", "version", "completion", "pause", "mode"} <= set(listed) <= set(COMMANDS)
    for name in listed:
        command = cli.get_command(context, name)
        assert command is not None
        assert command.name == name


ACTS = {
    "run", "dashboard", "pause", "resume", "finish", "mode", "payout set", "keys restore", "task cancel", "task new",
    "config set", "service install", "service remove", "completion", "record",
}  # fmt: skip
"""Commands that do something, and answer with no more than that they did."""


def leaves(command: click.Command, name: str, context: click.Context) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {name: command}
    found = {}
    for each in command.list_commands(context):
        inner = command.get_command(context, each)
        assert inner is not None
        found |= leaves(inner, f"{name} {each}".strip(), context)
    return found


def test_every_command_that_reads_speaks_json() -> None:
    every = leaves(cli, "", click.Context(cli))
    speaks = {name for name, command in every.items() if any("--json" in p.opts for p in command.params)}
    assert set(every) - speaks == ACTS


def test_the_commands_of_the_readme_are_there() -> None:
    """The first words of every command that it shows, and those flags of theirs that it shows."""
    every = leaves(cli, "", click.Context(cli))
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    shown = [line.split("#")[0].split() for line in readme.splitlines() if line.startswith("    potminer")]
    assert len(shown) > 10
    for words in shown:
        said = " ".join(words[1:])
        named = [name for name in every if (said + " ").startswith(name + " ")]
        assert named or not words[1:], said
        flags = [word for word in words if word.startswith("--")]
        assert all(any(flag in p.opts for p in every[named[0]].params) for flag in flags), said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nonsense"], Exit.USAGE),
        (["status", "--nonsense"], Exit.USAGE),
        (["status"], Exit.UNREACHABLE),
        (["why", "not-a-unit"], Exit.UNREACHABLE),
        (["why", "a/1/1", "--last"], Exit.USAGE),
        (["pause"], Exit.UNREACHABLE),
        (["pause", "--for", "soon"], Exit.USAGE),
        (["dashboard"], Exit.USAGE),
        (["--network", "../x", "status"], Exit.USAGE),
        (["--profile", "../x", "status"], Exit.USAGE),
        (["--profile", "a", "--config", "b", "status"], Exit.USAGE),
        (["--profile", "a", "config", "check"], Exit.CONFIG),
        (["version"], Exit.OK),
        (["completion", "bash"], Exit.OK),
    ],
)
def test_exit_codes(capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: int) -> None:
    place = ["--datadir", str(tmp_path)]
    found, _, err = run(capsys, *place, *arguments)
    assert found == code
    assert "Traceback" not in err
    if code == Exit.UNREACHABLE:
        assert err.startswith("error: no potminer daemon runs for ")
        assert "\n  Start it with `potminer run`." in err


def test_a_devnet_with_too_few_trainers_says_so_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    task = Path(__file__).parents[2] / "assets/tasks/digits.toml"
    code, _, err = run(capsys, "devnet", "--trainers", "1", "--task", str(task), "--dir", str(tmp_path / "net"))
    assert code == Exit.USAGE
    assert "opens a round with 2 trainers, and this devnet has 1" in err
    assert "--trainers 2" in err
    assert not (tmp_path / "net").exists()


def test_version_is_json_with_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "version", "--json")
    assert code == 0
    assert json.loads(out)["schema"] == 1
    assert json.loads(out)["potminer"] == __version__


@pytest.mark.parametrize("value", [{"a": 1}, TaskDetail(task=TASK), AccountView(**dict.fromkeys(
    ("balance", "pending", "bond", "nonce", "height"), 0), address="pot1")])  # fmt: skip
def test_whatever_is_printed_as_json_has_a_schema(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(value)
    assert json.loads(capsys.readouterr().out)["schema"] == 1


def test_completion_completes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "_POTMINER_COMPLETE=zsh_complete" in run(capsys, "completion", "zsh")[1]
    environ = {**os.environ, "_POTMINER_COMPLETE": "bash_complete", "COMP_WORDS": "potminer sta", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "potminer.cli.main"], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["plain,status"]


@click.command()
@click.argument("how")
def fail(how: str) -> None:
    if how == "operator":
        raise NoDevice("no GPU was found", "Install a driver.")
    if how == "interrupt":
        raise KeyboardInterrupt
    raise RuntimeError("secret plan")


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("operator", Exit.NO_DEVICE, "error: no GPU was found\n  Install a driver.\n"),
        ("interrupt", Exit.INTERRUPTED, "interrupted\n"),
        ("bug", Exit.FAILURE, "error: RuntimeError: secret plan\n  This is a bug in potminer; "),
    ],
)
def test_how_a_command_ends(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, how: str, code: int, said: str
) -> None:
    door = Door(commands={"fail": fail}, params=cli.params, callback=cli.callback, name="potminer")
    assert main(["--datadir", str(tmp_path), "fail", how], door) == code
    shown = capsys.readouterr().err
    assert shown.startswith(said)
    assert "Traceback" not in shown
    assert len(list(tmp_path.glob("logs/bug-*.txt"))) == (how == "bug")


def test_a_table_is_cut_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("name", "number"), ("x" * 60, "1" * 60), ("y", "2")], right=frozenset({1}))
    lines = capsys.readouterr().out.splitlines()
    assert [len(line) <= 80 for line in lines] == [True] * 3
    assert lines[1].endswith("…")


def test_a_bug_is_one_line_and_a_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    try:
        raise RuntimeError("something odd")
    except RuntimeError as error:
        report_bug(error, tmp_path / "logs")
    shown = capsys.readouterr().err
    assert shown.startswith("error: RuntimeError: something odd\n")
    assert "bug in potminer" in shown
    assert "Traceback" not in shown
    (report,) = (tmp_path / "logs").iterdir()
    assert "Traceback" in report.read_text()


def test_a_report_that_cannot_be_written_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report_bug(RuntimeError("odd"), tmp_path / "file")
    assert "no report could be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("90s", 90_000), ("30m", 1_800_000), ("2h", 7_200_000), (None, None)]
)
def test_spans(text: str | None, milliseconds: int | None) -> None:
    context = click.Context(cli)
    assert parse_span(context, click.Option(["--for"]), text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "0s", "-1h", "31d", "1.5h", "٣h", "9" * 20 + "d"])
def test_spans_that_are_none(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_span(click.Context(cli), click.Option(["--for"]), text)


def test_a_reader_that_has_enough_gets_no_traceback() -> None:
    """``potminer --help | head -0``: the pipe is closed before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "potminer.cli.main", "--help"], stdout=writing, stderr=subprocess.PIPE,
        timeout=60, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.stderr == b""
