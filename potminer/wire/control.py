"""Between a node and its faces: photographs go out, letters come in.

A face (dashboard, CLI, a farm's collector) sees a whole immutable Snapshot, the newest wins,
and posts Commands. Everything here is JSON with named fields, because people and scripts read it:
digests are lower-case hex, keys are addresses, money is grains, unknown is null and never 0.
A newer node may add fields; a face ignores what it does not know.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from potminer.base.bounded import U32, U63, Grains, Height, Millis, Ppm
from potminer.base.errors import Malformed

SCHEMA = 1
"""Grows when a field changes its meaning; added fields do not change it."""

SNAPSHOT_BYTES = 1_048_576
COMMAND_BYTES = 4_096
REPLY_BYTES = 4_194_304
HISTORY = 512
"""Loss points a Snapshot carries: more than any terminal is wide."""

Line = Annotated[str, Meta(max_length=200)]
"""Text for one line. May stem from a peer: only ``view.text`` puts it on a screen."""
Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Bus = Annotated[str, Meta(max_length=40)]
"""PCI bus id, or ``cpu``."""


class Photo(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what a face sees."""


# ---- what a rig is doing -----------------------------------------------------------------


class DeviceKind(StrEnum):
    GPU = "gpu"
    CPU = "cpu"


class DeviceState(StrEnum):
    OFF = "off"
    MINING = "mining"
    IDLE_WAIT = "idle-wait"
    RELEASING = "releasing"
    VERIFYING = "verifying"
    TRAINING = "training"
    DRAINING = "draining"
    RESTORING = "restoring"
    COOLDOWN = "cooldown"
    BLOCKED = "blocked"
    FAULT = "fault"


class Mode(StrEnum):
    AUTO = "auto"
    MINE = "mine"
    TRAIN = "train"
    OFF = "off"


class DeviceView(Photo, frozen=True, kw_only=True):
    """One GPU or CPU. *since_ms* is when it entered *state*; *reasons* say why, most important first."""

    bus: Bus
    name: Line
    kind: DeviceKind
    state: DeviceState
    since_ms: Millis
    reasons: Annotated[tuple[Line, ...], Meta(max_length=8)] = ()
    samples_per_s_milli: U63 | None = None
    hashrate_hs: U63 | None = None
    power_mw: U63 | None = None
    temperature_milli_c: int | None = None
    memory_used: U63 | None = None
    memory_total: U63 | None = None
    memory_temperature_milli_c: int | None = None
    utilisation_ppm: U32 | None = None
    power_limit_mw: U63 | None = None
    fan_ppm: U32 | None = None
    link_width: U32 | None = None
    """PCIe lanes in use."""
    drives_display: bool | None = None
    energy_mj_per_1000: U63 | None = None
    """Measured millijoules that a thousand trained samples took, and milligrams of CO2 where the grid tells."""
    carbon_mg_per_1000: U63 | None = None
    torch: Line | None = None
    """Which build of torch has kernels for it, in a few words."""


class MinerView(Photo, frozen=True, kw_only=True):
    """One miner program that was found. *control* says how it can be made to yield."""

    name: Line
    address: Line
    version: Line | None = None
    state: Line
    control: Line
    devices: Annotated[tuple[Bus, ...], Meta(max_length=64)] = ()
    hashrate_hs: U63 | None = None
    power_mw: U63 | None = None
    last_reply_ms: Millis | None = None
    algorithm: Line | None = None
    uptime_s: U63 | None = None
    accepted: U63 | None = None
    rejected: U63 | None = None
    """Shares, as the miner counts them."""


class ControlView(Photo, frozen=True, kw_only=True):
    """What the owner asked for. *until_ms* None: until changed. *paused_until_ms* likewise."""

    mode: Mode = Mode.AUTO
    until_ms: Millis | None = None
    paused: bool = False
    paused_until_ms: Millis | None = None


# ---- the work and its money --------------------------------------------------------------


class UnitCounts(Photo, frozen=True, kw_only=True):
    """Units and how they ended; *rejected* counts by reason code."""

    assigned: U63 = 0
    accepted: U63 = 0
    rejected: dict[Line, U63] = {}


class TrainingView(Photo, frozen=True, kw_only=True):
    """The task this rig works on. *round* counts from 1 for people; *units* are everybody's over the
    whole task, *my_units* this rig's."""

    task: Hex
    name: Line
    round: U32
    rounds: U32
    phase: Line
    phase_ends_ms: Millis | None = None
    units: UnitCounts
    my_units: UnitCounts
    loss_micro: U63 | None = None
    accuracy_ppm: U32 | None = None


