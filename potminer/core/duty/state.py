"""The states of a device, the moves between them, and the reasons an owner is shown."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    OFF = "off"
    """The owner switched it off."""
    MINING = "mining"
    """Its miner earns (or the owner said mine): we keep our hands off."""
    IDLE_WAIT = "idle-wait"
    """Nothing forbids training, but nobody has been away for long enough yet."""
    RELEASING = "releasing"
    """The hand-over is journalled and the miner was asked to pause."""
    VERIFYING = "verifying"
    """Waiting for a fresh reading that says: paused, and the memory is free."""
    TRAINING = "training"
    DRAINING = "draining"
    """Our work was told to stop and has not let go yet."""
    RESTORING = "restoring"
    """The miner was asked to resume; waiting for its hash rate."""
    COOLDOWN = "cooldown"
    BLOCKED = "blocked"
    """Something that waiting alone does not cure; the reasons say what."""
    FAULT = "fault"
    """The device is lost, or work failed on it too often."""


RESTING = frozenset({State.OFF, State.MINING, State.IDLE_WAIT, State.BLOCKED, State.FAULT})
"""States without a hand-over. A hand-over has one door in (IDLE_WAIT) and one out (COOLDOWN)."""

LEGAL_MOVES: dict[State, frozenset[State]] = {
    State.OFF: RESTING - {State.OFF},
    State.MINING: RESTING - {State.MINING},
    State.IDLE_WAIT: (RESTING | {State.RELEASING, State.VERIFYING, State.RESTORING}) - {State.IDLE_WAIT},
    State.BLOCKED: RESTING - {State.BLOCKED},
    State.FAULT: RESTING - {State.FAULT},
    State.RELEASING: frozenset({State.VERIFYING, State.RESTORING}),
    State.VERIFYING: frozenset({State.TRAINING, State.RESTORING, State.COOLDOWN}),
    State.TRAINING: frozenset({State.DRAINING, State.RESTORING, State.COOLDOWN}),
    State.DRAINING: frozenset({State.RESTORING, State.COOLDOWN}),
    State.RESTORING: frozenset({State.COOLDOWN}),
    State.COOLDOWN: RESTING,
}


class Reason(StrEnum):
    """Why a device does not train (or stopped). Shown to the owner."""

    BATTERY = "battery"
    BLIND = "blind"
    """No fresh readings of the rig."""
    COMPANY = "company"
    """Another device of its miner is not free, or gives the miner back."""
    DEVICE_LOST = "device-lost"
    FINISHING = "finishing"
    """The owner asked for an end after the unit under way."""
    FLAPPING = "flapping"
    FOREIGN_LOAD = "foreign-load"
    """Somebody else computes on it, or did a moment ago."""
    INPUT_UNKNOWN = "input-unknown"
    """A person may sit here and we cannot tell whether they are active."""
    KERNELS_UNKNOWN = "kernels-unknown"
    """The installed torch has not been asked yet."""
    LOAD_UNKNOWN = "load-unknown"
    LOW_MEMORY = "low-memory"
    MANUAL = "manual"
    MINER_EARNS = "miner-earns"
    MINER_GONE = "miner-gone"
    MINER_NOT_RESTORED = "miner-not-restored"
    MINER_SLOW = "miner-slow"
    """It runs again, but below the promised share of its former hash rate."""
    MINER_TURN = "miner-turn"
    """It was lent to us for long enough: let it look for work again."""
    MINER_UNCONTROLLABLE = "miner-uncontrollable"
    MINER_UNKNOWN = "miner-unknown"
    NO_KERNELS = "no-kernels"
    """The installed torch has no code for this card."""
    NO_SURPLUS = "no-surplus"
    """The house does not give away enough power."""
    POWER_DEAR = "power-dear"
    POWER_DIRTY = "power-dirty"
    POWER_UNKNOWN = "power-unknown"
    """A limit on power is set and its source does not tell."""
    PRICES_UNKNOWN = "prices-unknown"
    SCHEDULE = "schedule"
    THERMAL = "thermal"
    UNPROFITABLE = "unprofitable"
    USER_ACTIVE = "user-active"
    WORKER_FAILED = "worker-failed"
    WORKER_STUCK = "worker-stuck"


TERMS = frozenset(
    {Reason.NO_SURPLUS, Reason.POWER_DEAR, Reason.POWER_DIRTY, Reason.POWER_UNKNOWN, Reason.PRICES_UNKNOWN,
     Reason.SCHEDULE, Reason.UNPROFITABLE}
)  # fmt: skip
"""What hours, power and prices say."""

PASSING = frozenset({Reason.COMPANY, Reason.FOREIGN_LOAD, Reason.USER_ACTIVE}) | (
    TERMS - {Reason.POWER_UNKNOWN, Reason.PRICES_UNKNOWN}
)
"""Reasons that pass by waiting: they make IDLE_WAIT, any other makes BLOCKED."""


class Policy(StrEnum):
    IDLE_ONLY = "idle_only"
    """Train only while nobody uses the device and its miner does not earn."""
    PROFIT = "profit"
    """Train while nobody uses the device and it pays better than its miner, net of power."""
    ALWAYS = "always"
    """For dedicated trainers and devnets: no waiting for idleness; heat, overrides and OFF still count."""


class Mode(StrEnum):
    """What the owner said by hand."""

    AUTO = "auto"
    MINE = "mine"
    TRAIN = "train"
    OFF = "off"
