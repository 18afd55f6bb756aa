"""The jobs that run, what they are for, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from potminer.wire.record import Phase

Place = tuple[bytes, int, int, int]
"""(task, round, attempt, slot)."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The model of *task* after *closed* rounds."""

    task: bytes
    closed: int


Attempt = tuple[bytes, int, int]
"""(task, round, attempt)."""


@dataclass(frozen=True, slots=True)
class Slicing:
    """Slice *index* of an attempt's model, without the slots that are known to be malformed. Where it *measures*, the
    lengths on it."""

    attempt: Attempt
    index: int
    without: tuple[int, ...]
    measures: bool = False


@dataclass(frozen=True, slots=True)
class Looking:
    """A *segment* of the hidden unit at *place*, whose round is over."""

    place: Place
    segment: int


@dataclass(frozen=True, slots=True)
class Remaking:
    """Our hidden unit at *place*, whose snapshots are lost: computed again, to show it."""

    place: Place


Apart = Scoring | Looking | Remaking
"""What is for no round in progress."""
Purpose = Place | tuple[Place, int] | Attempt | Slicing | Apart
"""What a job is for: training a unit, auditing a segment of one, aggregating an attempt or a slice of it, scoring a
model, looking at what was hidden, making it again."""

RETRY_JOB_MS = 5_000
"""How long a job rests that failed: it would fail again at once."""
RESTS = 4_096


@dataclass(frozen=True, slots=True)
class Running:
    """*phase* is None for what belongs to no round.

    *slots* are those whose updates an aggregation is made of, *left_out* those nobody could fetch.
    """

    job: int
    purpose: Purpose
    phase: Phase | None
    slots: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()
    cancelled: bool = False

    @property
    def attempt(self) -> Attempt:
        """What the job is for; a scoring is for no attempt, and what was hidden is of one that is over."""
        if isinstance(self.purpose, Apart):
            raise AssertionError("a model is scored between attempts")
        if isinstance(self.purpose, Slicing):
            return self.purpose.attempt
        place = self.purpose[0] if isinstance(self.purpose[0], tuple) else self.purpose
        task, number_, attempt = place[:3]
        return task, number_, attempt


def slots_of(running: Running) -> tuple[int, ...]:
    """What an aggregation is of, with what nobody could fetch."""
    return tuple(sorted((*running.slots, *running.left_out)))


class Jobs:
    """At most one job a worker, and never two for one purpose. A job that was given up still holds its
    worker until it is answered."""

    def __init__(self) -> None:
        self.workers = 1
        self._running: dict[int, Running] = {}
        self._resting: dict[Purpose, int] = {}
        self._last = 0

    def next_id(self) -> int:
        self._last = (self._last + 1) % 2**32
        return self._last

    def free(self, purpose: Purpose, now: int) -> bool:
        """Whether a job for *purpose* may start: a worker is free, none does it, and it does not rest."""
        if len(self._running) >= self.workers or self._resting.get(purpose, now) > now:
            return False
        return not self.does(purpose)

    def does(self, purpose: Purpose) -> bool:
        return any(running.purpose == purpose for running in self._running.values())

    def start(self, running: Running) -> None:
        if len(self._running) >= self.workers:
            raise AssertionError("more jobs than workers")
        self._running[running.job] = running

    def end(self, job: int) -> Running | None:
        """The job that was answered; None where nobody asked for it."""
        return self._running.pop(job, None)

    def going(self) -> list[Running]:
        """Jobs that were not given up."""
        return [running for running in self._running.values() if not running.cancelled]

    def give_up(self, job: int) -> None:
        self._running[job] = replace(self._running[job], cancelled=True)

    def rest(self, purpose: Purpose, now: int) -> None:
        if len(self._resting) > RESTS:
            self._resting.clear()
        self._resting[purpose] = now + RETRY_JOB_MS
