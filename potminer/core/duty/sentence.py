"""One sentence that tells an owner what a device does and why."""

from __future__ import annotations

from dataclasses import dataclass

from potminer.core.duty.state import Mode, Reason, State


@dataclass(frozen=True, slots=True)
class Status:
    """A photograph of one device. Durations in ms, None where unknown or where they do not apply."""

    bus: str
    state: State
    reasons: frozenset[Reason]
    for_ms: int
    mode: Mode
    override_left_ms: int | None
    next_ms: int | None
    """Until the state's own deadline: end of a cooldown, a block, a lending."""
    input_idle_ms: int | None
    miner: str
    """``none``, ``unknown``, ``dead``, ``paused``, ``idle`` or ``mining``."""


_DOING = {
    State.OFF: "off",
    State.MINING: "mining",
    State.IDLE_WAIT: "waiting for idleness",
    State.RELEASING: "asking the miner to pause",
    State.VERIFYING: "checking that the device is free",
    State.TRAINING: "training",
    State.DRAINING: "ending its work",
    State.RESTORING: "giving the device back to the miner",
    State.COOLDOWN: "cooling down",
    State.BLOCKED: "not training",
    State.FAULT: "faulty",
}

_WHY = {
    Reason.BATTERY: "the machine runs on battery",
    Reason.BLIND: "no fresh readings",
    Reason.COMPANY: "another card of its miner is not free",
    Reason.DEVICE_LOST: "the device does not answer",
    Reason.FINISHING: "you asked it to finish: it ends after this unit",
    Reason.FLAPPING: "it changed its use too often this hour",
    Reason.FOREIGN_LOAD: "other programs use it or just did",
    Reason.INPUT_UNKNOWN: "cannot tell whether somebody sits here",
    Reason.KERNELS_UNKNOWN: "the installed torch has not been asked yet",
    Reason.LOAD_UNKNOWN: "cannot tell whether other programs use it",
    Reason.LOW_MEMORY: "too little device memory is free",
    Reason.MANUAL: "you said so",
    Reason.MINER_EARNS: "its miner runs",
    Reason.MINER_GONE: "the miner has ended and could not be resumed",
    Reason.MINER_NOT_RESTORED: "the miner has not resumed yet, trying again",
    Reason.MINER_SLOW: "the miner is back below its former hash rate",
    Reason.MINER_TURN: "the miner may look for work again",
    Reason.MINER_UNCONTROLLABLE: "the miner did not pause when asked",
    Reason.MINER_UNKNOWN: "the miner does not answer",
    Reason.NO_KERNELS: "the installed torch has no kernels for this card (potminer doctor says more)",
    Reason.NO_SURPLUS: "the house has no power to spare",
    Reason.POWER_DEAR: "power is dear now",
    Reason.POWER_DIRTY: "power is dirty now",
    Reason.POWER_UNKNOWN: "the source of power prices or surplus does not tell",
    Reason.PRICES_UNKNOWN: "a price, the pace of the work or the power it draws is not known",
    Reason.SCHEDULE: "not in these hours",
    Reason.THERMAL: "it is too hot",
    Reason.UNPROFITABLE: "it would not pay",
    Reason.USER_ACTIVE: "somebody is using the machine",
    Reason.WORKER_FAILED: "work on it failed",
    Reason.WORKER_STUCK: "the worker does not let go",
}


def sentence(status: Status) -> str:
    """For example ``training since 12 min: idle 3 min, miner paused``."""
    parts = [_WHY[reason] for reason in sorted(status.reasons)]
    if status.state is State.TRAINING:
        parts += _circumstances(status)
    text = f"{_DOING[status.state]} since {duration(status.for_ms)}"
    if parts:
        text += ": " + ", ".join(parts)
    if status.next_ms is not None and status.state in (State.COOLDOWN, State.BLOCKED):
        text += f"; {duration(status.next_ms)} left"
    return text + _override(status)


def duration(ms: int) -> str:
    """Whole units, the largest that fits: 41 s, 12 min, 3 h, 2 d."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000)):
        if ms >= size:
            return f"{ms // size} {unit}"
    return f"{max(0, ms) // 1_000} s"


def _circumstances(status: Status) -> list[str]:
    found = []
    if status.input_idle_ms is not None:
        found.append(f"idle {duration(status.input_idle_ms)}")
    if status.miner != "none":
        found.append(f"miner {status.miner}")
    return found


def _override(status: Status) -> str:
    if status.mode is Mode.AUTO:
        return ""
    if status.override_left_ms is None:
        return f" (by hand: {status.mode}, until changed)"
    return f" (by hand: {status.mode}, {duration(status.override_left_ms)} left)"
