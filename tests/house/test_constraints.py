"""Every package that an installation brings along is pinned, and the pins are what the tests ran with."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "packaging/constraints.txt"
NOT_PINNED = {"potminer"}
"""Ourselves."""


def pins() -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines()]
    pairs = [re.fullmatch(r"([A-Za-z0-9._-]+)==([\w.]+)(?:\s*;.*)?", line) for line in lines if line]
    assert all(pairs), "a constraint is one line: name==version"
    return {str(canonicalize_name(pair[1])): pair[2] for pair in pairs if pair}


def needed(root: str) -> set[str]:
    """Installed distributions that *root* needs on this machine, extras train and test included."""
    found: set[str] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(root, ("train", "test"))]
    while waiting:
        name, extras = waiting.pop()
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for requirement in map(Requirement, requirements):
            marker = requirement.marker
            wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
            if wanted and (child := str(canonicalize_name(requirement.name))) not in found:
                found.add(child)
                waiting.append((child, tuple(requirement.extras)))
    return found


def test_everything_needed_is_pinned() -> None:
    assert not needed("potminer") - set(pins()) - NOT_PINNED


@pytest.mark.parametrize("name", sorted(needed("potminer") - NOT_PINNED))
def test_the_pin_is_what_is_installed(name: str) -> None:
    assert version(name).partition("+")[0] == pins()[name]


def test_torch_is_pinned_to_the_release_the_measurements_were_made_with() -> None:
    assert pins()["torch"] == "2.13.0"
