"""What a block brought about, in the past tense: for people, logs and history. Nothing decides by these."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.wire.record import Calibration, Judgement, Phase, Share


@dataclass(frozen=True, slots=True)
class TaskOpened:
    task: bytes
    name: str
    requester: bytes
    budget: int


@dataclass(frozen=True, slots=True)
class TaskCalibrated:
    """Measured for the first time, or for a device class that is new to the task."""

    task: bytes
    calibration: Calibration


@dataclass(frozen=True, slots=True)
class RoundOpened:
    task: bytes
    round: int
    attempt: int
    units: int


@dataclass(frozen=True, slots=True)
class PhaseEntered:
    task: bytes
    round: int
    attempt: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class UnitEnded:
    """A unit's one outcome. *paid* is its share of the pot in grains, still in the dispute window. *lengths* is how
    long its update is said to be; an *outlier* was audited whole for it."""

    task: bytes
    round: int
    attempt: int
    slot: int
    trainer: bytes
    judgement: Judgement
    loss_micro: int
    paid: int
    lengths: tuple[int, ...] = ()
    outlier: bool = False


@dataclass(frozen=True, slots=True)
class RoundClosed:
    task: bytes
    round: int
    attempt: int
    model: bytes
    loss_micro: int
    """Mean over the accepted units, as their trainers reported it."""
    accepted: int
    refused: int
    pot: int


@dataclass(frozen=True, slots=True)
class RoundFailed:
    task: bytes
    round: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rewarded:
    task: bytes
    round: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Paid:
    """*kept* is what of the *shares* became bond instead of going to its account."""

    task: bytes
    round: int
    shares: tuple[Share, ...]
    kept: tuple[Share, ...] = ()


@dataclass(frozen=True, slots=True)
class Expelled:
    """Out of *task*; *forfeited* is what it lost for what it did there: pending rewards and bond. Of other tasks
    it is put out with nothing more to lose."""

    task: bytes
    trainer: bytes
    reason: str
    forfeited: int


@dataclass(frozen=True, slots=True)
class StakeHeld:
    """Its work of *round* of *task* was not shown: all that *trainer* has, *amount*, is held until it was."""

    task: bytes
    round: int
    trainer: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class PayHeld:
    """The pay of a round that was drawn on a stake that is held now: held with it."""

    task: bytes
    round: int
    trainer: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class StakeReturned:
    """All that *trainer* had hidden was shown, last a unit of *task*: *amount* is its bond again."""

    task: bytes
    trainer: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class ModelEvaluated:
    """The model after *closed* rounds was scored by *answers* evaluators; *shares* went to those who agree."""

    task: bytes
    closed: int
    score_ppm: int
    loss_micro: int
    answers: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class TaskEnded:
    task: bytes
    model: bytes
    rounds: int
    refunded: int
    reason: str


@dataclass(frozen=True, slots=True)
class ValidatorSlashed:
    """*amount* is the whole bond; *rewarded* of it went to *reporter*, the rest is burnt."""

    validator: bytes
    reporter: bytes
    amount: int
    rewarded: int


@dataclass(frozen=True, slots=True)
class EpochBegan:
    """From the next block on *members* decide. *kept*: nobody is bonded, so the committee of the epoch
    after this one is the same again."""

    epoch: int
    members: tuple[bytes, ...]
    kept: bool


CommitteeEvent = ValidatorSlashed | EpochBegan
Event = (
    TaskOpened | TaskCalibrated | RoundOpened | PhaseEntered | UnitEnded | RoundClosed | RoundFailed | Rewarded | Paid
    | Expelled | StakeHeld | PayHeld | StakeReturned | ModelEvaluated | TaskEnded | CommitteeEvent
)
