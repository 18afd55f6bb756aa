"""Facts: what the senses of a rig reported, in integers, None where nobody knows.

They cross from world to core (duty decides by them) and on to faces (a view shows them).
All ``taken_at_ms`` are on the node's clock, the one ``now`` comes from. Unknown is None, never 0.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from potminer.base.bounded import U8, U16, U63, Millis, Ppm
from potminer.wire.codec import Wire

GPUS = 64
MINERS = 16
CPU = "cpu"
"""Bus of the device that a rig without GPUs has."""

Bus = Annotated[str, Meta(min_length=1, max_length=32)]
"""``dddd:bb:dd.f`` in lower-case hexadecimal (``bus_key``), or ``cpu``."""
Label = Annotated[str, Meta(max_length=96)]
Architecture = Annotated[str, Meta(max_length=16, pattern=r"^[a-z0-9_]*\Z")]
MilliCelsius = Annotated[int, Meta(ge=-273_150, le=1_000_000)]

JOURNAL_BYTES = 256


class HostSample(Wire, frozen=True):
    """The machine around the devices.

    *cpu_load_ppm*: share of all cores used by anyone but us. *input_idle_ms*: since the last
    key press or pointer move. *has_seat*: whether a person can sit at this machine.
    """

    cpu_load_ppm: Ppm | None
    memory_total_bytes: U63 | None
    memory_available_bytes: U63 | None
    on_battery: bool | None
    input_idle_ms: Millis | None
    has_seat: bool | None
    taken_at_ms: Millis


class GpuSample(Wire, frozen=True):
    """One GPU. *foreign_utilisation_ppm* is the load by anyone but our own processes.

    *architecture* is what kernels are compiled for: ``sm_86`` or ``gfx1030``, empty where unknown.
    *link_width* counts PCIe lanes in use: a card on a riser has one.
    """

    bus: Bus
    name: Label
    memory_used_bytes: U63 | None
    memory_total_bytes: U63 | None
    utilisation_ppm: Ppm | None
    foreign_utilisation_ppm: Ppm | None
    temperature_milli_c: MilliCelsius | None
    memory_temperature_milli_c: MilliCelsius | None
    power_mw: U63 | None
    drives_display: bool | None
    taken_at_ms: Millis
    architecture: Architecture = ""
    power_limit_mw: U63 | None = None
    fan_ppm: Ppm | None = None
    link_width: U8 | None = None


class MinerGpu(Wire, frozen=True):
    """What a miner says of one of its GPUs; *hashrate_hs* in hashes a second.

    *bus* is None where the miner does not tell it; then *index*, its own number, is all there is.
    """

    bus: Bus | None
    hashrate_hs: U63 | None
    index: U16 | None = None
    name: Label = ""
    temperature_milli_c: MilliCelsius | None = None
    memory_temperature_milli_c: MilliCelsius | None = None
    power_mw: U63 | None = None
    fan_ppm: Ppm | None = None
    paused: bool | None = None


class MinerSample(Wire, frozen=True):
    """What a miner says of itself. *name* is what the configuration calls it.

    *alive* is False where nothing listens on its API: then all else is None. A miner that was
    asked and did not answer in time is no sample at all. *pauses_single_gpus* tells whether
    it can release one GPU and go on with the others.
    """

    name: Label
    kind: Label
    version: Label
    alive: bool
    paused: bool | None
    hashrate_hs: U63 | None
    uptime_s: U63 | None
    accepted: U63 | None
    rejected: U63 | None
    pauses_single_gpus: bool
    gpus: Annotated[tuple[MinerGpu, ...], Meta(max_length=GPUS)]
    taken_at_ms: Millis
    algorithm: Label = ""


MicroMoney = Annotated[int, Meta(ge=-(10**15), le=10**15)]
"""Millionths of the owner's currency."""


class Terms(Wire, frozen=True):
    """What work, mining and power are worth on one device at a moment; money in millionths of one currency.

    *week_minute* counts local minutes since Monday 00:00. *pay_h*: what training earns in an hour, *mine_h*: what
    the miner earns in an hour while it mines, both before power. *surplus_mw*: power that the house gives away;
    negative where it buys.
    """

    week_minute: Annotated[int, Meta(ge=0, lt=10_080)] | None = None
    pay_h: MicroMoney | None = None
    mine_h: MicroMoney | None = None
    kwh: MicroMoney | None = None
    carbon_g_kwh: Annotated[int, Meta(ge=0, le=10_000)] | None = None
    surplus_mw: Annotated[int, Meta(ge=-(10**12), le=10**12)] | None = None


class RigSample(Wire, frozen=True):
    """One look at the whole rig. *gpu_reason* says why GPUs are missing, empty where none are."""

    host: HostSample
    gpus: Annotated[tuple[GpuSample, ...], Meta(max_length=GPUS)]
    gpu_reason: Label
    miners: Annotated[tuple[MinerSample, ...], Meta(max_length=MINERS)]
    taken_at_ms: Millis


class DutyJournal(Wire, frozen=True):
    """What a device must remember across a crash.

    *resume_miner*: we paused its miner, or are about to: it must run again. *expected_hs*:
    the hash rate it must come back to, 0 where it did not earn when we took over.
    *off*: the owner switched this device off until further notice.
    """

    resume_miner: bool
    expected_hs: U63
    off: bool


_BUS = re.compile(
    r"(?:(?P<domain>[0-9a-f]{1,8}):)?(?P<bus>[0-9a-f]{1,2}):(?P<device>[0-9a-f]{1,2})(?:\.(?P<fn>[0-7]))?"
)


def bus_key(text: str) -> str | None:
    """The one spelling of a PCI address: NVML, sysfs and miners each write their own. None if it is none."""
    found = _BUS.fullmatch(text.strip().lower())
    if found is None:
        return None
    domain, bus, device = (int(found[part] or "0", 16) for part in ("domain", "bus", "device"))
    return f"{domain:04x}:{bus:02x}:{device:02x}.{found['fn'] or '0'}"
