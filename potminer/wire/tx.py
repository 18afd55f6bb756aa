"""Transactions: the only way a person or a rig changes the ledger."""

from __future__ import annotations

from enum import IntEnum
from functools import cached_property
from typing import Annotated

from msgspec import Meta

from potminer.base import limits, merkle
from potminer.base.bounded import (
    U8,
    U32,
    U63,
    BlobId,
    DeviceClass,
    Epoch,
    Grains,
    Hash,
    Height,
    Ppm,
    PublicKey,
    Signature,
    Slot,
    View,
)
from potminer.base.digest import Domain, digest
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.length import Lengths
from potminer.wire.residue import Leaf, LeafIndex, Siblings, Sketch
from potminer.wire.seal import Purpose, SigningKey, statement, verify
from potminer.wire.task import TaskSpec

TRIAL_MICRO = 16_000_000
Trial = Annotated[int, Meta(ge=0, le=TRIAL_MICRO)]
"""A sum over the outputs for every sample of a split, each with a sign that was drawn for this evaluation: normal with
deviation 1 for whoever does not compute it, in millionths, from 8 below its mean on. Proves that the score was."""


class Finding(IntEnum):
    """What an auditor saw when it recomputed a segment."""

    MEASURED = 0
    """The segment was recomputed; ``error_ppm`` says how far the claim is off."""
    MALFORMED = 1
    """A snapshot is not one: wrong tag, wrong length, scale out of range."""
    UNAVAILABLE = 2
    """A snapshot could not be fetched from anybody before the deadline."""


class Transfer(Wire, frozen=True, tag=1):
    to: PublicKey
    amount: Grains


class Bond(Wire, frozen=True, tag=2):
    """Moves balance into the sender's trainer bond."""

    amount: Grains


class Unbond(Wire, frozen=True, tag=3):
    """Starts the unbonding delay for part of the bond."""

    amount: Grains


class RegisterTrainer(Wire, frozen=True, tag=4):
    """Names the account that this rig's earnings go to. Repeatable: the newest wins."""

    payout: PublicKey


class SubmitTask(Wire, frozen=True, tag=5):
    """Orders a task and escrows its whole budget."""

    spec: TaskSpec


class CancelTask(Wire, frozen=True, tag=6):
    task: Hash


class JoinTask(Wire, frozen=True, tag=7):
    """Offers this trainer's work from the next round on, also after it fell inactive."""

    task: Hash


class LeaveTask(Wire, frozen=True, tag=8):
    task: Hash


class CommitWork(Wire, frozen=True, tag=9):
    """Binds a unit's result before anybody shows theirs. *base* is the model it started from,
    *device* what computed it."""

    task: Hash
    round: U32
    attempt: U32
    slot: Slot
    base: BlobId
    commitment: Hash
    device: DeviceClass = ""


class RevealWork(Wire, frozen=True, tag=10):
    """Opens a commitment. The last snapshot is the unit's update; *residues* is the root over those of all segments.
    *lengths* says how long the update is, on every slice that the round is cut into."""

    task: Hash
    round: U32
    attempt: U32
    slot: Slot
    salt: Hash
    loss_micro: U63
    snapshots: Annotated[tuple[BlobId, ...], Meta(min_length=1, max_length=limits.SEGMENTS)]
    residues: Hash
    lengths: Lengths


class AuditVerdict(Wire, frozen=True, tag=11):
    """What the sender found when it recomputed the drawn segment, as auditor or, in a dispute, as judge.

    *sketch* is the drawn leaf of its own residues where it measured something, and empty otherwise. *cheat_ppm* is the
    error that the smallest cheat would have had, where the unit is calibrating, and 0 otherwise.
    """

    task: Hash
    round: U32
    attempt: U32
    slot: Slot
    segment: Annotated[int, Meta(ge=1, le=limits.SEGMENTS)]
    finding: Finding
    error_ppm: Ppm
    sketch: Sketch
    cheat_ppm: Ppm = 0


