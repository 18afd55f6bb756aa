"""What the frozen program is made from is there: data, hidden imports, metadata, and the entry that knows workers."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest

from potminer.cli.version import PARTS
from potminer.world.child import WORKER_ARGUMENT

ROOT = Path(__file__).parents[2]
SPEC = ast.parse((ROOT / "pyinstaller.spec").read_text(encoding="utf-8"))
CALLS = [node for node in ast.walk(SPEC) if isinstance(node, ast.Call)]


def called(name: str) -> list[ast.Call]:
    return [call for call in CALLS if isinstance(call.func, ast.Name) and call.func.id == name]


def told(name: str) -> list[str]:
    """The strings in the list that the spec calls *name*."""
    (assigned,) = [n for n in ast.walk(SPEC) if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == name]
    assert isinstance(assigned.value, ast.List)
    return [e.value for e in assigned.value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]


def test_the_spec_names_files_that_are_there() -> None:
    (analysis,) = called("Analysis")
    paths = [n.value for n in ast.walk(analysis) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    assert {"packaging/launch.py", "assets"} <= set(paths)
    assert not [path for path in paths if path != "potminer" and not (ROOT / path).exists()]


def test_hidden_imports_can_be_imported() -> None:
    packages = [ast.literal_eval(call.args[0]) for call in called("collect_submodules")]
    assert {"potminer", "textual.widgets"} <= set(packages)
    assert not [name for name in (*packages, *told("hidden")) if find_spec(name) is None]


def test_every_version_that_is_told_travels_with_its_metadata() -> None:
    travels = {*told("told"), "torch"}
    assert travels == set(PARTS)
    assert all(distribution(name).version for name in travels)


@pytest.mark.parametrize(
    ("argument", "said"), [("--help", "Idle mining rigs"), (WORKER_ARGUMENT, "--blobs"), ("version", "potminer 0.")]
)
def test_the_entry_is_program_and_worker(argument: str, said: str) -> None:
    command = [sys.executable, str(ROOT / "packaging/launch.py"), argument]
    done = subprocess.run(
        [*command, "--help"] if argument == WORKER_ARGUMENT else command, capture_output=True, text=True, timeout=60,
        check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert said in done.stdout