class LossPoint(Photo, frozen=True, kw_only=True):
    round: U32
    loss_micro: U63
    accuracy_ppm: U32 | None = None


class EarningsView(Photo, frozen=True, kw_only=True):
    """*today* since local midnight, *pending* until the dispute window ends, *kept* as bond, *paid* spendable,
    *total* ever. Where no market price exists, *currency* and *price_micro* are null: nothing is invented."""

    today: Grains
    pending: Grains
    paid: Grains
    total: Grains
    currency: Line | None = None
    price_micro: U63 | None = None
    """Price of one POT in millionths of *currency*."""
    kept: Grains = 0
    leapt_blocks: U63 = 0
    """Blocks that this node leapt over, the newest of them *leapt_last*: of what was earned and paid in them it knows
    only what was still pending at their end, so *total* and *paid* may be more than they say."""
    leapt_last: Height = 0
    held: Grains = 0
    """Bond that is out of reach until this rig has shown the work that *held_for* names; *kept* counts its part."""
    held_for: Line = ""


class Standing(StrEnum):
    """How this node's key stands with consensus."""

    NONE = "none"
    CANDIDATE = "candidate"
    """Its bond suffices; it has no seat now and none in the next epoch."""
    COMING = "coming"
    SEATED = "seated"
    LEAVING = "leaving"
    """It sits, and will not in the next epoch."""
    SLASHED = "slashed"


class ChainView(Photo, frozen=True, kw_only=True):
    """*target_height* is set while the node is catching up."""

    height: Height
    view: U32
    epoch: U32
    peers: U32
    validators: U32
    role: Line
    state_root: Hex
    last_block_ms: Millis | None = None
    commit_p50_ms: U63 | None = None
    """From a block's time to its execution here: median and 99th percentile of recent blocks."""
    commit_p99_ms: U63 | None = None
    sent_bytes: U63 = 0
    """To and from peers since the node started."""
    received_bytes: U63 = 0
    mempool: U63 = 0
    target_height: Height | None = None
    standing: Standing = Standing.NONE
    silent_until_ms: Millis | None = None
    """The time of a block from which on this validator votes again: its disk is younger than its key's votes."""


class AlertLevel(StrEnum):
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


class Alert(Photo, frozen=True, kw_only=True):
    level: AlertLevel
    text: Line
    since_ms: Millis


class Snapshot(Photo, frozen=True, kw_only=True):
    """Everything a face may know, at one moment."""

    schema: U32 = SCHEMA
    taken_ms: Millis
    agent: Line
    network: Line
    rig: Line
    node: Line
    """Address of the node key."""
    control: ControlView
    devices: Annotated[tuple[DeviceView, ...], Meta(max_length=64)] = ()
    miners: Annotated[tuple[MinerView, ...], Meta(max_length=64)] = ()
    training: TrainingView | None = None
    losses: Annotated[tuple[LossPoint, ...], Meta(max_length=HISTORY)] = ()
    earnings: EarningsView
    chain: ChainView
    alerts: Annotated[tuple[Alert, ...], Meta(max_length=64)] = ()
    next_check_ms: Millis | None = None
    """When duty decides again."""


# ---- answers to questions ----------------------------------------------------------------


class TaskView(Photo, frozen=True, kw_only=True):
    task: Hex
    name: Line
    requester: Line
    status: Line
    round: U32
    rounds: U32
    phase: Line
    trainers: U32
    escrow: Grains
    price_per_unit: Grains
    model: Hex | None = None
    """Blob of the newest agreed model."""
    loss_micro: U63 | None = None
    accuracy_ppm: U32 | None = None
    ended: Line = ""
    """Why it ended, or will with its round, in the ledger's words; empty while it goes on."""


class RoundView(Photo, frozen=True, kw_only=True):
    round: U32
    attempt: U32
    phase: Line
    opened_ms: Millis
    closed_ms: Millis | None = None
    base: Hex
    model: Hex | None = None
    units: UnitCounts
    loss_micro: U63 | None = None
    accuracy_ppm: U32 | None = None
    phases_ms: dict[Line, U63] = {}
    """Block time the round spent in each phase."""


class TaskDetail(Photo, frozen=True, kw_only=True):
    """A task and its newest rounds, newest first."""

    task: TaskView
    rounds: Annotated[tuple[RoundView, ...], Meta(max_length=HISTORY)] = ()


