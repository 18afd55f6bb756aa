"""One line of a check-up: what was looked at, how it is, what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    """It works, and not as well as it could."""
    FAULT = "fault"
    """What this node is there for does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """*hint* says what to do, empty where nothing is to be done."""

    name: str
    level: Level
    text: str
    hint: str = ""


def worst(findings: Iterable[Finding]) -> Level:
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.FAULT, Level.WARN) if level in levels), Level.OK)