class AggregateResult(Wire, frozen=True, tag=12):
    """A validator's attestation of the next model. *malformed* lists slots whose update is
    no update, or could be fetched from nobody. *early*: said while audits go on, of all that was revealed."""

    task: Hash
    round: U32
    attempt: U32
    model: BlobId
    malformed: Annotated[tuple[Slot, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    early: bool = False


class SliceResult(Wire, frozen=True, tag=18):
    """A validator's attestation of one slice of the next model, in a round that is aggregated in slices. *malformed*
    lists the slots it was made without; saying it again is for a longer list. With *lengths*, said first where updates
    are clipped, *part* is how long their buckets are on the slice (``wire.slice``)."""

    task: Hash
    round: U32
    attempt: U32
    slice: Annotated[int, Meta(ge=0, lt=limits.COMMITTEE)]
    part: BlobId
    malformed: Annotated[tuple[Slot, ...], Meta(max_length=limits.UNITS_PER_ROUND)]
    lengths: bool = False


class RegisterValidator(Wire, frozen=True, tag=13):
    """Adds *amount* to the sender's bond as a validator. *onion* is the outermost layer of its next hash
    onion, which acts two epochs later; None keeps the one it has."""

    onion: Hash | None
    amount: Grains


class UnbondValidator(Wire, frozen=True, tag=14):
    """Starts the unbonding delay for part of the sender's bond as a validator."""

    amount: Grains


class Spoken(Wire, frozen=True):
    """What a validator signed, but for the place that both halves of an evidence share."""

    purpose: U8
    digest: Hash
    signature: Signature


class Evidence(Wire, frozen=True, tag=15):
    """Two statements of *validator* about one epoch, height and view that contradict each other."""

    validator: PublicKey
    epoch: Epoch
    height: Height
    view: View
    first: Spoken
    second: Spoken


class OpenResidue(Wire, frozen=True, tag=16):
    """The leaf that an auditor was asked for, as its trainer was bound to it before anybody knew which."""

    task: Hash
    round: U32
    attempt: U32
    slot: Slot
    segment: Annotated[int, Meta(ge=1, le=limits.SEGMENTS)]
    leaf: LeafIndex
    residues: Leaf
    siblings: Siblings


class ShowSnapshots(Wire, frozen=True, tag=20):
    """The snapshots of a hidden unit of the sender's can be fetched now: the committee is asked to look at them."""

    task: Hash
    round: U32
    attempt: U32
    slot: Slot


class EvaluateModel(Wire, frozen=True, tag=17):
    """Binds a drawn evaluator to its score of *task*'s model after *closed* rounds, before anybody shows theirs."""

    task: Hash
    closed: U32
    commitment: Hash


class ScoreModel(Wire, frozen=True, tag=19):
    """How a model does on the validation split: an evaluator's, which opens its commitment, or a validator's own word
    where evaluators contradict each other; its *salt* is for nothing."""

    task: Hash
    closed: U32
    score_ppm: Annotated[int, Meta(ge=0, le=1_000_000)]
    """Share that is right, or share of variance explained, at least 0."""
    loss_micro: U63
    trial_micro: Trial
    salt: Hash


Body = (
    Transfer
    | Bond
    | Unbond
    | RegisterTrainer
    | SubmitTask
    | CancelTask
    | JoinTask
    | LeaveTask
    | CommitWork
    | RevealWork
    | AuditVerdict
    | AggregateResult
    | RegisterValidator
    | UnbondValidator
    | Evidence
    | OpenResidue
    | EvaluateModel
    | SliceResult
    | ScoreModel
    | ShowSnapshots
)


class Transaction(Wire, frozen=True):
    chain: Hash
    sender: PublicKey
    nonce: U63
    fee: Grains
    expiry: Height
    """Last height at which it may be included."""
    body: Body


class SignedTransaction(Wire, frozen=True, dict=True, gc=True):
    """A transaction and its sender's signature. What follows from them is computed once."""

    transaction: Transaction
    signature: Signature

    @cached_property
    def encoded(self) -> bytes:
        return encode(self)

    @cached_property
    def digest(self) -> bytes:
        """The transaction's identity, whoever signed."""
        return transaction_digest(self.transaction)

    @cached_property
    def leaf(self) -> bytes:
        """Its leaf under a block's transactions root: names these bytes, the signature included."""
        return merkle.leaf(Domain.TRANSACTIONS, self.encoded)


def decode_signed(data: bytes) -> SignedTransaction:
    """The signed transaction that *data* canonically encodes; it keeps those bytes. Malformed otherwise."""
    signed = decode(SignedTransaction, data, max_bytes=limits.TRANSACTION_BYTES)
    # Where cached_property would put them, without its ceremony: every transaction needs all three.
    known = signed.__dict__
    known["encoded"] = data
    known["leaf"] = merkle.leaf(Domain.TRANSACTIONS, data)
    known["digest"] = transaction_digest(signed.transaction)
    return signed


class Batch(Wire, frozen=True):
    """Signed transactions that are handed in together, each by its own canonical bytes."""

    transactions: Annotated[
        tuple[Annotated[bytes, Meta(max_length=limits.TRANSACTION_BYTES)], ...],
        Meta(min_length=1, max_length=limits.BATCH_TRANSACTIONS),
    ]


def decode_batch(data: bytes) -> tuple[SignedTransaction, ...]:
    """The transactions of a Batch; Malformed where one of them is not a transaction."""
    return tuple(map(decode_signed, decode(Batch, data, max_bytes=limits.BATCH_BYTES).transactions))


def transaction_digest(transaction: Transaction) -> bytes:
    """Identity of a transaction: what its receipt is found under."""
    return digest(Domain.TRANSACTION, encode(transaction))


def _statement(transaction: Transaction, digest: bytes) -> bytes:
    return statement(Purpose.TRANSACTION, chain=transaction.chain, signer=transaction.sender, digest=digest)


def sign_transaction(transaction: Transaction, key: SigningKey) -> SignedTransaction:
    if key.public != transaction.sender:
        raise AssertionError("a transaction is signed by its sender")
    return SignedTransaction(transaction, key.sign(_statement(transaction, transaction_digest(transaction))))


def signature_holds(signed: SignedTransaction) -> bool:
    return verify(signed.transaction.sender, _statement(signed.transaction, signed.digest), signed.signature)


def commitment(work: RevealWork, *, trainer: bytes) -> bytes:
    """What CommitWork must have held for *work* to open it."""
    place = (work.round.to_bytes(8, "big"), work.attempt.to_bytes(8, "big"), work.slot.to_bytes(8, "big"))
    return digest(
        Domain.COMMITMENT, trainer, work.task, *place, work.salt, work.loss_micro.to_bytes(8, "big"), work.residues,
        b"".join(each.to_bytes(2, "big") for each in work.lengths), *work.snapshots,
    )  # fmt: skip


def score_commitment(said: ScoreModel, *, evaluator: bytes) -> bytes:
    """What EvaluateModel must have held for *said* to open it. It names its evaluator: repeated by another it opens
    nothing."""
    numbers = (said.closed, said.score_ppm, said.loss_micro, said.trial_micro)
    return digest(Domain.SCORE, evaluator, said.task, *(each.to_bytes(8, "big") for each in numbers), said.salt)
