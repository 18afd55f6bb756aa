"""A stake that waits until hidden work was shown (docs/spec/rounds.md, 10)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U8, U32, BlobId, Grains, Hash, Millis, Ppm, Slot
from potminer.wire.codec import Wire
from potminer.wire.verdict import Verdict


class HiddenSegment(Wire, frozen=True):
    """A drawn segment that no quorum of judges could look at: from the snapshot *before* (None: from the base) to the
    one *after*."""

    segment: U8
    before: BlobId | None
    after: BlobId


class HiddenUnit(Wire, frozen=True):
    """What judges need to look at a unit once its round is over. It may be shown again from *again_ms* on, after
    *tries* in which no quorum measured."""

    task: Hash
    round: U32
    attempt: U32
    slot: Slot
    seed: Hash
    base: BlobId
    allowed_ppm: Ppm
    segments: Annotated[tuple[HiddenSegment, ...], Meta(min_length=1, max_length=limits.SEGMENTS)]
    tries: U8 = 0
    again_ms: Millis = 0


class HeldRound(Wire, frozen=True):
    """An attempt whose audits were drawn when the stake was held: what it pays is held too."""

    task: Hash
    round: U32
    attempt: U32


class Showing(Wire, frozen=True):
    """The unit at *index* of a HeldStake is looked at until *deadline_ms*."""

    index: U32
    deadline_ms: Millis
    judges: Annotated[tuple[Verdict, ...], Meta(max_length=limits.COMMITTEE * limits.SEGMENTS)] = ()


class HeldStake(Wire, frozen=True):
    """Everything that an expulsion would have taken from a trainer; its own again once all of *units* were shown.

    *sealed*: it hid more units than a record holds, so that nobody can tell when all were shown. It never returns.
    """

    amount: Grains
    units: Annotated[tuple[HiddenUnit, ...], Meta(max_length=limits.HIDDEN_UNITS)]
    rounds: Annotated[tuple[HeldRound, ...], Meta(max_length=2 * limits.TASKS_OPEN)] = ()
    showing: Showing | None = None
    sealed: bool = False
