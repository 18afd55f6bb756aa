"""The one shape of every protocol machine: ``handle(event, now) -> effects``.

*now* is milliseconds; machines never ask for it. Effects are performed in list order by one
room (``node/perform.py``, or the simulator); ``Persist`` is durable before the next effect
runs. A machine is touched by one task only and holds no lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from potminer.wire.block import Block, Certificate
from potminer.wire.codec import Wire

# ---- effects that several rooms use ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Say *message* to one peer (its public key). Lost silently where no link exists."""

    peer: bytes
    message: Wire


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Say *message* to every committee member but ourselves."""

    message: Wire


@dataclass(frozen=True, slots=True)
class Persist:
    """Make *value* durable under *key* before the next effect; None forgets it.

    After a restart the machine is given every value persisted and not forgotten.
    """

    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Deliver ``TimerFired(name)`` after *delay_ms*. Setting a timer again replaces it."""

    name: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class CancelTimer:
    name: str


@dataclass(frozen=True, slots=True)
class Execute:
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


@dataclass(frozen=True, slots=True)
class Penalize:
    peer: bytes
    offence: Offence
    detail: str = ""


# ---- events that several rooms use -------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """*peer* is the authenticated key of the link's other end."""

    peer: bytes
    message: Wire


@dataclass(frozen=True, slots=True)
class TimerFired:
    name: str


@dataclass(frozen=True, slots=True)
class Executed:
    """A block was applied and stored; *state_root* is the root after it."""

    height: int
    digest: bytes
    state_root: bytes
    time_ms: int


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A link to *peer* stands. *address* is (host, port) we dialled, None where it dialled us."""

    peer: bytes
    outbound: bool
    address: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The last link to *peer* is gone."""

    peer: bytes
