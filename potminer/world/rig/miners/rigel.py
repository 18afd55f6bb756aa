"""Rigel over its HTTP API: GET /stat. It takes no commands.

The reply holds the user names and passwords of its pools: nothing of ``pools`` is ever read.
Source: Rigel README and a reply of 1.23.2.
"""

from __future__ import annotations

from typing import Any

from potminer.wire.facts import GPUS, MinerGpu, bus_key
from potminer.world.rig.miners.reading import (
    ALGORITHMS,
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
)

KIND = "rigel"
PATH = "/stat"


def parse(reply: Any) -> Reading:
    stat = mapping(reply)
    is_rigel = label(stat.get("name")).lower() == KIND and isinstance(stat.get("devices"), list)
    expect(is_rigel and isinstance(stat.get("hashrate"), dict), "Rigel")
    algorithms = label(stat.get("algorithm")).split("+")[:ALGORITHMS]
    shares = mapping(mapping(stat.get("solution_stat")).get(algorithms[0]))
    return Reading(
        version=label(stat.get("version")),
        hashrate_hs=_rate(stat, algorithms),
        uptime_s=count(stat.get("uptime")),
        accepted=count(shares.get("accepted")),
        rejected=count(shares.get("rejected")),
        algorithm=label(stat.get("algorithm")),
        gpus=tuple(_gpu(mapping(device), algorithms) for device in listing(stat["devices"], at_most=GPUS)),
    )


def _rate(part: dict[str, Any], algorithms: list[str]) -> int | None:
    rates = mapping(part.get("hashrate"))
    return hashing(count(rates.get(algorithm)) for algorithm in algorithms)


def _gpu(device: dict[str, Any], algorithms: list[str]) -> MinerGpu:
    told = mapping(device.get("monitoring_info"))
    idle = device.get("selected") is False
    return MinerGpu(
        bus=bus_key(label(device.get("pci_address"))),
        hashrate_hs=0 if idle else _rate(device, algorithms),
        index=index(device.get("id")),
        name=label(device.get("name")),
        temperature_milli_c=temperature(told.get("core_temperature")),
        memory_temperature_milli_c=temperature(told.get("memory_temperature")),
        power_mw=power(told.get("power_usage")),
        fan_ppm=fan(told.get("fan_speed")),
    )
