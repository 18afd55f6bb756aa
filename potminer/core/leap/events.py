"""What only this room is told, and what only this room says beyond core/machine.py's effects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from potminer.core.machine import (
    CancelTimer,
    Executed,
    MessageArrived,
    PeerDown,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.core.trie import Node
from potminer.wire.leap import Items, Manifest
from potminer.wire.proof import CertifiedHeader, Shown


class Judge(Protocol):
    """What is believed of headers: a light client that begins at our own head (docs/spec/light.md)."""

    @property
    def newest_epoch(self) -> int:
        """The last epoch whose committee is known."""
        ...

    @property
    def steps(self) -> tuple[Shown, ...]:
        """What was learnt, to be kept."""
        ...

    def learn(self, step: Shown, *, now: int) -> str | None:
        """Why *step* does not teach the next committee, or None."""
        ...

    def flaw(self, certified: CertifiedHeader, *, now: int) -> str | None:
        """Why *certified* is not a final header of the chain, or None."""
        ...

    def seats(self, epoch: int) -> tuple[tuple[bytes, ...], tuple[int, ...]] | None:
        """Members and powers of *epoch*'s committee, where it is known."""
        ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A leap that an earlier life began: *chunks* by their digests, as a disk gave them back."""

    certified: CertifiedHeader
    manifest: Manifest
    chunks: dict[bytes, Items]


# ---- events ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leapt:
    """The node stands after block *height* now: installed, or refused by its own store where *height* is our tip."""

    height: int


# ---- effects -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """Tell *peer* which snapshot there is, and the steps from *epoch* on."""

    peer: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class SendManifest:
    peer: bytes
    height: int


@dataclass(frozen=True, slots=True)
class SendChunk:
    peer: bytes
    height: int
    index: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Blocks are not asked for while this is *on*: a leap is under way."""

    on: bool


@dataclass(frozen=True, slots=True)
class Begin:
    """Keep what is being fetched, so that a restart goes on with it. *wanted* are digests of its chunks."""

    certified: CertifiedHeader
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class KeepChunk:
    digest: bytes
    items: Items


@dataclass(frozen=True, slots=True)
class Install:
    """The whole state after the parent of *certified*. *digests* are its chunks, all of them kept already."""

    certified: CertifiedHeader
    tree: Node
    manifest: Manifest
    steps: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class GiveUp:
    """What was kept of a leap is of no use any more. *why* is for the log."""

    why: str


@dataclass(frozen=True, slots=True)
class Shun:
    """*peer* sent what no honest node can send: it is banned."""

    peer: bytes
    why: str


Event = Executed | MessageArrived | PeerUp | PeerDown | TimerFired | Leapt
Answering = Offer | SendManifest | SendChunk
Doing = Hold | Begin | KeepChunk | Install | GiveUp | Shun
Effect = Send | Penalize | SetTimer | CancelTimer | Answering | Doing
