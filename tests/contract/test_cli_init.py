"""The first run: five questions on a real terminal, flags for each of them, and silence without a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from potminer.base.address import encode_address
from potminer.base.errors import Exit
from potminer.cli.main import main
from potminer.node.config import load_config
from potminer.wire.seal import SigningKey

SILENCE_S = 60
INTERRUPT_S = 5
PAYOUT = encode_address(SigningKey(b"p" * 32).public)


def _hear_interrupts() -> None:
    """Tests that run in the background were told to ignore what Ctrl-C sends, and their children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """``potminer`` with a terminal before it: ``until`` reads on, ``type`` answers."""

    def __init__(self, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        self._ours = ours
        environ = {k: v for k, v in os.environ.items() if not k.startswith("POTMINER_")} | {"TERM": "dumb"}
        command = [sys.executable, "-m", "potminer.cli.main", *arguments]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, preexec_fn=_hear_interrupts
        )
        os.close(theirs)
        self.seen = ""
        self._at = 0

    def until(self, text: str) -> None:
        """Read on to *text*; fails where the program ends or falls silent before it comes."""
        while (found := self.seen.find(text, self._at)) < 0:
            more = self._read()
            assert more, f"{text!r} never came; seen: {self.seen[self._at :]}"
            self.seen += more
        self._at = found + len(text)

    def _read(self) -> str:
        """Empty at the end, or after a long silence."""
        ready, _, _ = select.select([self._ours], [], [], SILENCE_S)
        try:
            return os.read(self._ours, 4_096).decode(errors="replace").replace("\r\n", "\n") if ready else ""
        except OSError:
            return ""

    def type(self, line: str) -> None:
        os.write(self._ours, line.encode() + b"\n")

    def interrupt(self) -> None:
        """Ctrl-C as a person presses it: again where it was not heard, for a reading Python can miss one that comes
        between its prompt and its wait. (A signal stands for the key; the pseudo-terminal controls no session.)
        """
        more = "prompt"
        while more and "interrupted" not in self.seen:
            self.process.send_signal(signal.SIGINT)
            if select.select([self._ours], [], [], INTERRUPT_S)[0]:
                more = self._read()
                self.seen += more

    def end(self) -> int:
        while more := self._read():
            self.seen += more
        os.close(self._ours)
        try:
            return self.process.wait(timeout=SILENCE_S)
        finally:
            self.process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_five_questions_each_checked_at_once(folder: Path) -> None:
    terminal = Terminal("--datadir", str(folder), "init", "--role", "observer", "--miners", "none")
    terminal.until("1/5 Where do earnings go?")
    terminal.until("> ")
    terminal.type("pot1nonsense")
    terminal.until("is not an address")
    terminal.until("> ")
    terminal.type(PAYOUT)
    terminal.until("2/5 What does a kilowatt-hour cost you?")
    terminal.until("> ")
    terminal.type("cheap")
    terminal.until("must be a price such as 0.32")
    terminal.until("> ")
    terminal.type("0.31")
    terminal.until("In which currency?")
    terminal.until("> ")
    terminal.type("")
    terminal.until("4/5 When may it train?")
    terminal.until("> ")
    terminal.type("sometimes")
    terminal.until("must be one of")
    terminal.until("> ")
    terminal.type("always")
    terminal.until("5/5 What is this rig called?")
    terminal.until("> ")
    terminal.type("rig-07")
    terminal.until("there is no genesis at")
    assert terminal.end() == Exit.OK
    assert "something does not work" in terminal.seen, "the doctor has the last word"
    found = load_config(folder / "potminer.toml", {})
    assert (found.payout.address, found.power.kwh_price, found.power.currency) == (
        SigningKey(b"p" * 32).public, "0.31", "EUR",
    )  # fmt: skip
    assert (found.idle.policy, found.rig.name, found.node.role, found.miners) == ("always", "rig-07", "observer", ())


def test_what_flags_say_is_not_asked(folder: Path) -> None:
    flags = ["--payout", PAYOUT, "--kwh-price", "0.2", "--miners", "none", "--idle-policy", "idle_only"]
    terminal = Terminal("--datadir", str(folder), "init", "--currency", "usd", *flags)
    terminal.until("5/5 What is this rig called?")
    terminal.type("")
    assert terminal.end() == Exit.OK
    assert not [number for number in range(1, 5) if f"{number}/5" in terminal.seen]


def test_an_interrupt_writes_nothing(folder: Path) -> None:
    terminal = Terminal("--datadir", str(folder), "init", "--miners", "none")
    terminal.until("> ")
    terminal.interrupt()
    assert terminal.end() == Exit.INTERRUPTED
    assert not folder.exists()


def test_without_a_terminal_nothing_is_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--datadir", str(folder)]
    miner = ["--miner", "trex=http://127.0.0.1:4067", "--miner", "xmrig=http://127.0.0.1:60070"]
    assert main([*place, "init", "--json", "--name", "rig-12", "--idle-policy", "off", *miner]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["written"] is True
    found = load_config(folder / "potminer.toml", {})
    assert [(each.kind, each.url) for each in found.miners] == [
        ("trex", "http://127.0.0.1:4067"), ("xmrig", "http://127.0.0.1:60070"),
    ]  # fmt: skip
    assert "# what this rig is called" in (folder / "potminer.toml").read_text(), "every setting is explained"
    assert tomllib.loads((folder / "potminer.toml").read_text())["rig"] == {"name": "rig-12"}


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--kwh-price", "much"], Exit.CONFIG),
        (["--idle-policy", "never"], Exit.CONFIG),
        (["--miner", "trex"], Exit.USAGE),
        (["--miner", "warez=http://127.0.0.1:1"], Exit.CONFIG),
        (["--miner", "trex=http://10.0.0.1:4067"], Exit.CONFIG),
        (["--miner", "trex=http://127.0.0.1:1", "--miners", "none"], Exit.USAGE),
    ],
)
def test_a_wrong_flag_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: list[str], code: int
) -> None:
    assert main(["--datadir", str(folder), "init", *flags]) == code
    assert not folder.exists()
    assert "Traceback" not in capsys.readouterr().err
