"""The floors hold, and the contracts that guard them do catch what they are there for."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")
LINTER: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]

FLOORS = ("cli", "sim", "dashboard", "devnet", "node", "core", "world", "train", "view", "wire", "base")
CORE = ("duty", "gossip", "leap", "ledger", "light", "pbft", "rounds", "sync")

BREACHES = {
    "base/low.py": "from potminer.wire import high\n",
    "wire/high.py": "import threading\n",
    "core/pbft/machine.py": "from potminer.core import ledger\nimport torch\nimport textual\n",
    "view/rows.py": "import time\n",
    "dashboard/app.py": "from potminer.node import build\nimport aiohttp\nimport sqlalchemy\nimport pynvml\n",
    "node/build.py": "import nacl.bindings\nimport appdirs\n",
}
"""File and imports that break every contract at least once, in a house that is otherwise sound."""


def lint(folder: Path) -> str:
    """What lint-imports says of the package ``potminer`` in *folder*."""
    done = subprocess.run(
        [LINT, "--no-cache", "--config", folder / "pyproject.toml"],
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


def build_house(folder: Path, files: dict[str, str]) -> None:
    shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
    rooms = (".", *FLOORS, *(f"core/{room}" for room in CORE))
    empty = {f"{room}/__init__.py": "" for room in rooms}
    for name, text in {**empty, **files}.items():
        path = folder / "potminer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_nobody_imports_upwards_or_from_next_door() -> None:
    said = lint(ROOT)
    assert said.endswith("exit 0"), said


def test_a_sound_house_passes_and_planted_breaches_break_every_contract(tmp_path: Path) -> None:
    build_house(tmp_path, {})
    said = lint(tmp_path)
    assert said.endswith("exit 0"), said
    build_house(tmp_path, BREACHES)
    said = lint(tmp_path)
    names = [contract["name"] for contract in LINTER["contracts"]]
    kept = [name for name in names if f"{name} BROKEN" not in " ".join(said.split())]
    assert not kept, f"these contracts caught nothing: {kept}\n{said}"


def test_every_room_of_core_is_a_stranger_to_the_others() -> None:
    (strangers,) = [c["modules"] for c in LINTER["contracts"] if c["type"] == "independence"]
    rooms = {f"potminer.core.{p.parent.name}" for p in (ROOT / "potminer/core").glob("*/__init__.py")}
    assert rooms <= set(strangers), f"name them in the contract: {sorted(rooms - set(strangers))}"
