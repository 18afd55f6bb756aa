"""Ledger records: the values under the state root, as light clients are shown them.

A key is one table letter and an identity; a record is its canonical encoding. All money of
the ledger lies in the fields named by ``money``.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import (
    U8,
    U16,
    U32,
    U63,
    BlobId,
    DeviceClass,
    Epoch,
    Grains,
    Hash,
    Height,
    Millis,
    Ppm,
    PublicKey,
    Slot,
)
from potminer.wire.codec import Wire
from potminer.wire.held import HeldStake
from potminer.wire.residue import Leaf, LeafIndex
from potminer.wire.task import TaskSpec
from potminer.wire.tx import Trial
from potminer.wire.verdict import Verdict as Verdict


class TaskStatus(IntEnum):
    OPEN = 0
    CLOSED = 1
    CANCELLED = 2


class Phase(IntEnum):
    """Where a round stands. DRAW waits for chance nobody could foresee at the reveal."""

    COMMIT = 0
    REVEAL = 1
    DRAW = 2
    AUDIT = 3
    OPEN = 4
    DISPUTE = 5
    AGGREGATE = 6


class Outcome(StrEnum):
    """What became of a unit. Exactly one, with its numbers, for every unit."""

    ACCEPTED = "accepted"
    LATE = "late"
    NOT_REVEALED = "not-revealed"
    UNAVAILABLE = "unavailable"
    WRONG_BASE = "wrong-base"
    MALFORMED = "malformed"
    OUT_OF_TOLERANCE = "out-of-tolerance"
    DUPLICATE = "duplicate"
    NOT_OPENED = "not-opened"
    FALSE_RESIDUES = "false-residues"


class Standing(IntEnum):
    """A member's place in a task."""

    ACTIVE = 0
    INACTIVE = 1
    """Missed a unit: assigned nothing until it joins again."""
    LEFT = 2
    EXPELLED = 3
    """Proven to have cheated. Final for this task."""


class Account(Wire, frozen=True):
    balance: Grains = 0
    nonce: U63 = 0


class Trainer(Wire, frozen=True):
    """*expelled*: proven to have cheated. Nobody assigns it work or pays it again."""

    payout: PublicKey
    bond: Grains = 0
    unbonding: Grains = 0
    expelled: bool = False


class Validator(Wire, frozen=True):
    """*onion* is the last value revealed of the validator's hash onion; the next preimage hashes to it.

    *next_onion* takes its place from *next_epoch* on. *unbonding* can still be slashed; *slashed* is final.
    """

    onion: Hash
    bond: Grains = 0
    unbonding: Grains = 0
    next_onion: Hash | None = None
    next_epoch: Epoch = 0
    slashed: bool = False

    def onion_in(self, epoch: int) -> bytes:
        """The layer that the preimage of a block in *epoch* must lie under."""
        return self.next_onion if self.next_onion is not None and epoch >= self.next_epoch else self.onion


class CommitteeRecord(Wire, frozen=True):
    """*skipped* are the seats, rising, that have no turn to propose for the rest of the epoch."""

    epoch: Epoch
    members: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=limits.COMMITTEE)]
    powers: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=limits.COMMITTEE)]
    skipped: Annotated[tuple[U8, ...], Meta(max_length=limits.COMMITTEE)] = ()


class Unbonding(Wire, frozen=True):
    """Part of a validator's bond that becomes free once both *time_ms* and *epoch* are reached."""

    validator: PublicKey
    amount: Grains
    time_ms: Millis
    epoch: Epoch


class Roster(Wire, frozen=True):
    """Validators that may be elected, by key, and bonds on their way out, oldest first."""

    candidates: Annotated[tuple[PublicKey, ...], Meta(max_length=limits.CANDIDATES)]
    unbondings: Annotated[tuple[Unbonding, ...], Meta(max_length=limits.UNBONDINGS)] = ()


class ReceiptsRecord(Wire, frozen=True):
    """The receipts of the last block that had transactions: *root* over them, *height* of that block."""

    height: Height
    root: Hash


