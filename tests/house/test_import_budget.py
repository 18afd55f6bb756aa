"""What the small commands may load: the door must open at once, on a weak CPU too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOREIGN = {"torch", "textual", "sqlalchemy", "numpy", "safetensors", "prometheus_client", "pynvml"}
SERVER = {"aiohttp.web", "aiohttp.web_app", "potminer.node", "potminer.world.store", "potminer.core"}
CLIENT = {"aiohttp", "msgspec", "nacl", "asyncio", "appdirs"}

_PROBE = """
import json, sys
from potminer.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def loaded(*arguments: str) -> tuple[int, set[str]]:
    """Exit code and modules of a fresh process that ran *arguments*."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    code, modules = json.loads(done.stderr.splitlines()[-1])
    return code, set(modules)


def test_help_loads_nothing_but_itself() -> None:
    code, modules = loaded("--help")
    assert code == 0
    assert not modules & (FOREIGN | SERVER | CLIENT)


@pytest.mark.parametrize("arguments", [["version"], ["completion", "bash"]])
def test_small_commands_load_no_client(arguments: list[str]) -> None:
    code, modules = loaded(*arguments)
    assert code == 0
    assert not modules & (FOREIGN | SERVER | (CLIENT - {"msgspec"}))


@pytest.mark.parametrize("arguments", [["status"], ["why"], ["pause"], ["mode", "auto"]])
def test_commands_that_ask_a_daemon_load_the_client_alone(tmp_path: Path, arguments: list[str]) -> None:
    code, modules = loaded("--datadir", str(tmp_path), *arguments)
    assert code == 4
    assert not modules & (FOREIGN | SERVER)


def test_the_daemon_loads_neither_torch_nor_the_dashboard(tmp_path: Path) -> None:
    code, modules = loaded("--datadir", str(tmp_path), "run", "--headless")
    assert code == 3, "there is no genesis here"
    assert {"potminer.node.build", "sqlalchemy", "aiohttp.web"} <= modules, "and yet all of the daemon was loaded"
    assert not modules & {"torch", "textual", "numpy"}
