"""NBMiner over its HTTP API: GET /api/v1/status. It takes no commands.

Its plain rates are text with a unit ("61.50 M"); only the ``_raw`` ones are read. memTemperature
is -1 where there is none. It tells when it started, not for how long it runs. Source: NBMiner readme.
"""

from __future__ import annotations

from typing import Any

from potminer.wire.facts import GPUS, MinerGpu
from potminer.world.rig.miners.reading import (
    Reading,
    bus_number,
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

KIND = "nbminer"
PATH = "/api/v1/status"


def parse(reply: Any) -> Reading:
    status = mapping(reply)
    miner, stratum = mapping(status.get("miner")), mapping(status.get("stratum"))
    is_nbminer = isinstance(miner.get("devices"), list) and "start_time" in status and "total_hashrate" in miner
    expect(is_nbminer and "stratum" in status, "NBMiner")
    return Reading(
        version=label(status.get("version")),
        hashrate_hs=_rate(miner, "total_hashrate"),
        started_at_s=count(status.get("start_time")),
        accepted=count(stratum.get("accepted_shares")),
        rejected=count(stratum.get("rejected_shares")),
        algorithm=label(stratum.get("algorithm")),
        gpus=tuple(_gpu(mapping(device)) for device in listing(miner["devices"], at_most=GPUS)),
    )


def _rate(part: dict[str, Any], name: str) -> int | None:
    """Of the first coin that is mined; the second's keys have a 2 before ``_raw``."""
    return hashing(count(part.get(key)) for key in (f"{name}_raw", f"{name}2_raw") if key in part)


def _gpu(device: dict[str, Any]) -> MinerGpu:
    return MinerGpu(
        bus=bus_number(device.get("pci_bus_id")),
        hashrate_hs=_rate(device, "hashrate"),
        index=index(device.get("id")),
        name=label(device.get("info")),
        temperature_milli_c=temperature(device.get("temperature")),
        memory_temperature_milli_c=temperature(device.get("memTemperature")),
        power_mw=power(device.get("power")),
        fan_ppm=fan(device.get("fan")),
    )