class Release(Wire, frozen=True):
    """Unbonding money that becomes free at *time_ms*."""

    time_ms: Millis
    trainer: PublicKey
    amount: Grains


class ChainRecord(Wire, frozen=True):
    """What the ledger knows of itself."""

    height: Height
    time_ms: Millis
    beacon: Hash
    supply: Grains
    trainers: U32
    open_tasks: Annotated[tuple[Hash, ...], Meta(max_length=limits.TASKS_OPEN)]
    releases: Annotated[tuple[Release, ...], Meta(max_length=4_096)]
    burnt: Grains = 0
    """Slashed bonds that went to nobody: part of the supply, out of everybody's reach."""
    showing: Annotated[tuple[PublicKey, ...], Meta(max_length=limits.SHOWING)] = ()
    """Trainers whose hidden snapshots are being looked at, oldest first."""


class Member(Wire, frozen=True):
    trainer: PublicKey
    standing: Standing
    last_auditor: PublicKey | None
    capacity: U8 = 0
    """Units it holds in a round; 0 until a first one is over: as many as a trainer may."""
    doubted: U32 = 0
    """No round opens ahead of one before this that it has a unit in: its work made others do theirs again."""


class Metric(Wire, frozen=True):
    """How the model after *closed* rounds does on the validation split: lower medians over *answers* evaluators."""

    closed: U32
    score_ppm: Ppm
    loss_micro: U63
    answers: U8


class SeenDevice(Wire, frozen=True):
    """A device class and the largest honest error that was measured of its work; None where none of it passed."""

    name: DeviceClass
    noise_ppm: Ppm | None


class Calibration(Wire, frozen=True):
    """What the first round measured: honest noise, the smallest cheat, and so the tolerance of all later audits.
    *refused*: the two are too near each other, the task ends."""

    tolerance_ppm: Ppm
    noise_ppm: Ppm
    cheat_ppm: Ppm
    devices: Annotated[tuple[SeenDevice, ...], Meta(max_length=limits.DEVICE_CLASSES)]
    refused: bool = False


class TaskRecord(Wire, frozen=True):
    """*round* is the first that has not closed; *model* is theta(round)."""

    spec: TaskSpec
    requester: PublicKey
    escrow: Grains
    status: TaskStatus
    round: U32
    attempt: U32
    model: BlobId
    members: Annotated[tuple[Member, ...], Meta(max_length=limits.TRAINERS_PER_TASK)]
    metric: Metric | None = None
    """The newest evaluation's."""
    calibration: Calibration | None = None
    arrivals: Annotated[tuple[Millis, ...], Meta(max_length=64)] = ()
    """Milliseconds from the opening of a round to a trainer's last commitment, newest last."""
    voided: U32 = 0
    """Attempts of the round after *round* that were opened ahead and are void."""


class Audit(Wire, frozen=True):
    """Who recomputes which segment of which unit; a unit may have several. No auditor: the committee judges at once.

    *leaf* is what it has to sketch, another for every auditor of one segment. *disputed* is given to the committee,
    whose word is the *ruling*.
    """

    slot: Slot
    segment: U8
    auditor: PublicKey | None
    leaf: LeafIndex = 0
    disputed: bool = False
    ruling: Outcome | None = None


class EvaluationPhase(IntEnum):
    """Where an evaluation stands. JUDGE: its evaluators contradict each other, or it is looked at again."""

    COMMIT = 0
    REVEAL = 1
    JUDGE = 2


class BoundScore(Wire, frozen=True):
    """What an evaluator is bound to before anybody shows theirs."""

    evaluator: PublicKey
    commitment: Hash


class Score(Wire, frozen=True):
    """What *scorer* found, an evaluator or a judge."""

    scorer: PublicKey
    score_ppm: Ppm
    loss_micro: U63
    trial_micro: Trial


