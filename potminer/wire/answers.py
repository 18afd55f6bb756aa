"""Answers to what a face asks beside the photograph: peers, earnings, the log, the settings, the day.

JSON like wire.control, under the same rules: unknown is null, money is grains, everything is bounded.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U16, U32, U63, Grains, Height, Millis
from potminer.wire.control import (
    SCHEMA,
    Bus,
    DeviceState,
    EarningsView,
    Hex,
    Line,
    Mode,
    Photo,
    TaskView,
    UnitOutcome,
)

PEERS = 256
MEMBERS = 256
COMMITS = 512
DAYS = 400
TASKS = 256
UNITS = 200
LOG_LINES = 1_000
LOG_TEXT = 500
"""What a face is shown of a line; the file keeps more."""
SETTINGS = 512
DAY_POINTS = 24 * 60


# ---- network and consensus ---------------------------------------------------------------


class Seat(Photo, frozen=True, kw_only=True):
    key: Line
    power: U63


class PeerHead(Photo, frozen=True, kw_only=True):
    """How high a peer says that its chain is."""

    key: Line
    height: Height


class PeerView(Photo, frozen=True, kw_only=True):
    """One link. *outbound*: we dialled. *validator*: its key is in the committee."""

    key: Line
    host: Line
    port: U16
    outbound: bool
    agent: Line
    height: Height
    """What it said when the link came up."""
    since_ms: Millis
    sent_bytes: U63
    received_bytes: U63
    queued_bytes: U63 = 0
    validator: bool = False


class MemberView(Photo, frozen=True, kw_only=True):
    """One member of the committee. *linked* is None for ourselves."""

    key: Line
    power: U63
    linked: bool | None
    primary: bool = False


class ChainStatus(Photo, frozen=True, kw_only=True):
    """Where the chain stands. *digest* is of the newest block, *state_root* after it; *rules* is the version of
    the ledger's rules. The state can be proven after the blocks from *provable_first* to *provable_last*."""

    schema: U32 = SCHEMA
    taken_ms: Millis
    network: Line
    chain: Hex
    rules: U32
    height: Height
    digest: Hex
    epoch: U32
    time_ms: Millis
    state_root: Hex
    committee: Annotated[tuple[Seat, ...], Meta(max_length=MEMBERS)] = ()
    provable_first: Height | None = None
    provable_last: Height | None = None
    heads: Annotated[tuple[PeerHead, ...], Meta(max_length=PEERS)] = ()


class NetworkView(Photo, frozen=True, kw_only=True):
    """*commit_ms*: from block time to execution here, of recent blocks, oldest first."""

    schema: U32 = SCHEMA
    taken_ms: Millis
    listening: Line | None = None
    peers: Annotated[tuple[PeerView, ...], Meta(max_length=PEERS)] = ()
    committee: Annotated[tuple[MemberView, ...], Meta(max_length=MEMBERS)] = ()
    commit_ms: Annotated[tuple[U63, ...], Meta(max_length=COMMITS)] = ()


# ---- money -------------------------------------------------------------------------------


class DayEarnings(Photo, frozen=True, kw_only=True):
    """One day of UTC. *energy_mwh* is what training drew in milliwatt-hours, None where no device tells."""

    day_ms: Millis
    earned: Grains
    energy_mwh: U63 | None = None


class TaskEarnings(Photo, frozen=True, kw_only=True):
    """*escrow*: what the requester's deposit still holds for everybody; *pending* and *paid* are this rig's, *paid*
    with *kept*, what became bond of it."""

    task: Hex
    name: Line
    status: Line
    accepted: U63
    refused: U63
    pending: Grains
    paid: Grains
    escrow: Grains
    kept: Grains = 0


class DeviceEarnings(Photo, frozen=True, kw_only=True):
    """What the units of one device brought, ever; *bus* is empty for units nobody remembers the device of.
    Audits and evaluations are paid to the rig, not to a device."""

    bus: Bus
    accepted: U63
    refused: U63
    earned: Grains


