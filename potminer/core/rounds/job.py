"""The job that runs, and what it is for."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.wire.record import Phase

Place = tuple[bytes, int, int, int]
"""(task, round, attempt, slot)."""

Purpose = Place | tuple[Place, int] | tuple[bytes, int, int]
"""What a job is for: training a unit, auditing a segment of one, aggregating an attempt."""


@dataclass(frozen=True, slots=True)
class Running:
    """*slots* are those whose updates an aggregation is made of, *left_out* those nobody could fetch."""

    job: int
    purpose: Purpose
    phase: Phase
    slots: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    cancelled: bool = False

    @property
    def attempt(self) -> tuple[bytes, int, int]:
        """(task, round, attempt) that the job is for."""
        place = self.purpose[0] if isinstance(self.purpose[0], tuple) else self.purpose
        task, number_, attempt = place[:3]
        return task, number_, attempt
