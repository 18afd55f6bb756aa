"""Every device with all that is known of it."""

from __future__ import annotations

from potminer.view import text
from potminer.view.select import device_rows, short_bus
from potminer.view.table import FLEX, Column, Look, Row, Table
from potminer.wire.control import DeviceView, Snapshot

_COLUMNS = (
    Column("device", 6, look=Look.BOLD),
    Column("name", 12, look=Look.QUIET),
    Column("bus", 8, look=Look.QUIET, wide=True),
    Column("state", 12, look=Look.TONE),
    Column("rate", 11, right=True),
    Column("load", 5, right=True, wide=True),
    Column("power", 5, right=True),
    Column("limit", 5, right=True, wide=True),
    Column("core", 6, right=True),
    Column("mem", 6, right=True, wide=True),
    Column("fan", 5, right=True),
    Column("memory", 13, right=True, wide=True),
    Column("lanes", 5, right=True, wide=True),
    Column("per 1,000", 9, right=True, wide=True),
    Column("CO₂", 7, right=True, wide=True),
    Column("display", 7, wide=True),
    Column("why", FLEX, look=Look.LOUD),
    Column("torch", 19, look=Look.QUIET, wide=True),
)
_EMPTY = ("No device to train on.", "A validator needs none; a trainer without a GPU works on its CPU.")


def gpu_table(snapshot: Snapshot, now_ms: int) -> Table:
    rows = (
        Row(
            (
                seen.label,
                seen.name,
                short_bus(device.bus),
                f"{seen.sign} {seen.state}",
                seen.rate,
                text.share(device.utilisation_ppm),
                seen.power,
                text.watts(device.power_limit_mw),
                seen.temperature,
                text.degrees(device.memory_temperature_milli_c),
                text.share(device.fan_ppm),
                seen.memory,
                _lanes(device),
                text.scaled_or_unknown(device.energy_mj_per_1000, "J"),
                text.scaled_or_unknown(device.carbon_mg_per_1000, "g"),
                _yes(device.drives_display),
                seen.why,
                text.UNKNOWN if device.torch is None else text.clean(device.torch, 40),
            ),
            seen.tone,
            device.bus,
            note=_note(device, seen.why),
        )
        for seen, device in zip(device_rows(snapshot, now_ms), snapshot.devices, strict=True)
    )
    return Table(_COLUMNS, tuple(rows), _EMPTY)


def _note(device: DeviceView, why: str) -> str:
    """What is not in the cells of a narrow terminal, energy first: ``78.9 J and 31.2 g CO₂ per 1,000 samples``."""
    joules = text.scaled_or_unknown(device.energy_mj_per_1000, "J")
    grams = "" if device.carbon_mg_per_1000 is None else f" and {text.scaled(device.carbon_mg_per_1000, 'g')} CO₂"
    energy = "" if device.energy_mj_per_1000 is None else f"{joules}{grams} per 1,000 samples"
    return " · ".join(part for part in (short_bus(device.bus), energy, text.clean(device.name, 60), why) if part)


def _lanes(device: DeviceView) -> str:
    return text.UNKNOWN if device.link_width is None else f"x{device.link_width}"


def _yes(value: bool | None) -> str:
    return {None: text.UNKNOWN, True: "yes", False: "no"}[value]
