"""SRBMiner-Multi over its HTTP API: GET /. It takes no commands (its restart addresses are secret).

Since 0.4.8 the rates are nested by algorithm, before they were flat; both list GPUs as ``gpu0``
and their buses in decimal. A CPU's threads have no bus and are part of the whole alone.
Sources: SRBMiner-Multi Parameters; HiveOS srbminer/h-stats.sh.
"""

from __future__ import annotations

from typing import Any

from potminer.wire.facts import GPUS, MinerGpu
from potminer.world.rig.miners.reading import (
    ALGORITHMS,
    Reading,
    bus_number,
    count,
    expect,
    first,
    hashing,
    index,
    label,
    listing,
    mapping,
    power,
    temperature,
)

KIND = "srbminer"
PATH = "/"


def parse(reply: Any) -> Reading:
    status = mapping(reply)
    nested = isinstance(status.get("algorithms"), list)
    is_srbminer = "miner_version" in status and "mining_time" in status
    expect(is_srbminer and (nested or "hashrate_total_now" in status), "SRBMiner-Multi")
    parts = [mapping(part) for part in listing(status.get("algorithms"), at_most=ALGORITHMS)] if nested else [status]
    leading = mapping(first(parts))
    shares = mapping(leading.get("shares"))
    whole = [mapping(p.get("hashrate")).get("now") if nested else p.get("hashrate_total_now") for p in parts]
    rows = [mapping(mapping(p.get("hashrate")).get("gpu")) if nested else _flat(p) for p in parts]
    return Reading(
        version=label(status.get("miner_version")),
        hashrate_hs=hashing(count(rate) for rate in whole),
        uptime_s=count(status.get("mining_time")),
        accepted=count(shares.get("accepted")),
        rejected=count(shares.get("rejected")),
        algorithm=label(leading.get("name" if nested else "algorithm")),
        gpus=tuple(_gpu(mapping(device), rows) for device in listing(status.get("gpu_devices"), at_most=GPUS)),
    )


def _flat(status: dict[str, Any]) -> dict[str, Any]:
    """``[{gpu0: …, gpu1: …, total: …}]``, or one entry a GPU."""
    rates: dict[str, Any] = {}
    for part in listing(status.get("gpu_hashrate"), at_most=GPUS):
        rates |= mapping(part)
    return rates


def _gpu(device: dict[str, Any], rows: list[dict[str, Any]]) -> MinerGpu:
    name = label(device.get("device"))
    return MinerGpu(
        bus=bus_number(device.get("bus_id")),
        hashrate_hs=hashing(count(row.get(name)) for row in rows),
        index=index(device.get("device_id")),
        name=label(device.get("model")),
        temperature_milli_c=temperature(device.get("temperature")),
        power_mw=power(device.get("asic_power")),
    )
