"""A recorded day of a rig, one JSON object a line: what its senses said, what power and work were worth, and what its
owner said. People read and write it; ``potminer run --record`` does, ``potminer simulate policy`` plays it.

The first line is a RigLine. A LookLine holds until the next, GAP_MS at most.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from potminer.base.bounded import U32, U63, Millis, Ppm
from potminer.wire.control import Bus, Line, Mode
from potminer.wire.facts import GPUS, MINERS, GpuSample, HostSample, MilliCelsius, MinerGpu, MinerSample, Terms

TRACE_BYTES = 268_435_456
LINE_BYTES = 262_144
GAP_MS = 70_000
SCHEMA = 1


class TraceLine(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", omit_defaults=True):
    """Base of every line."""


class TraceDevice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """*miner* is the name of the one that may use it, as in its look; empty where there is none."""

    bus: Bus
    miner: Line = ""
    single: bool = False
    """The miner can release this device alone."""


class RigLine(TraceLine, frozen=True, kw_only=True, tag="rig"):
    """*parameters* are duty's; what is not named has its default."""

    schema: U32 = SCHEMA
    devices: Annotated[tuple[TraceDevice, ...], Meta(max_length=GPUS)]
    parameters: dict[str, Any] = {}
    currency: Line = ""


class TraceHost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    cpu_load_ppm: Ppm | None = None
    on_battery: bool | None = None
    input_idle_ms: Millis | None = None
    has_seat: bool | None = None


class TraceGpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    bus: Bus
    memory_used_bytes: U63 | None = None
    memory_total_bytes: U63 | None = None
    foreign_utilisation_ppm: Ppm | None = None
    temperature_milli_c: MilliCelsius | None = None
    memory_temperature_milli_c: MilliCelsius | None = None
    power_mw: U63 | None = None
    drives_display: bool | None = None


class TraceMinerGpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    bus: Bus
    hashrate_hs: U63 | None = None
    paused: bool | None = None


class TraceMiner(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: Line
    alive: bool = True
    paused: bool | None = None
    hashrate_hs: U63 | None = None
    single: bool = False
    gpus: Annotated[tuple[TraceMinerGpu, ...], Meta(max_length=GPUS)] = ()


class TraceTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As ``Terms``, money in millionths; for every device or for *bus* alone."""

    bus: Bus | None = None
    week_minute: int | None = None
    pay_h: int | None = None
    mine_h: int | None = None
    kwh: int | None = None
    carbon_g_kwh: int | None = None
    surplus_mw: int | None = None


class LookLine(TraceLine, frozen=True, kw_only=True, tag="look"):
    """*held*: devices that potminer had at that moment. What their miner says then is our doing, not its own."""

    at_ms: Millis
    host: TraceHost
    gpus: Annotated[tuple[TraceGpu, ...], Meta(max_length=GPUS)] = ()
    miners: Annotated[tuple[TraceMiner, ...], Meta(max_length=MINERS)] = ()
    terms: Annotated[tuple[TraceTerms, ...], Meta(max_length=GPUS)] = ()
    held: Annotated[tuple[Bus, ...], Meta(max_length=GPUS)] = ()


class SaidLine(TraceLine, frozen=True, kw_only=True, tag="said"):
    """The owner's word for *device*, or for all. *finish* stands above *mode*."""

    at_ms: Millis
    device: Bus | None = None
    mode: Mode = Mode.AUTO
    for_ms: Millis | None = None
    finish: bool = False


Lines = RigLine | LookLine | SaidLine

# ---- to and from the senses --------------------------------------------------------------


def host_line(host: HostSample) -> TraceHost:
    return TraceHost(**{name: getattr(host, name) for name in TraceHost.__struct_fields__})


def gpu_line(gpu: GpuSample) -> TraceGpu:
    return TraceGpu(**{name: getattr(gpu, name) for name in TraceGpu.__struct_fields__})


def miner_line(miner: MinerSample) -> TraceMiner:
    return TraceMiner(
        name=miner.name, alive=miner.alive, paused=miner.paused, hashrate_hs=miner.hashrate_hs,
        single=miner.pauses_single_gpus,
        gpus=tuple(
            TraceMinerGpu(bus=gpu.bus, hashrate_hs=gpu.hashrate_hs, paused=gpu.paused)
            for gpu in miner.gpus
            if gpu.bus is not None
        ),
    )


def terms_line(terms: Terms, bus: str | None) -> TraceTerms:
    return TraceTerms(bus=bus, **{name: getattr(terms, name) for name in Terms.__struct_fields__})


def host_sample(line: TraceHost, at_ms: int) -> HostSample:
    return HostSample(line.cpu_load_ppm, None, None, line.on_battery, line.input_idle_ms, line.has_seat, at_ms)


def gpu_sample(line: TraceGpu, at_ms: int) -> GpuSample:
    return GpuSample(
        line.bus, "", line.memory_used_bytes, line.memory_total_bytes, None, line.foreign_utilisation_ppm,
        line.temperature_milli_c, line.memory_temperature_milli_c, line.power_mw, line.drives_display, at_ms,
    )


def miner_sample(line: TraceMiner, at_ms: int) -> MinerSample:
    gpus = tuple(MinerGpu(gpu.bus, gpu.hashrate_hs, paused=gpu.paused) for gpu in line.gpus)
    return MinerSample(
        line.name, "", "", line.alive, line.paused, line.hashrate_hs, None, None, None, line.single, gpus, at_ms
    )


def terms_of(lines: tuple[TraceTerms, ...], bus: str) -> Terms | None:
    """The device's own, else those of all."""
    found = [line for line in lines if line.bus == bus] or [line for line in lines if line.bus is None]
    if not found:
        return None
    return Terms(**{name: getattr(found[0], name) for name in Terms.__struct_fields__})
