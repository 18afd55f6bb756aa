"""The one shape of every protocol machine: ``handle(event, now) -> effects``.

*now* is milliseconds; machines never ask for it. Effects are performed in list order by one
room (``node/perform.py``, or the simulator); ``Persist`` is durable before the next effect
runs. A machine is touched by one task only and holds no lock.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from potminer.wire.block import Block, Certificate
from potminer.wire.codec import Wire


class Note(Struct, frozen=True, gc=False):
    """Base of the events and effects of every message and timer: equal by value, never changed, made in a fifth of the
    time of a frozen dataclass. None holds what holds it, so the garbage collector need not know."""


# ---- effects that several rooms use ------------------------------------------------------


class Send(Note, frozen=True, gc=False):
    """Say *message* to one peer (its public key). Lost silently where no link exists."""

    peer: bytes
    message: Wire


class Broadcast(Note, frozen=True, gc=False):
    """Say *message* to every committee member but ourselves."""

    message: Wire


class Persist(Note, frozen=True, gc=False):
    """Make *value* durable under *key* before the next effect; None forgets it.

    After a restart the machine is given every value persisted and not forgotten.
    """

    key: bytes
    value: bytes | None


class SetTimer(Note, frozen=True, gc=False):
    """Deliver ``TimerFired(name)`` after *delay_ms*. Setting a timer again replaces it."""

    name: str
    delay_ms: int


class CancelTimer(Note, frozen=True, gc=False):
    name: str


class Execute(Note, frozen=True, gc=False):
    """Apply a final block: ledger, then one database transaction, then ``Executed`` comes back."""

    block: Block
    certificate: Certificate


class Offence(StrEnum):
    """Why a peer is penalised."""

    MALFORMED = "malformed"
    FORGED = "forged"
    UNEXPECTED = "unexpected"
    FLOOD = "flood"
    WITHHELD = "withheld"


class Penalize(Note, frozen=True, gc=False):
    peer: bytes
    offence: Offence
    detail: str = ""


# ---- events that several rooms use -------------------------------------------------------


class MessageArrived(Note, frozen=True, gc=False):
    """*peer* is the authenticated key of the link's other end."""

    peer: bytes
    message: Wire


class TimerFired(Note, frozen=True, gc=False):
    name: str


class Executed(Note, frozen=True, gc=False):
    """A block of *size* bytes was applied and stored; *state_root* is the root after it."""

    height: int
    digest: bytes
    state_root: bytes
    time_ms: int
    size: int = 0


class PeerUp(Note, frozen=True, gc=False):
    """A link to *peer* stands. *address* is (host, port) we dialled, None where it dialled us."""

    peer: bytes
    outbound: bool
    address: tuple[str, int] | None = None


class PeerDown(Note, frozen=True, gc=False):
    """The last link to *peer* is gone."""

    peer: bytes
