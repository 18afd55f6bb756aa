"""``gpus`` and ``doctor`` as a person calls them, with a daemon and without."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_api import Rig, photograph

from potminer.base.errors import Exit
from potminer.cli.doctor import _check_store, print_findings
from potminer.cli.main import main
from potminer.cli.redact import Redaction
from potminer.core.ledger.apply import RULES
from potminer.node.owned import OWNER
from potminer.wire.control import DeviceKind, DeviceState, DeviceView, Snapshot
from potminer.world.api.serve import ApiServer
from potminer.world.keys import create_key
from potminer.world.paths import locate
from potminer.world.rig.finding import Finding, Level
from potminer.world.store.store import Store

BUS = "0000:0a:00.0"


class RigWithCard(Rig):
    """Its daemon sees a card that nobody else on this machine does."""

    async def snapshot(self) -> Snapshot:
        card = DeviceView(
            bus=BUS, name="NVIDIA GeForce RTX 3070", kind=DeviceKind.GPU, state=DeviceState.TRAINING, since_ms=1,
            reasons=("idle",), power_mw=120_000, temperature_milli_c=61_000,
        )  # fmt: skip
        cpu = DeviceView(bus="cpu", name="CPU", kind=DeviceKind.CPU, state=DeviceState.BLOCKED, since_ms=1)
        return Snapshot(**{**_fields(photograph(7)), "devices": (card, cpu), "rig": "basement-7"})


def _fields(snapshot: Snapshot) -> dict[str, Any]:
    return {name: getattr(snapshot, name) for name in Snapshot.__struct_fields__}


async def with_daemon(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a command in a process of its own, beside a daemon on *folder*."""
    paths = locate({}, datadir=folder)
    server = await ApiServer.open(RigWithCard(folder), paths, clock=lambda: 0)
    try:
        return await asyncio.to_thread(command, "--datadir", str(folder), *arguments)
    finally:
        await server.close()


def command(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "potminer.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


async def test_gpus_join_what_we_see_and_what_the_daemon_does(tmp_path: Path) -> None:
    code, out = await with_daemon(tmp_path / "d", "gpus", "--json")
    said = json.loads(out)
    assert (code, said["schema"], said["daemon"]) == (0, 1, True)
    rows = {row["bus"]: row for row in said["gpus"]}
    assert "cpu" not in rows
    assert (rows[BUS]["state"], rows[BUS]["reasons"]) == ("training", ["idle"])
    code, out = await with_daemon(tmp_path / "d", "gpus")
    assert "training" in out
    assert "61" in out
    assert all(len(line) <= 80 for line in out.splitlines())


def test_gpus_without_a_daemon_looks_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--datadir", str(tmp_path), "gpus", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["daemon"] is False
    assert said["gpus"] or said["reason"]


def test_a_socket_that_was_named_must_answer(tmp_path: Path) -> None:
    assert main(["gpus", "--socket", str(tmp_path / "api.sock")]) == Exit.UNREACHABLE


async def test_doctor_beside_a_daemon_says_so_and_shares_no_names(tmp_path: Path) -> None:
    folder = tmp_path / "secret-farm"
    _, out = await with_daemon(folder, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert checks["daemon"]["text"] == "it runs on devnet, block 7"
    assert "secret-farm" in out
    _, out = await with_daemon(folder, "doctor", "--json", "--share")
    assert "secret-farm" not in out
    assert "basement-7" not in out
    report = tmp_path / "report.txt"
    _, out = await with_daemon(folder, "doctor", "--share", "--to", str(report))
    said = report.read_text()
    assert "secret-farm" not in out.partition("report   ")[0] + said
    assert "basement-7" not in out + said
    assert "validator, none: block 7" in said
    assert f"{BUS} NVIDIA GeForce RTX 3070: training, idle" in said


def test_doctor_names_every_part_and_ends_with_a_fault(tmp_path: Path) -> None:
    code, out = command("--datadir", str(tmp_path / "d"), "doctor", "--json")
    said = json.loads(out)
    names = {check["name"] for check in said["checks"]}
    assert {"config", "daemon", "system", "memory", "disk", "datadir", "driver", "gpu", "torch", "idle"} <= names
    assert {"genesis", "port", "clock"} <= names
    assert all(check["level"] == "ok" or check["hint"] for check in said["checks"])
    assert (code, said["verdict"]) == (Exit.FAILURE, "fault"), "there is no genesis"


@pytest.mark.parametrize(
    ("rules", "owner", "said"),
    [
        (RULES, None, "of this node and these rules"),
        (RULES - 1, None, f"rules {RULES - 1} of the ledger"),
        (RULES, bytes(32), "another node's key"),
        (None, None, "not a potminer store"),
    ],
)
async def test_doctor_sees_a_chain_that_no_daemon_could_start_on(
    rules: int | None, owner: bytes | None, said: str, tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys/node.key")
    path = tmp_path / "potminer.sqlite"
    if rules is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE birds (name TEXT)")
    else:
        async with Store.open(path) as store:
            await store.persist([(OWNER, owner or key.public)])
        with sqlite3.connect(path) as written:
            written.execute("INSERT OR REPLACE INTO meta VALUES ('rules', ?)", (rules,))
    before = path.read_bytes()
    finding = _check_store(locate({}, datadir=tmp_path))
    assert said in finding.text
    assert (finding.level is Level.OK) == ("these rules" in said)
    assert path.read_bytes() == before


def test_a_broken_config_is_one_finding_among_others(tmp_path: Path) -> None:
    (tmp_path / "potminer.toml").write_text("[idle]\nmin_idle = 3\n[nodes]\n")
    code, out = command("--datadir", str(tmp_path), "doctor", "--json")
    config = json.loads(out)["checks"][0]
    assert (code, config["level"]) == (Exit.FAILURE, "fault")
    assert "min_idle" in config["text"]
    assert "nodes" in config["text"]


def test_findings_fit_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    long = Finding("gpu", Level.FAULT, "word " * 60 + "\nand more", "do " * 60)
    print_findings([long, Finding("port", Level.OK, "")])
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "and more" in out
    assert out.endswith("something does not work\n")


REDACTION = Redaction(
    {"datadir": "/home/ann/.local/share/potminer", "home": "/home/ann"}, {"host": "annspc", "user": "ann", "rig": "rig"}
)


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("/home/ann/.local/share/potminer/keys/node.key is open", "<datadir>/keys/node.key is open"),
        ("see /home/ann/x and /srv/secret dir", "see <home>/x and <path> dir"),
        ("C:\\Users\\Ann\\x is open", "<path> is open"),
        ("unix:/run/user/1000/bus", "unix:<path>"),
        ("peer 203.0.113.9:9333 is silent", "peer <address>:9333 is silent"),
        ("peer [2001:db8::7]:9333", "peer [<address>]:9333"),
        ("listens on 0.0.0.0 and 127.0.0.1", "listens on 0.0.0.0 and 127.0.0.1"),
        ("node pot1qqqqqqqqqqqqqqqqqqqq7", "node <account>"),
        ("key " + "ab" * 32, "key <key>"),
        ("ann at annspc runs; annual rig", "<user> at <host> runs; annual rig"),
        ("0000:0a:00.0 RTX 3070 (sm_86), NVIDIA 550.54.14, torch 2.7.1+cu126", None),
        ("https://pytorch.org/get-started/locally", None),
        ("12.3 of 16.0 GiB free; 3 kH/s", None),
    ],
)
def test_what_is_shared(text: str, shared: str | None) -> None:
    assert REDACTION.of(text) == (text if shared is None else shared)
