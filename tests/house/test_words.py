"""What must not be written: unfinished work, names that say nothing, and the ways round a rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = sorted((ROOT / "potminer").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TEXTS = [*CODE, *TESTS, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "assets").rglob("*.toml"))]

UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
DOORS = {"node/engine.py", "world/child.py", "cli/main.py"}
"""Where an unexpected exception may be caught: the process must end it in an orderly way."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def words_of(identifier: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", identifier)}


def definitions(path: Path) -> Iterator[str]:
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def broad_handlers(path: Path) -> Iterator[int]:
    """Lines that swallow everything; to clean up and raise again is no swallowing."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        raised = isinstance(node, ast.ExceptHandler) and isinstance(node.body[-1], ast.Raise)
        if isinstance(node, ast.ExceptHandler) and not (raised and ast.unparse(node.body[-1]) == "raise"):
            caught = {"BaseException"} if node.type is None else set(re.findall(r"\w+", ast.unparse(node.type)))
            if caught & {"Exception", "BaseException"}:
                yield node.lineno


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{name(path)}:{number}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert not found


def test_no_name_says_nothing() -> None:
    found = [f"{name(p)}: {d}" for p in [*CODE, *TESTS] for d in definitions(p) if words_of(d) & EMPTY_WORDS]
    rooms = [name(p.parent) for p in CODE if words_of(p.parent.name) & EMPTY_WORDS]
    assert not found + rooms


def test_only_the_three_doors_catch_everything() -> None:
    found = [f"{name(p)}:{line}" for p in CODE for line in broad_handlers(p)]
    package = "potminer/"
    assert not [place for place in found if place.removeprefix(package).partition(":")[0] not in DOORS]


def test_nothing_from_outside_is_ever_executed() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "marshal.loads", "torch.load"}
    found = [f"{name(p)}:{line} {call}" for p in CODE for line, call in calls(p) if call in forbidden]
    assert not found


def test_tests_neither_sleep_nor_patch_nor_skip_by_mark() -> None:
    sleeping = [f"{name(p)}:{line}" for p in TESTS for line, call in calls(p) if call in {"time.sleep", "sleep"}]
    forbidden = ("monkey" + "patch", "unittest" + ".mock", "mark." + "skip", "mark." + "xfail")
    patching = [f"{name(p)}: {word}" for p in TESTS for word in forbidden if word in p.read_text(encoding="utf-8")]
    assert not sleeping + patching
