"""The first line of every face: what this rig is doing, in one sentence."""

from __future__ import annotations

from potminer.view.text import plural, span, until
from potminer.wire.control import DeviceKind, DeviceState, DeviceView, Mode, Snapshot, Standing

NOUN = {
    DeviceState.OFF: "off",
    DeviceState.MINING: "mining",
    DeviceState.IDLE_WAIT: "waiting",
    DeviceState.RELEASING: "being released by its miner",
    DeviceState.VERIFYING: "being checked before work",
    DeviceState.TRAINING: "training",
    DeviceState.DRAINING: "finishing its unit",
    DeviceState.RESTORING: "going back to its miner",
    DeviceState.COOLDOWN: "cooling down",
    DeviceState.BLOCKED: "blocked",
    DeviceState.FAULT: "at fault",
}
_ORDER = (
    DeviceState.FAULT,
    DeviceState.BLOCKED,
    DeviceState.MINING,
    DeviceState.RELEASING,
    DeviceState.VERIFYING,
    DeviceState.DRAINING,
    DeviceState.RESTORING,
    DeviceState.COOLDOWN,
    DeviceState.IDLE_WAIT,
    DeviceState.OFF,
)
_ENDED = frozenset({"closed", "cancelled"})
"""Words of a task that is no longer open."""
WIDTH = 78


def sentence(snapshot: Snapshot, now_ms: int, width: int = WIDTH) -> str:
    """``3 of 4 GPUs training, GPU 2 mining, next check in 41 s``

    Where that is longer than *width*, the least grave groups of devices are left out.
    """
    override, check = _override(snapshot, now_ms), _next_check(snapshot, now_ms)
    work = _work(snapshot)
    while True:
        line = ", ".join(part for part in (override, *work, check) if part)
        if len(line) <= width or len(work) < 2:
            return line
        work = work[:-1]


def is_without_work(snapshot: Snapshot) -> bool:
    """No task is open: a device that is ours has nothing to compute."""
    return snapshot.training is None or snapshot.training.phase in _ENDED


def device_name(devices: tuple[DeviceView, ...], index: int) -> str:
    """``GPU 2``; the only CPU is ``CPU``."""
    kind = devices[index].kind
    same = [at for at, device in enumerate(devices) if device.kind is kind]
    if kind is DeviceKind.CPU and len(same) == 1:
        return "CPU"
    return f"{kind.value.upper()} {same.index(index)}"


def _work(snapshot: Snapshot) -> list[str]:
    devices = snapshot.devices
    if not devices:
        return [_role(snapshot)]
    training = sum(device.state is DeviceState.TRAINING for device in devices)
    doing = "ready, no task open" if is_without_work(snapshot) else "training"
    named: list[str] = []
    for state in _ORDER:
        members = [device_name(devices, at) for at, device in enumerate(devices) if device.state is state]
        if members:
            named.append(_group(members, len(devices), _noun(devices), NOUN[state]))
    if training == len(devices):
        return [f"{_all(len(devices), _noun(devices))} {doing}"]
    if training:
        head = f"{training} of {plural(len(devices), _noun(devices))} {doing}"
        return [head, *named]
    if not named:
        return ["nothing to do"]
    if len(named) == 1:
        return [f"{_all(len(devices), _noun(devices))} {NOUN[devices[0].state]}"]
    return named


def _noun(devices: tuple[DeviceView, ...]) -> str:
    kinds = {device.kind for device in devices}
    return next(iter(kinds)).value.upper() if len(kinds) == 1 else "device"


def _all(number: int, noun: str) -> str:
    return {1: noun, 2: f"both {noun}s"}.get(number, f"all {number} {noun}s")


def _group(members: list[str], total: int, noun: str, doing: str) -> str:
    if len(members) <= 2:
        return f"{' and '.join(members)} {doing}"
    return f"{plural(len(members), noun)} {doing}" if total > len(members) else f"all {doing}"


_WAITING = {
    Standing.CANDIDATE: "waiting for a seat in the committee",
    Standing.COMING: "taking a seat in the committee when the epoch ends",
    Standing.SLASHED: "slashed: this key signed two values for one place",
}


def _role(snapshot: Snapshot) -> str:
    target = snapshot.chain.target_height
    if target is not None and target > snapshot.chain.height:
        return f"catching up, {plural(target - snapshot.chain.height, 'block')} behind"
    if snapshot.chain.standing in _WAITING:
        return _WAITING[snapshot.chain.standing]
    roles = {"validator": "validating", "trainer": "no device to train on"}
    return roles.get(snapshot.chain.role, "watching the chain")


def _override(snapshot: Snapshot, now_ms: int) -> str:
    control = snapshot.control
    if control.paused:
        left = "" if control.paused_until_ms is None else f" for {span(control.paused_until_ms - now_ms)} more"
        return f"paused{left}"
    if control.mode is Mode.AUTO:
        return ""
    forced = {Mode.MINE: "mining only", Mode.TRAIN: "training only", Mode.OFF: "off"}[control.mode]
    left = "" if control.until_ms is None else f" for {span(control.until_ms - now_ms)} more"
    return f"set to {forced}{left}"


def _next_check(snapshot: Snapshot, now_ms: int) -> str:
    if snapshot.next_check_ms is None or not snapshot.devices:
        return ""
    return f"next check {until(snapshot.next_check_ms, now_ms)}"
