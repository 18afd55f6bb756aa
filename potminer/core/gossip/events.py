"""What gossip hears and what it asks for, besides the shared words of core/machine.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from potminer.core.machine import (
    MessageArrived,
    Offence,
    PeerDown,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.wire.gossip import AddressRecord, Item

# ---- events ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Started:
    """The node runs: the heartbeat begins."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Items of our own, already known to be valid. Publishing them again announces them again."""

    items: tuple[Item, ...]


class Verdict(StrEnum):
    ACCEPT = "accept"
    """Valid: deliver and forward."""
    IGNORE = "ignore"
    """Not worth forwarding (stale, no room), and nobody's fault."""
    REJECT = "reject"
    """Invalid whatever a node's state: whoever sent it did not look, or lies."""


@dataclass(frozen=True, slots=True)
class Validated:
    """Answers ``Validate``: (item id, verdict) each."""

    verdicts: tuple[tuple[bytes, Verdict], ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """Items with these *bodies* stand in a block now: nobody needs to hear of them any more."""

    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Offended:
    """Every ``Penalize``, from whichever machine, comes back as this: standing is kept in one place."""

    peer: bytes
    offence: Offence


@dataclass(frozen=True, slots=True)
class DialFailed:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Listening:
    """Our own signed address: told to whoever asks. The newest replaces the last."""

    record: AddressRecord


@dataclass(frozen=True, slots=True)
class Remembered:
    """Address records kept over a restart; their signatures are checked again."""

    records: tuple[AddressRecord, ...]


@dataclass(frozen=True, slots=True)
class Introduce:
    """An address the operator vouches for (a seed of the config). Never evicted."""

    host: str
    port: int
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Seek:
    """Keys to be linked with beyond the usual count: the rest of the committee, for a validator. What comes
    from outside goes to all of them; what comes from one of them has been sent to the others."""

    keys: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Follow:
    """We only follow, and *keys* decide. Items go up to them; what they put into blocks comes down as blocks."""

    keys: frozenset[bytes]


Event = (
    Started
    | Publish
    | Validated
    | Settled
    | Offended
    | DialFailed
    | Listening
    | Remembered
    | Introduce
    | Seek
    | Follow
    | PeerUp
    | PeerDown
    | MessageArrived
    | TimerFired
)

# ---- effects -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Validate:
    """Judge *items*, (item id, item) each, and answer with ``Validated``; until then they go nowhere."""

    items: tuple[tuple[bytes, Item], ...]
    peer: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """Accepted items that *peer* was the first to push, each once. Items published here are not delivered here."""

    items: tuple[Item, ...]
    peer: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a link; *key* is who must answer, None where only the address is known."""

    host: str
    port: int
    key: bytes | None


@dataclass(frozen=True, slots=True)
class Ban:
    """Close every link to *peer* and accept none for *seconds*."""

    peer: bytes
    seconds: int


Effect = Send | Penalize | SetTimer | Validate | Deliver | Dial | Ban
