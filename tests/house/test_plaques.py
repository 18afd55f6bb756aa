"""Every room says at its door what it is; every file stays small enough to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "potminer"
SIGNS = ("Is: ", "Knows: ", "Never: ", "Start at: ")
LINES = 500
"""Longest file. A ratchet: it may be lowered, and there is no list of exceptions."""

ROOMS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
FILES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("room", ROOMS, ids=name)
def test_a_room_has_a_plaque(room: Path) -> None:
    door = room / "__init__.py"
    assert door.exists(), f"{name(room)} holds code but has no __init__.py"
    lines = door.read_text(encoding="utf-8").splitlines()
    assert lines, f"{name(door)} is empty"
    assert lines[0].startswith('"""'), f"{name(door)} begins with its plaque"
    assert ": " in lines[0], f"{name(door)} begins with: Room: what."
    missing = [sign for sign in SIGNS if not any(line.startswith(sign) for line in lines)]
    assert not missing, f"{name(door)} does not say {missing}"


@pytest.mark.parametrize("room", ROOMS, ids=name)
def test_what_a_plaque_starts_at_exists(room: Path) -> None:
    text = (room / "__init__.py").read_text(encoding="utf-8")
    start = text.partition("Start at: ")[2].partition('"""')[0]
    words = [word.strip(".,;:()") for word in start.split()]
    files = [word for word in words if word.endswith((".py", ".md"))]
    lost = [f for f in files if not any((base / f).exists() for base in (room, PACKAGE, ROOT))]
    assert not lost, f"{name(room)} sends its visitor to {lost}, which is not there"


def test_no_file_is_longer_than_the_ratchet() -> None:
    sizes = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert not {path: size for path, size in sizes.items() if size > LINES}
