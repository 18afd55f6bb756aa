"""What only this room is told, and what only this room says beyond core/machine.py's effects."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.machine import (
    Broadcast,
    CancelTimer,
    Execute,
    Executed,
    MessageArrived,
    Note,
    Penalize,
    Persist,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.wire.block import Certificate
from potminer.wire.pbft import NewView, ViewChange
from potminer.wire.seal import Purpose
from potminer.wire.tx import SignedTransaction

# ---- events ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The first event of a replica's life: what was persisted is said again, timers begin."""


class WorkArrived(Note, frozen=True, gc=False):
    """The mempool took a transaction. *full*: a block could be filled now, so batching is over."""

    full: bool = False


# ---- effects -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Behind:
    """A weak quorum of the committee is done with *height*, and we are not: fetch certified blocks."""

    height: int


@dataclass(frozen=True, slots=True)
class ClockOff:
    """The committee's clock is *ahead_ms* above ours, and we go by it; 0: ours is right again."""

    ahead_ms: int


@dataclass(frozen=True, slots=True)
class CheckpointStable:
    """A quorum signed the same state after *height*: older snapshots and logs may go."""

    height: int
    certificate: Certificate


@dataclass(frozen=True, slots=True)
class DoubleVote:
    """Proof of misbehaviour: *signer* signed both (digest, signature) pairs for one purpose, height and view."""

    signer: bytes
    purpose: Purpose
    epoch: int
    height: int
    view: int
    first: tuple[bytes, bytes]
    second: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class ProposalRefused:
    """The primary's (or our own) block may not follow the head. *reason* is the ledger's."""

    height: int
    view: int
    reason: str


class Offer(Note, frozen=True, gc=False):
    """*peer* relays transactions: for the mempool, after all its checks."""

    peer: bytes
    transactions: tuple[SignedTransaction, ...]


class ViewEntered(Note, frozen=True, gc=False):
    """For the log and the dashboard: *changing* means that view is asked for, not yet begun."""

    height: int
    view: int
    changing: bool


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A sound statement about views above 0, ours included: who broke agreement, if anybody did, is found in these.
    Of a signer and height only the first few are told."""

    height: int
    message: ViewChange | NewView


Event = Started | WorkArrived | MessageArrived | TimerFired | Executed
Effect = (
    Broadcast
    | Send
    | Persist
    | SetTimer
    | CancelTimer
    | Execute
    | Penalize
    | Behind
    | CheckpointStable
    | ClockOff
    | DoubleVote
    | Offer
    | ProposalRefused
    | ViewEntered
    | Witnessed
)