class EvaluationRecord(Wire, frozen=True):
    """An evaluation that is under way: of *model*, after *closed* rounds. *purse* pays the evaluators. *seed* draws
    the signs of its trial; *judges* are the committee's scores."""

    closed: U32
    model: BlobId
    deadline_ms: Millis
    evaluators: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=7)]
    purse: Grains
    seed: Hash
    phase: EvaluationPhase = EvaluationPhase.COMMIT
    bound: Annotated[tuple[BoundScore, ...], Meta(max_length=7)] = ()
    scores: Annotated[tuple[Score, ...], Meta(max_length=7)] = ()
    judges: Annotated[tuple[Score, ...], Meta(max_length=limits.COMMITTEE)] = ()


class Attestation(Wire, frozen=True):
    validator: PublicKey
    model: BlobId
    malformed: Annotated[tuple[Slot, ...], Meta(max_length=limits.UNITS_PER_ROUND)]


class PartAttestation(Wire, frozen=True):
    validator: PublicKey
    part: BlobId
    malformed: Annotated[tuple[Slot, ...], Meta(max_length=limits.UNITS_PER_ROUND)]


class SliceRecord(Wire, frozen=True):
    """What validators say of one slice of the next model, or of the lengths of updates on it."""

    attestations: Annotated[tuple[PartAttestation, ...], Meta(max_length=limits.COMMITTEE)]