class Outcome(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"


class UnitOutcome(Photo, frozen=True, kw_only=True):
    """How one unit ended and with which numbers: what ``potminer why`` prints."""

    task: Hex
    task_name: Line
    round: U32
    attempt: U32 = 0
    slot: U32
    trainer: Line
    outcome: Outcome
    reason: Line = ""
    """Reason code of the ledger where it was refused, else empty."""
    measured_ppm: Ppm | None = None
    allowed_ppm: Ppm | None = None
    paid: Grains = 0
    height: Height | None = None
    """Block that decided it."""
    device: Bus = ""
    """Of ours that computed it; empty where nobody knows."""
    noise_ppm: Ppm | None = None
    cheat_ppm: Ppm | None = None
    """What the task's calibration had measured by then: the largest honest error, and the smallest cheat's."""
    task_ended: Line = ""
    """Why its task ended, or will with its round; empty while it goes on."""
    kept: Grains | None = None
    """What of *paid* became bond; None before its round left the dispute window."""
    length_nano: U63 | None = None
    """How long it said its update is, in billionths; None where it said nothing."""
    outlier: bool = False
    """So much longer than usual in its round that all of it was audited."""


class ReceiptStatus(StrEnum):
    WAITING = "waiting"
    APPLIED = "applied"
    REFUSED = "refused"


class Until(StrEnum):
    """What can be proven of a transaction: that it is in a final block; a block later, what became of it."""

    INCLUDED = "included"
    DECIDED = "decided"


class ReceiptView(Photo, frozen=True, kw_only=True):
    """*status* and *reason* are the node's word. *proof* is what makes it unnecessary: the canonical bytes of a
    TransactionProof in base64, which shows as much as *proven* says."""

    schema: U32 = SCHEMA
    transaction: Hex
    status: ReceiptStatus
    height: Height | None = None
    reason: Line = ""
    proven: Until | None = None
    proof: Annotated[str, Meta(max_length=262_144)] = ""


class AccountView(Photo, frozen=True, kw_only=True):
    address: Line
    balance: Grains
    pending: Grains
    bond: Grains
    nonce: U63
    height: Height
    """State the numbers were read from."""


class Fault(Photo, frozen=True, kw_only=True):
    """Why a request was not done."""

    code: Line
    what: Annotated[str, Meta(max_length=4_000)]
    hint: Annotated[str, Meta(max_length=4_000)] = ""


class Refusal(Photo, frozen=True, kw_only=True):
    error: Fault


# ---- letters -----------------------------------------------------------------------------

Span = Annotated[int, Meta(ge=1, le=30 * 24 * 3_600_000)]


class Letter(msgspec.Struct, frozen=True, tag_field="command", forbid_unknown_fields=True, omit_defaults=True):
    """Base of what a face may ask. A misspelt field is refused, never ignored."""


class Pause(Letter, frozen=True, tag="pause"):
    """Stop training on *device* (None: all) within 2 s and give its memory back."""

    device: Bus | None = None
    for_ms: Span | None = None


class Resume(Letter, frozen=True, tag="resume"):
    device: Bus | None = None


class YieldNow(Letter, frozen=True, tag="yield-now"):
    """Let *device* (None: all) go to its owner now; duty may take it again later."""

    device: Bus | None = None


class SetPayout(Letter, frozen=True, tag="set-payout"):
    """Earnings go to *address* from now on."""

    address: Annotated[str, Meta(min_length=1, max_length=90)]


class Drain(Letter, frozen=True, tag="drain"):
    """*device* (None: all) finishes the units under way and takes no new ones."""

    device: Bus | None = None


class SetMode(Letter, frozen=True, tag="mode"):
    mode: Mode
    for_ms: Span | None = None


Command = Pause | Resume | YieldNow | SetPayout | Drain | SetMode


# ---- JSON --------------------------------------------------------------------------------

T = TypeVar("T")


def to_json(value: object) -> bytes:
    return msgspec.json.encode(value)


def from_json(kind: type[T] | Any, data: bytes | str, *, max_bytes: int) -> T:
    """The value of *kind* in *data*; Malformed otherwise. The size is checked before anything is parsed."""
    if len(data) > max_bytes:
        raise Malformed(f"{len(data)} bytes where at most {max_bytes} are allowed")
    try:
        value: T = msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Malformed(str(error)) from error
    return value
