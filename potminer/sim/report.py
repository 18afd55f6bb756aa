"""What a run came to, whether it was of bare replicas (world.py) or of the node's own engines (town.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from potminer.sim.plan import Plan


class Resident(Protocol):
    """A host of the world, or a citizen of the town."""

    lives: int
    stops: int
    highest_view: int

    @property
    def height(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Report:
    scenario: str
    seed: int
    nodes: int
    faulty: tuple[int, ...]
    violations: tuple[str, ...]
    blocks: int
    highest_view: int
    restarts: int
    stops: int
    """How often a disk stopped a node."""
    messages: int
    events: int
    resumed_ms: int
    """From the heal until every honest replica of the core had executed everything."""
    virtual_ms: int
    violated_ms: int | None
    """When the first violation was seen."""
    fingerprint: str
    leaps: int = 0
    """How often a member landed on a snapshot (the town only)."""

    @property
    def replay(self) -> str:
        return f"potminer simulate --scenario {self.scenario} --seed {self.seed}"


def report_of(
    plan: Plan, residents: Sequence[Resident], *, violations: Sequence[str], violated_ms: int | None, resumed_ms: int,
    messages: int, events: int, now: int, fingerprint: str, leaps: int = 0,
) -> Report:  # fmt: skip
    return Report(
        scenario=plan.name,
        seed=plan.seed,
        nodes=plan.nodes,
        faulty=tuple(sorted(plan.faulty)),
        violations=tuple(violations),
        blocks=max(resident.height for resident in residents),
        highest_view=max(resident.highest_view for resident in residents),
        restarts=sum(resident.lives - 1 for resident in residents if resident.lives),
        stops=sum(resident.stops for resident in residents),
        messages=messages,
        events=events,
        resumed_ms=resumed_ms,
        virtual_ms=now,
        violated_ms=violated_ms,
        fingerprint=fingerprint,
        leaps=leaps,
    )
