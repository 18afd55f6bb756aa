"""A plan: one run as data, complete. Scenarios and the swarm draw it, shrinking makes it smaller, --replay reads it.

Hosts are named by their seat; the twin of seat s is host ``TWIN + s``. Times are virtual
milliseconds, chances are in parts per thousand per message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from potminer.base.errors import UsageError

TWIN = 32
"""Above every seat: the second replica of seat s is host TWIN + s."""

Seat = Annotated[int, Meta(ge=0, lt=TWIN)]
Ms = Annotated[int, Meta(ge=0, le=86_400_000)]
PerMille = Annotated[int, Meta(ge=0, le=1_000)]


class Delays(StrEnum):
    """How the delay of a message is distributed above its least."""

    EXPONENTIAL = "exponential"
    UNIFORM = "uniform"
    HEAVY = "heavy"
    """Pareto with index 1.5: a few messages take a hundred times as long."""
    SITES = "sites"
    """Two sites: between them every message takes the spread, within one next to nothing."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to every message, all the time."""

    least_ms: Ms = 5
    spread_ms: Annotated[int, Meta(ge=1, le=60_000)] = 30
    delays: Delays = Delays.EXPONENTIAL
    loss: PerMille = 0
    repeat: PerMille = 0
    """Chance that a message arrives once more, up to five seconds later."""


class Role(StrEnum):
    """What a member is that is not simply honest. All but ASTRAY count against the third that may be faulty."""

    SILENT = "silent"
    EQUIVOCATE = "equivocate"
    SLOW_LEADER = "slow-leader"
    CENSOR = "censor"
    TWINS = "twins"
    """Two honest replicas with one key, each with its own memory."""
    MUTATOR = "mutator"
    """Alters what it says: views, heights, digests, certificates; keeps quiet, and says again what is long past."""
    WITHHOLDER = "withholder"
    """Proposes to a few and gives nobody the body of a block."""
    VIEW_SPAMMER = "view-spammer"
    """Asks for huge views, and votes in them."""
    FLOOD = "flood"
    """Floods everybody with votes that nobody signed."""
    TORRENT = "torrent"
    """The same at a thousand a second, as much as a link lets in; too dear for the swarm."""
    FALSE_SERVER = "false-server"
    """Votes honestly, and sends false manifests and chunks to whoever leaps (the town only)."""
    FORGETFUL = "forgetful"
    """Honest, but its disk is lost. A bare replica may then contradict what it signed; a node's is silent."""
    ASTRAY = "astray"
    """Honest, its clock is half a minute off."""


class Kind(StrEnum):
    CRASH = "crash"
    """Within *amount* more effects, anywhere between them; what was not yet synced is lost."""
    TORN = "torn"
    """A crash in the middle of a write: of what was being written, the first *amount* records stay."""
    LEADER_CRASH = "leader-crash"
    """Whoever leads when it happens crashes within *amount* effects."""
    PAUSE = "pause"
    """Stopped as by SIGSTOP: messages wait, timers fire late, all at once."""
    WIPE = "wipe"
    """Crashes and comes back with an empty disk: journal and chain are gone, sync brings the chain."""
    SPLIT = "split"
    """Hears nothing from the others and says nothing to them."""
    ONE_WAY = "one-way"
    """Hears the others, but is not heard."""
    RING = "ring"
    """Everybody hears a quorum of neighbours, and no two the same."""
    CLOG = "clog"
    """What it says is held back, and then arrives together."""
    JUMP = "jump"
    """Its clock is off by *amount* for a while."""
    DISK_FULL = "disk-full"
    """Nothing more can be written: the node stops at its next write, and starts only when there is room."""
    DISK_UNREADABLE = "disk-unreadable"
    """Crashes, and its disk cannot be read for a while: the node does not start."""
    DISK_MISDIRECTED = "disk-misdirected"
    """Its next record is written over another one. The node sees it at its next start and stops; its owner wipes it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """*kind* happens at *at_ms* to *hosts*, for *for_ms*."""

    kind: Kind
    at_ms: Ms
    for_ms: Ms = 0
    hosts: Annotated[tuple[Annotated[int, Meta(ge=0, lt=2 * TWIN)], ...], Meta(max_length=2 * TWIN)] = ()
    amount: Annotated[int, Meta(ge=-3_600_000, le=3_600_000)] = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Two runs of one plan are the same to the byte."""

    name: str
    seed: int
    powers: Annotated[tuple[Annotated[int, Meta(ge=1, le=1_000_000)], ...], Meta(min_length=1, max_length=31)]
    weather: Weather = field(default_factory=Weather)
    roles: dict[Seat, Role] = field(default_factory=dict)
    skews_ms: dict[Seat, Annotated[int, Meta(ge=-3_600_000, le=3_600_000)]] = field(default_factory=dict)
    faults: Annotated[tuple[Fault, ...], Meta(max_length=1_000)] = ()
    transactions: Annotated[int, Meta(ge=0, le=1_000_000)] = 24
    chaos_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] = 24_000
    heal_ms: Ms = 90_000
    """Within this time after the heal the core must have executed everything."""
    view_base_ms: Annotated[int, Meta(ge=6, le=60_000)] = 2_000
    core: Annotated[tuple[Seat, ...], Meta(max_length=31)] = ()
    """The quorum that the heal connects, honest all; the other honest members stay cut off. Empty: everybody."""
    rest_dead: bool = False
    """The honest members outside of the core crash at the heal and never come back."""

    @property
    def nodes(self) -> int:
        return len(self.powers)

    @property
    def faulty(self) -> frozenset[int]:
        """Seats that may break any promise."""
        return frozenset(seat for seat, role in self.roles.items() if role is not Role.ASTRAY)

    def __post_init__(self) -> None:
        seats = range(self.nodes)
        if any(seat not in seats for seat in (*self.roles, *self.skews_ms, *self.core)):
            raise AssertionError("a plan speaks of seats that the committee has")


def to_json(plan: Plan) -> str:
    return msgspec.json.encode(plan).decode()


def from_json(text: str | bytes) -> Plan:
    """UsageError where *text* is no plan."""
    try:
        return msgspec.json.decode(text, type=Plan)
    except (msgspec.DecodeError, AssertionError) as error:
        raise UsageError(f"no plan of a run: {error}", "Give the line of JSON that a shrunk run ends with.") from error
