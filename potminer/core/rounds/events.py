"""What the round machine hears, and what it wants done."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.committee import Committee
from potminer.core.machine import Persist
from potminer.wire.held import HiddenUnit
from potminer.wire.record import EvaluationRecord, RoundRecord, SliceRecord, TaskRecord, UnitRecord, Verdict
from potminer.wire.slice import Span
from potminer.wire.task import TaskSpec
from potminer.wire.trainer import Job, Report
from potminer.wire.tx import Body

# ---- events ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """How a task stands after a block. *units* are those of *round*, by slot. *ahead* is the same task with the round
    that trains already while *round* is audited, and its units."""

    task: bytes
    record: TaskRecord
    round: RoundRecord | None
    units: tuple[UnitRecord, ...]
    registered: bool
    """Whether the ledger knows us as a trainer."""
    block_ms: int
    evaluation: EvaluationRecord | None = None
    slices: tuple[SliceRecord, ...] = ()
    """What is said of every slice, where the model is aggregated in slices."""
    committee: Committee | None = None
    """Who sits, where there are slices to share out."""
    lengths: tuple[SliceRecord, ...] = ()
    """What is said of the lengths on every slice, where the rule needs them."""
    ahead: TaskSeen | None = None

    def at(self, number: int, attempt: int) -> TaskSeen | None:
        """The task with that round, if it is in progress."""
        each = self if self.round is not None and self.round.number == number else self.ahead
        current = each.round if each is not None else None
        return each if current is not None and (current.number, current.attempt) == (number, attempt) else None


@dataclass(frozen=True, slots=True)
class HiddenSeen:
    """A hidden unit of our own."""

    unit: HiddenUnit
    spec: TaskSpec


@dataclass(frozen=True, slots=True)
class ShownSeen:
    """A hidden unit of *trainer*'s that the committee is asked to look at; *judges* have."""

    trainer: bytes
    unit: HiddenUnit
    spec: TaskSpec
    deadline_ms: int
    judges: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class HeldSeen:
    """What is hidden after a block: of our own, and of anybody's what is shown. *showing*: of our own something is,
    and nothing else may be."""

    own: tuple[HiddenSeen, ...] = ()
    shown: tuple[ShownSeen, ...] = ()
    block_ms: int = 0
    showing: bool = False


@dataclass(frozen=True, slots=True)
class BlobFetched:
    blob: bytes
    found: bool


@dataclass(frozen=True, slots=True)
class ExcerptFetched:
    """*excerpt* is the blob that slice *index* of *update* lies in now; None where nobody had it."""

    update: bytes
    index: int
    excerpt: bytes | None


@dataclass(frozen=True, slots=True)
class Reported:
    report: Report


@dataclass(frozen=True, slots=True)
class DutyChanged:
    """*workers* may take jobs now. *finishing*: what runs may end, nothing new is begun and the task is left."""

    may_train: bool
    workers: int = 1
    finishing: bool = False


@dataclass(frozen=True, slots=True)
class SeatChanged:
    """Whether we sit in the committee from here on: then we judge disputes and attest models."""

    validator: bool


Event = TaskSeen | HeldSeen | BlobFetched | ExcerptFetched | Reported | DutyChanged | SeatChanged

# ---- effects -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get *blob* of at most *max_bytes* from whoever has it; ``BlobFetched`` comes back."""

    blob: bytes
    max_bytes: int


@dataclass(frozen=True, slots=True)
class FetchExcerpt:
    """Get the *ranges* of *update*, of *size* bytes: its slice *index*; ``ExcerptFetched`` comes back."""

    update: bytes
    index: int
    size: int
    ranges: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class StartJob:
    """Give *job* to a free worker; ``Reported`` comes back."""

    job: Job


@dataclass(frozen=True, slots=True)
class CancelJob:
    job: int


@dataclass(frozen=True, slots=True)
class Submit:
    """Sign *body* with the node key and send it to the validators."""

    body: Body


@dataclass(frozen=True, slots=True)
class Remade:
    """A hidden unit of ours whose snapshots were lost was computed again; *same*: to the bit what was revealed."""

    round: int
    same: bool


Errand = Fetch | FetchExcerpt | StartJob | CancelJob | Submit
"""What takes time, and is nothing that must be durable first."""
Effect = Errand | Persist | Remade