class EarningsDetail(Photo, frozen=True, kw_only=True):
    """Days oldest first, tasks and units newest first. *kwh_price_micro*: millionths of *kwh_currency*. *height*: the
    block after which it is so; null from a node that does not say."""

    schema: U32 = SCHEMA
    taken_ms: Millis
    earnings: EarningsView
    days: Annotated[tuple[DayEarnings, ...], Meta(max_length=DAYS)] = ()
    tasks: Annotated[tuple[TaskEarnings, ...], Meta(max_length=TASKS)] = ()
    units: Annotated[tuple[UnitOutcome, ...], Meta(max_length=UNITS)] = ()
    devices: Annotated[tuple[DeviceEarnings, ...], Meta(max_length=64)] = ()
    kwh_price_micro: U63 | None = None
    kwh_currency: Line | None = None
    height: Height | None = None


# ---- the log -----------------------------------------------------------------------------


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LEVELS = tuple(LogLevel)
"""From the least important on."""


class LogLine(Photo, frozen=True, kw_only=True):
    """*number* counts from 1 at every start of the node."""

    number: U63
    time_ms: Millis
    level: LogLevel
    text: Annotated[str, Meta(max_length=LOG_TEXT)]


class LogTail(Photo, frozen=True, kw_only=True):
    """Oldest first. *boot_ms* names the run of the node that numbered the lines."""

    schema: U32 = SCHEMA
    boot_ms: Millis
    lines: Annotated[tuple[LogLine, ...], Meta(max_length=LOG_LINES)] = ()


# ---- settings ----------------------------------------------------------------------------


class SettingView(Photo, frozen=True, kw_only=True):
    """*source*: ``default``, ``file:12``, a ``POTMINER_`` variable or ``command line``."""

    key: Line
    value: Line
    source: Line
    about: Line


class SettingsView(Photo, frozen=True, kw_only=True):
    schema: U32 = SCHEMA
    file: Annotated[str, Meta(max_length=4_096)]
    settings: Annotated[tuple[SettingView, ...], Meta(max_length=SETTINGS)] = ()


# ---- the day -----------------------------------------------------------------------------


class DayPoint(Photo, frozen=True, kw_only=True):
    """One minute: what the rig mostly did (None: no device) and the sums of what is known."""

    at_ms: Millis
    state: DeviceState | None = None
    samples_per_s_milli: U63 | None = None
    hashrate_hs: U63 | None = None
    power_mw: U63 | None = None


class DayView(Photo, frozen=True, kw_only=True):
    """The last 24 hours as far as the node ran, oldest first."""

    schema: U32 = SCHEMA
    points: Annotated[tuple[DayPoint, ...], Meta(max_length=DAY_POINTS)] = ()


# ---- short answers -----------------------------------------------------------------------


class Accepted(Photo, frozen=True, kw_only=True):
    """A letter was taken; whether it is done, the next photograph shows."""

    schema: U32 = SCHEMA
    accepted: bool = True


class Handed(Photo, frozen=True, kw_only=True):
    """One transaction of a batch. No *refusal*: it waits here, or stands in a block; its receipt says more."""

    transaction: Hex
    refusal: Line | None = None


class HandedIn(Photo, frozen=True, kw_only=True):
    """What became of a batch, in its order: each transaction is taken or refused by itself."""

    schema: U32 = SCHEMA
    transactions: Annotated[tuple[Handed, ...], Meta(max_length=limits.BATCH_TRANSACTIONS)]


class StoredBlob(Photo, frozen=True, kw_only=True):
    schema: U32 = SCHEMA
    blob: Hex


class TaskList(Photo, frozen=True, kw_only=True):
    schema: U32 = SCHEMA
    tasks: Annotated[tuple[TaskView, ...], Meta(max_length=limits.TASKS_OPEN)] = ()


class UnitList(Photo, frozen=True, kw_only=True):
    schema: U32 = SCHEMA
    units: Annotated[tuple[UnitOutcome, ...], Meta(max_length=UNITS)] = ()


class Health(Photo, frozen=True, kw_only=True):
    ok: bool = True


class Summary(Photo, frozen=True, kw_only=True):
    """A few flat numbers. *devices* counts by state, *faults* alerts of that level."""

    schema: U32 = SCHEMA
    taken_ms: Millis
    agent: Line
    network: Line
    rig: Line
    role: Line
    height: Height
    peers: U32
    mode: Mode
    paused: bool
    devices: dict[DeviceState, U32]
    faults: U32 = 0
