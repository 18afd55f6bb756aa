"""What one paint of a screen is made from."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.dashboard.bridge import Link
from potminer.view.history import History
from potminer.view.overview import Overview
from potminer.wire.control import Snapshot
from potminer.wire.proven import ProvenView


@dataclass(frozen=True, slots=True)
class Picture:
    """A photograph as it looks at *now_ms*."""

    snapshot: Snapshot
    overview: Overview
    history: History
    now_ms: int
    proven: ProvenView | None = None
    """None before it was first looked at."""


@dataclass(frozen=True, slots=True)
class Seen:
    """*picture* is None before the first photograph; *trouble* says why the line is down, *hint* what to do."""

    picture: Picture | None
    link: Link
    trouble: str = ""
    hint: str = ""
    wide: bool = False
    faults_only: bool = False
