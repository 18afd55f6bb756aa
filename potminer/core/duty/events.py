"""What a device hears. All in the past tense."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from potminer.core.duty.state import Mode
from potminer.core.machine import TimerFired
from potminer.wire.facts import GpuSample, HostSample, MinerSample, Terms


class Ask(StrEnum):
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Sampled:
    """One look at the rig, every 2 s or so. *gpu* is None for the CPU device, or where a GPU fell off
    the bus. *miner* is None where this device has none, or where it did not answer."""

    host: HostSample
    gpu: GpuSample | None
    miner: MinerSample | None
    terms: Terms | None = None
    """What work and power are worth now; None where nobody asked."""


@dataclass(frozen=True, slots=True)
class MinerReplied:
    """The adapter finished what it was asked, including reading the miner's state back."""

    ask: Ask
    ok: bool


@dataclass(frozen=True, slots=True)
class WorkerReleased:
    """Our child stopped and holds no device memory any more (or it ended by itself).

    *run* is StartWork's: an answer of an earlier run says nothing about this one.
    """

    run: int


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """Our child died or could not work; it holds nothing any more."""

    run: int


@dataclass(frozen=True, slots=True)
class Overridden:
    """The owner spoke. *until_ms* is on the clock of ``now``; None: the default time of that mode."""

    mode: Mode
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FinishAsked:
    """The owner wants the unit under way to end and then nothing more: the device is off until changed."""


@dataclass(frozen=True, slots=True)
class KernelsChecked:
    """What the installed torch said about this device. *fits* is None where nobody could tell: work will show."""

    fits: bool | None


@dataclass(frozen=True, slots=True)
class Nudged:
    """A companion moved (see ``company.py``)."""


@dataclass(frozen=True, slots=True)
class JournalRestored:
    """First event after a start where something had been persisted under this device's key."""

    value: bytes


Event = (
    Sampled
    | MinerReplied
    | WorkerReleased
    | WorkerFailed
    | Overridden
    | FinishAsked
    | KernelsChecked
    | Nudged
    | JournalRestored
    | TimerFired
)
