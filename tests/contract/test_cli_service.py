"""``potminer service``: units that systemd accepts and calls well guarded, and what is asked of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from potminer.base.errors import Exit
from potminer.cli.unit import Unit

ROOT = Path(__file__).parents[2]
DATADIR = Path("/var/lib/potminer")
SYSTEM = Unit(("/usr/bin/potminer",), DATADIR, DATADIR / "potminer.toml", "main", "potminer", ("video", "render"))
PERSON = Unit((sys.executable, "-m", "potminer.cli.main"), Path("/srv/a b/100%"), Path("/srv/$x.toml"), "main")


def potminer(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "potminer.cli.main", *arguments]
    env = {**os.environ, **environ}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_packaged_unit_is_what_install_writes() -> None:
    assert (ROOT / "packaging/systemd/potminer.service").read_text() == SYSTEM.text()


def test_a_unit_leaves_the_gpus_in_reach() -> None:
    text = SYSTEM.text()
    for option in ("PrivateDevices", "MemoryDenyWriteExecute", "ProtectProc", "ProcSubset", "DeviceAllow"):
        assert f"\n{option}=" not in text, option
    assert "SupplementaryGroups=video render" in text
    assert "RestartPreventExitStatus=2 3 5 7" in text, "a mistake in the config is not repeated for ever"
    assert "RestartForceExitStatus=42" in text


@pytest.mark.parametrize("unit", [SYSTEM, PERSON])
def test_systemd_accepts_the_unit(tmp_path: Path, unit: Unit) -> None:
    """Judged by systemd itself where it is installed; where it is not, nothing starts units either."""
    path = tmp_path / "potminer.service"
    path.write_text(unit.text().replace("/usr/bin/potminer", sys.executable))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert "[Service]" in unit.text()
        return
    done = subprocess.run([analyze, "verify", path], capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "potminer.service" in line]
    assert not complaints


def test_systemd_calls_the_system_unit_well_guarded(tmp_path: Path) -> None:
    path = tmp_path / "potminer.service"
    path.write_text(SYSTEM.text())
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        assert "SystemCallFilter=@system-service" in SYSTEM.text()
        return
    command = [analyze, "security", "--offline=true", path]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r"Overall exposure level for potminer\.service: ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) <= 2.5


def test_a_path_means_itself_to_systemd() -> None:
    (line,) = [each for each in PERSON.text().splitlines() if each.startswith("ExecStart=")]
    assert "'/srv/a b/100%%'" in line
    assert "'/srv/$$x.toml'" in line


# ---- the command -------------------------------------------------------------------------


@pytest.fixture
def desk(tmp_path: Path) -> Mapping[str, str]:
    """A systemctl that writes down what it is asked, and answers as for a running unit."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    answers = 'case "$*" in *is-enabled*) echo enabled;; *is-active*) echo active;; esac'
    script = f'#!/bin/sh\necho "$@" >> "{asked}"\n{answers}\n'
    (folder / "systemctl").write_text(script)
    (folder / "systemctl").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_installed_looked_at_and_removed(tmp_path: Path, desk: Mapping[str, str]) -> None:
    place = ["--datadir", str(tmp_path / "data")]
    unit = tmp_path / "config/systemd/user/potminer.service"
    assert potminer(*place, "service", "remove", "--user", **desk).returncode == Exit.FAILURE, "there is none"
    for _ in range(2):
        assert potminer(*place, "service", "install", "--user", **desk).returncode == Exit.OK
    assert f"--datadir {tmp_path / 'data'}" in unit.read_text()
    assert "User=" not in unit.read_text()
    told = json.loads(potminer(*place, "service", "status", "--user", "--json", **desk).stdout)
    assert told == {"schema": 1, "unit": str(unit), "installed": True, "enabled": "enabled", "active": "active"}
    assert potminer(*place, "service", "remove", "--user", **desk).returncode == Exit.OK
    assert not unit.exists()
    asked = (tmp_path / "asked").read_text().splitlines()
    again = ["--user daemon-reload", "--user enable --now potminer.service"]
    looks = ["--user is-enabled potminer.service", "--user is-active potminer.service"]
    assert asked == [*again, *again, *looks, "--user disable --now potminer.service", "--user daemon-reload"]


@pytest.mark.parametrize("kind", ["--user", "--system"])
def test_a_dry_run_shows_everything_and_does_nothing(tmp_path: Path, desk: Mapping[str, str], kind: str) -> None:
    done = potminer("--datadir", str(tmp_path / "data"), "service", "install", kind, "--dry-run", **desk)
    assert done.returncode == Exit.OK
    assert "ExecStart=" in done.stdout
    assert "systemctl" in done.stdout
    assert ("User=potminer" in done.stdout) == (kind == "--system")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["bin"]


def test_systemds_refusal_is_said(tmp_path: Path, desk: Mapping[str, str]) -> None:
    systemctl = Path(desk["PATH"].split(":")[0]) / "systemctl"
    systemctl.write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    done = potminer("--datadir", str(tmp_path / "data"), "service", "install", "--user", **desk)
    assert done.returncode == Exit.FAILURE
    assert "Failed to connect to bus" in done.stderr
    assert "Traceback" not in done.stderr
