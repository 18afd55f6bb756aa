"""GMiner over its HTTP API: GET /stat. It takes no commands.

When it mines two coins, the second has keys that end in 2. power_usage 0 is a card that cannot tell.
Sources: GMiner README; HiveOS gminer/h-stats.sh; NiceHash GMiner/JsonApiResponse.cs.
"""

from __future__ import annotations

from typing import Any

from potminer.wire.facts import GPUS, MinerGpu, bus_key
from potminer.world.rig.miners.reading import (
    Reading,
    count,
    expect,
    fan,
    hashing,
    index,
    label,
    listing,
    mapping,
    power,
    temperature,
    total,
)

KIND = "gminer"
PATH = "/stat"


def parse(reply: Any) -> Reading:
    stat = mapping(reply)
    devices = stat.get("devices")
    named = label(stat.get("miner")).startswith("GMiner")
    # Before 2.0 it did not say its name; then its devices do.
    old = "miner" not in stat and isinstance(devices, list) and any("cuda_id" in mapping(d) for d in devices[:GPUS])
    expect((named or old) and isinstance(devices, list) and "uptime" in stat, "GMiner")
    gpus = tuple(_gpu(mapping(device)) for device in listing(devices, at_most=GPUS))
    return Reading(
        version=label(stat.get("miner")).removeprefix("GMiner").strip(),
        hashrate_hs=total(gpu.hashrate_hs for gpu in gpus),
        uptime_s=count(stat.get("uptime")),
        accepted=count(stat.get("total_accepted_shares")),
        rejected=count(stat.get("total_rejected_shares")),
        algorithm=label(stat.get("algorithm")),
        gpus=gpus,
    )


def _gpu(device: dict[str, Any]) -> MinerGpu:
    rates = [count(device[key]) for key in ("speed", "speed2") if key in device]
    return MinerGpu(
        bus=bus_key(label(device.get("bus_id"))),
        hashrate_hs=hashing(rates),
        index=index(device.get("gpu_id")),
        name=label(device.get("name")),
        temperature_milli_c=temperature(device.get("temperature")),
        memory_temperature_milli_c=temperature(device.get("memory_temperature")),
        power_mw=power(device.get("power_usage")),
        fan_ppm=fan(device.get("fan")),
    )
