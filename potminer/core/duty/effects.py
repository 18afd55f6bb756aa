"""What a device wants done, in order. Asks of one miner are carried out one at a time."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.duty.state import Reason, State
from potminer.core.machine import Persist, SetTimer


@dataclass(frozen=True, slots=True)
class StartWork:
    """The device is ours: give its worker jobs. Answered by WorkerReleased or WorkerFailed of this *run*, once."""

    bus: str
    run: int


@dataclass(frozen=True, slots=True)
class StopWork:
    """End at the current micro-batch, free the device's memory; at the deadline end the child. 0 is now."""

    bus: str
    run: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class FinishWork:
    """Begin no other job on the device; when the one under way has ended, let go. Answered as StopWork is."""

    bus: str
    run: int


@dataclass(frozen=True, slots=True)
class PauseMiner:
    """Answered by MinerReplied(PAUSE)."""

    bus: str


@dataclass(frozen=True, slots=True)
class ResumeMiner:
    """Answered by MinerReplied(RESUME). Harmless where the miner runs already."""

    bus: str


@dataclass(frozen=True, slots=True)
class Note:
    """A fact for faces and logs: the state or its reasons changed."""

    bus: str
    state: State
    reasons: frozenset[Reason]


Effect = StartWork | StopWork | FinishWork | PauseMiner | ResumeMiner | Note | Persist | SetTimer