class RoundRecord(Wire, frozen=True):
    """A round in progress. *slots* is the trainer of every unit, by slot; *slices* is into how many the next model is
    cut when it is aggregated. *base* is theta(number), or, where the round before has not closed, the model that it
    will close with if all its units are accepted."""

    number: U32
    attempt: U32
    seed: Hash
    base: BlobId
    phase: Phase
    opened_ms: Millis
    deadline_ms: Millis
    slots: Annotated[tuple[PublicKey, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    witnesses: Annotated[tuple[PublicKey, ...], Meta(max_length=limits.COMMITTEE)]
    audits: Annotated[tuple[Audit, ...], Meta(max_length=limits.AUDITS_PER_ROUND)]
    attestations: Annotated[tuple[Attestation, ...], Meta(max_length=limits.COMMITTEE)]
    slices: Annotated[int, Meta(ge=1, le=limits.COMMITTEE)] = 1
    draws_at: Height = 0
    """Height of the block that draws the audits; 0 while too few have proposed since the reveals."""


class Opening(Wire, frozen=True):
    """A leaf of a unit's residues, proven to be what its trainer was bound to."""

    segment: U8
    leaf: LeafIndex
    residues: Leaf


class Judgement(Wire, frozen=True):
    """A unit's end: outcome and its numbers."""

    outcome: Outcome
    measured_ppm: Ppm | None
    allowed_ppm: Ppm


class UnitRecord(Wire, frozen=True):
    """One unit of a round in progress. *verdicts* are its auditors', *judges* are the committee's in a dispute.
    *residues* is the root that it is bound to, *openings* what it showed of them. *stake* is what its trainer stood to
    lose when its audits were drawn, *allowed_ppm* the error that they let pass. *device* computed it; where it is
    *calibrating*, a measured error proves nothing yet. *lengths* is how long it says its update is, on every slice; an
    *outlier* was so much longer than others that all of it is audited.
    """

    trainer: PublicKey
    commitment: Hash | None = None
    loss_micro: U63 = 0
    snapshots: Annotated[tuple[BlobId, ...], Meta(max_length=limits.SEGMENTS)] = ()
    verdicts: Annotated[tuple[Verdict, ...], Meta(max_length=4 * limits.SEGMENTS)] = ()
    judges: Annotated[tuple[Verdict, ...], Meta(max_length=limits.COMMITTEE * limits.SEGMENTS)] = ()
    judgement: Judgement | None = None
    stake: Grains = 0
    allowed_ppm: Ppm | None = None
    device: DeviceClass = ""
    calibrating: bool = False
    arrived_ms: Millis | None = None
    """From the round's opening to the commitment."""
    residues: Hash | None = None
    openings: Annotated[tuple[Opening, ...], Meta(max_length=4 * limits.SEGMENTS)] = ()
    lengths: Annotated[tuple[U16, ...], Meta(max_length=limits.COMMITTEE)] = ()
    outlier: bool = False


class Share(Wire, frozen=True):
    """Money earned in a round by *earner*, to be paid to *account*."""

    earner: PublicKey
    account: PublicKey
    amount: Grains


class PendingRound(Wire, frozen=True):
    """A closed round in the dispute window: its rewards, and its updates that nobody may copy."""

    shares: Annotated[tuple[Share, ...], Meta(max_length=2 * limits.UNITS_PER_ROUND + limits.COMMITTEE)]
    updates: Annotated[tuple[BlobId, ...], Meta(max_length=limits.UNITS_PER_ROUND)]


class UpdateOwner(Wire, frozen=True):
    """Who first revealed an update: a second reveal of the same blob is a copy."""

    round: U32
    trainer: PublicKey


Record = (
    Account | Trainer | Validator | CommitteeRecord | Roster | ChainRecord | ReceiptsRecord | TaskRecord
    | RoundRecord | UnitRecord | PendingRound | UpdateOwner | EvaluationRecord | SliceRecord | HeldStake
)

CHAIN = b"C"
COMMITTEE = b"K"
"""The committee of the next block's epoch."""
FOLLOWING = b"F"
"""The committee of the epoch after that one."""
ROSTER = b"V"
RECEIPTS = b"R"


def account_key(key: bytes) -> bytes:
    return b"a" + key


def trainer_key(key: bytes) -> bytes:
    return b"t" + key


def validator_key(key: bytes) -> bytes:
    return b"v" + key


TASKS = b"k"
"""What the keys of tasks begin with, and no others."""


def task_key(task: bytes) -> bytes:
    return TASKS + task


def round_key(task: bytes, number: int) -> bytes:
    """A task has two places for rounds: two in a row may be in progress, never more."""
    return b"r" + task + (number % 2).to_bytes(1, "big")


def unit_key(task: bytes, number: int, slot: int) -> bytes:
    return b"u" + task + (number % 2).to_bytes(1, "big") + slot.to_bytes(2, "big")


def pending_key(task: bytes, number: int) -> bytes:
    return b"p" + task + number.to_bytes(4, "big")


def held_key(trainer: bytes) -> bytes:
    return b"h" + trainer


def evaluation_key(task: bytes) -> bytes:
    return b"e" + task


def slice_key(task: bytes, index: int) -> bytes:
    return b"s" + task + bytes((index,))


def lengths_key(task: bytes, index: int) -> bytes:
    return b"l" + task + bytes((index,))


def update_key(task: bytes, update: bytes) -> bytes:
    return b"d" + task + update


RECORD_TYPES: dict[bytes, type[Wire]] = {
    b"C": ChainRecord,
    b"K": CommitteeRecord,
    b"R": ReceiptsRecord,
    b"F": CommitteeRecord,
    b"V": Roster,
    b"a": Account,
    b"t": Trainer,
    b"v": Validator,
    b"k": TaskRecord,
    b"r": RoundRecord,
    b"u": UnitRecord,
    b"s": SliceRecord,
    b"l": SliceRecord,
    b"p": PendingRound,
    b"d": UpdateOwner,
    b"e": EvaluationRecord,
    b"h": HeldStake,
}


def money(record: Record) -> int:
    """Grains that lie in *record*. Their sum over the ledger is the supply, in every block."""
    match record:
        case Account():
            return record.balance
        case Trainer() | Validator():
            return record.bond + record.unbonding
        case ChainRecord():
            return record.burnt
        case TaskRecord():
            return record.escrow
        case EvaluationRecord():
            return record.purse
        case HeldStake():
            return record.amount
        case PendingRound():
            return sum(share.amount for share in record.shares)
        case _:
            return 0
