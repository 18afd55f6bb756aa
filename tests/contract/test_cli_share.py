"""``doctor --share``: a report for strangers, against secrets in every place that it is made from."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from potminer.base.address import encode_address
from potminer.base.errors import Exit
from potminer.cli.main import main
from potminer.cli.redact import Redaction
from potminer.cli.share import REPORT_BYTES
from potminer.wire.seal import SigningKey
from potminer.world.words import listed, words_of

SEED = bytes(range(1, 33))
WORDS = words_of(SEED).split()
ADDRESS = encode_address(SigningKey(SEED).public)
NUMBERED = " ".join(f"{at}. {word}" for at, word in enumerate(WORDS, 1))
SECRETS = {
    "seed": SEED.hex(),
    "upper seed": SEED.hex().upper(),
    "address": ADDRESS,
    "words": " ".join(WORDS),
    "capital words": " ".join(WORDS[:9]).upper(),
    "numbered words": NUMBERED,
    "foreign wallet": "0x52908400098527886E0F7030069857D2E4169EE7",
    "bitcoin": "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "old bitcoin": "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
    "password": "password=hunter2-hunter2",
    "quoted": '"token": "s p a c e d out"',
    "bearer": "Authorization: Bearer abcDEF0123.456",
    "login": "stratum+ssl://ann.rig7:x7Gz@pool.example.org:4444",
    "base64": "aGVsbG8gd29ybGQgdGhpcyBpcyBhIHNlY3JldA==",
    "url token": "eyJhbGciOiJI-UzI1NiIsInR5cCI6_IkpXVCJ9",
    "mail": "ann.miner@example.org",
    "peer": "203.0.113.77:9333",
    "six": "2001:db8::beef",
    "host": "basement.annminer.net:9333",
    "mac": "00:1b:44:11:3a:b7",
    "uuid": "GPU-5e1f0c3a-9a7b-4d2e-8f10-0123456789ab",
    "path": "/srv/anns-farm/rig7.log",
    "windows": "C:\\Users\\Ann\\potminer",
    "user": "annika_m",
    "rig": "annas-cellar-3",
}
TELLING = [
    SEED.hex(), ADDRESS[:20], " ".join(WORDS[:3]), WORDS[0].upper() + " " + WORDS[1].upper(), f"2. {WORDS[1]}",
    "52908400098527886E0F", "bc1qar0srrr7", "3J98t1WpEZ73", "hunter2", "s p a c e d", "abcDEF0123", "x7Gz",
    "aGVsbG8gd29ybGQ", "eyJhbGciOiJI", "ann.miner", "203.0.113.77", "db8::beef", "annminer", "00:1b:44", "5e1f0c3a",
    "anns-farm", "Users", "annika_m", "annas-cellar", "4Hsecret",
]  # fmt: skip


def test_what_is_looked_for_stands_in_what_is_planted() -> None:
    """Or the test below would be content with anything."""
    planted = "\n".join(SECRETS.values()) + "4Hsecret"
    assert not [each for each in TELLING if each not in planted]


def farm(folder: Path) -> dict[str, str]:
    """A data folder full of secrets, and the environment of its owner."""
    (folder / "logs").mkdir(parents=True)
    lines = "\n".join(f"2026-05-28 12:00:01 WARNING net: {name} {text} was seen" for name, text in SECRETS.items())
    (folder / "logs" / "potminer.log").write_text(lines + "\nthe last line stays\n")
    (folder / "logs" / "bug-20260528-120000.txt").write_text("RuntimeError: engine.py:123 odd\n" + lines)
    token = folder / "4Hsecret"
    token.write_text("x")
    (folder / "potminer.toml").write_text(
        f'rig.name = "annas-cellar-3"\npayout.address = "{ADDRESS}"\nidle.quiet_s = 77\nidle.policy = "always"\n'
        'node.bootstrap = ["basement.annminer.net:9333"]\napi.token_file = "4Hsecret"\n'
        f'[[miners]]\nkind = "process"\ncommand = ["/srv/anns-farm/t-rex", "-u", "{SECRETS["bitcoin"]}"]\n'
    )
    return {**os.environ, "USER": "annika_m", "POTMINER_RIG_NAME": "annas-cellar-3"}


def share(folder: Path, environ: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "potminer.cli.main", "--datadir", str(folder), "doctor", "--share", *more]
    return subprocess.run(
        command, cwd=folder.parent, env={**environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_no_secret_gets_into_the_report(tmp_path: Path) -> None:
    environ = farm(tmp_path / "annika_m-data")
    done = share(tmp_path / "annika_m-data", environ)
    assert "Traceback" not in done.stderr
    (report,) = tmp_path.glob("potminer-report-*.txt")
    assert str(report) in done.stdout
    text = report.read_text()
    assert not [each for each in TELLING if each in text]
    assert str(tmp_path) not in text
    for kept in ("idle.quiet_s = 77", "idle.policy = always", "payout.address = (set)", "the last line stays",
                 "engine.py:123 odd", "kind = process", "not running", "fault"):
        assert kept in text, kept
    if sys.platform != "win32":
        assert stat.S_IMODE(report.stat().st_mode) == 0o600


def test_a_report_is_bounded_and_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, target = tmp_path / "d", tmp_path / "said.txt"
    (folder / "logs").mkdir(parents=True)
    (folder / "logs" / "potminer.log").write_text("first\n" + "a long day in the mine é\n" * 40_000 + "newest\n")
    for at in range(9):
        (folder / "logs" / f"bug-2026052{at}-120000.txt").write_bytes(b"\xff\x1b[31m red " * 9_000)
    arguments = ["--datadir", str(folder), "doctor", "--share", "--to", str(target)]
    assert main(arguments) == Exit.FAILURE, "there is no genesis here"
    written = target.read_bytes()
    assert 60_000 < len(written) <= REPORT_BYTES + 20
    assert b"newest" in written
    assert b"first" not in written
    assert b"\x1b" not in written
    assert main(arguments) == Exit.NOT_PERMITTED
    assert target.read_bytes() == written
    assert "--to" in capsys.readouterr().err
    assert main(["doctor", "--to", str(target)]) == Exit.USAGE


@pytest.mark.parametrize(
    "text",
    [
        "0000:0a:00.0 RTX 3070 (sm_86), NVIDIA 550.54.14, torch 2.13.0+cpu, driver 13.615.71",
        'File "<home>/potminer/node/engine.py", line 123, in _perform_the_next_effect',
        "Put the genesis file of your network there; `potminer devnet` makes one on this computer for a look.",
        "round 3 of 40, reveal; mine: 7 accepted, {'out-of-tolerance': 1}",
        "The wheels of torch need 2.28 or newer: upgrade the system to train on it.",
        "validator, seated: block 1204, target None, epoch 12, view 0, 7 peers, 4 validators",
    ],
)
def test_what_tells_nothing_of_anybody_stays(text: str) -> None:
    assert Redaction({"datadir": "/d"}, {"user": "ann"}, listed()).of(text) == text
