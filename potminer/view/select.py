"""Rows: one device, one fact, one alert as the strings a table shows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from potminer.view import text
from potminer.view.sentence import device_name, is_without_work
from potminer.wire.control import AlertLevel, DeviceState, DeviceView, Snapshot, UnitCounts


class Tone(StrEnum):
    """What a row says at a glance. A word or a sign always says it too: never colour alone."""

    GOOD = "good"
    BUSY = "busy"
    PLAIN = "plain"
    QUIET = "quiet"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class DeviceRow:
    label: str
    bus: str
    name: str
    sign: str
    state: str
    tone: Tone
    rate: str
    power: str
    temperature: str
    memory: str
    why: str


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled value."""

    label: str
    value: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class AlertRow:
    sign: str
    text: str
    age: str
    tone: Tone


_LOOK = {
    DeviceState.TRAINING: ("●", Tone.GOOD),
    DeviceState.MINING: ("■", Tone.BUSY),
    DeviceState.IDLE_WAIT: ("○", Tone.PLAIN),
    DeviceState.RELEASING: ("◐", Tone.BUSY),
    DeviceState.VERIFYING: ("◐", Tone.BUSY),
    DeviceState.DRAINING: ("◐", Tone.BUSY),
    DeviceState.RESTORING: ("◐", Tone.BUSY),
    DeviceState.COOLDOWN: ("◐", Tone.WARNING),
    DeviceState.OFF: ("○", Tone.QUIET),
    DeviceState.BLOCKED: ("▲", Tone.WARNING),
    DeviceState.FAULT: ("✗", Tone.FAULT),
}
_ALERTS = {
    AlertLevel.NOTE: ("·", Tone.PLAIN),
    AlertLevel.WARNING: ("▲", Tone.WARNING),
    AlertLevel.FAULT: ("✗", Tone.FAULT),
}
_GRAVITY = (AlertLevel.FAULT, AlertLevel.WARNING, AlertLevel.NOTE)


def device_rows(snapshot: Snapshot, now_ms: int) -> tuple[DeviceRow, ...]:
    idle = is_without_work(snapshot)
    return tuple(
        _device_row(device, device_name(snapshot.devices, at), now_ms, idle=idle)
        for at, device in enumerate(snapshot.devices)
    )


def _device_row(device: DeviceView, label: str, now_ms: int, *, idle: bool) -> DeviceRow:
    sign, tone = _LOOK[device.state]
    why = ", ".join(text.clean(reason, 80) for reason in device.reasons)
    state = device.state.value
    if idle and device.state is DeviceState.TRAINING:
        sign, tone, state, why = "○", Tone.QUIET, "ready", why or "no task open"
    return DeviceRow(
        label=label,
        bus=short_bus(device.bus),
        name="" if device.name == label else short_device(device.name),
        sign=sign,
        state=state,
        tone=tone,
        rate=rate(device),
        power=text.watts(device.power_mw),
        temperature=text.degrees(device.temperature_milli_c),
        memory=text.memory(device.memory_used, device.memory_total),
        why=why or f"for {text.span(now_ms - device.since_ms)}",
    )


def rate(device: DeviceView) -> str:
    """Samples while it trains, hashes while it mines; whichever is known otherwise."""
    if device.state is DeviceState.MINING or device.samples_per_s_milli is None:
        known = device.hashrate_hs is not None
        return text.hash_rate(device.hashrate_hs) if known else text.samples_rate(device.samples_per_s_milli)
    return text.samples_rate(device.samples_per_s_milli)


def short_bus(bus: str) -> str:
    """``00000000:01:00.0`` -> ``01:00.0``; the domain matters to nobody with one."""
    cleaned = text.clean(bus, 40)
    domain, separator, rest = cleaned.partition(":")
    return rest if separator and ":" in rest and not domain.strip("0") else cleaned


def short_device(name: str) -> str:
    """Without the maker's name: the model is what tells cards apart."""
    cleaned = text.clean(name, 60)
    for maker in ("NVIDIA ", "GeForce ", "AMD ", "Radeon ", "Advanced Micro Devices, Inc. ", "Intel(R) ", "Core(TM) "):
        cleaned = cleaned.replace(maker, "")
    return cleaned.partition(" CPU")[0].strip() or text.UNKNOWN


def alert_rows(snapshot: Snapshot, now_ms: int) -> tuple[AlertRow, ...]:
    """Gravest first, newest first among equals."""
    ordered = sorted(snapshot.alerts, key=lambda alert: (_GRAVITY.index(alert.level), -alert.since_ms))
    rows = []
    for alert in ordered:
        sign, tone = _ALERTS[alert.level]
        rows.append(AlertRow(sign, text.clean(alert.text, 160), f"{text.span(now_ms - alert.since_ms)} ago", tone))
    return tuple(rows)


def refused(counts: UnitCounts) -> int:
    return sum(counts.rejected.values())


def refusals(counts: UnitCounts) -> str:
    """``late 2, out-of-tolerance 1``: most frequent first."""
    ordered = sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{text.clean(reason, 24)} {number:,}" for reason, number in ordered if number)
