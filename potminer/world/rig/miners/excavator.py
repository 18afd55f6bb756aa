"""NiceHash Excavator, also inside QuickMiner, over its TCP API: JSON lines, parameters are texts.

Read only, though it has ``miner.stop``: that drops its workers and its login, and nothing can be
asked back to start them again; inside QuickMiner a watchdog restarts what it did not stop itself.
What cannot be given back must not be taken. ``devices.get`` tells decimal PCI buses.
Sources: nicehash/excavator api/README.md; nicehash/NiceHashQuickMiner issues 327, 682.
"""

from __future__ import annotations

from typing import Any

from potminer.wire.facts import GPUS, MinerGpu
from potminer.world.rig.miners.interface import Control
from potminer.world.rig.miners.reading import (
    ALGORITHMS,
    Reading,
    bus_number,
    count,
    expect,
    fan,
    first,
    hashing,
    index,
    label,
    listing,
    mapping,
    power,
    temperature,
    total,
)
from potminer.world.rig.miners.talk import read_only
from potminer.world.rig.miners.tcp import LocalTcp

KIND = "excavator"
_QUESTIONS = ("info", "worker.list", "devices.get", "algorithm.list")


class Excavator:
    kind = KIND
    control = Control.PROCESS

    def __init__(self, tcp: LocalTcp) -> None:
        self._tcp = tcp

    async def look(self) -> Reading:
        [info] = await self._tcp.ask(_question(0))
        check(info)
        return parse(info, *await self._tcp.ask(*(_question(at) for at in range(1, len(_QUESTIONS)))))

    async def writable(self) -> bool:
        return False

    async def command(self, *, pause: bool) -> None:
        raise read_only(KIND)


def _question(at: int) -> dict[str, Any]:
    return {"id": at + 1, "method": _QUESTIONS[at], "params": []}


def check(reply: Any) -> None:
    info = mapping(reply)
    is_excavator = "build_platform" in info and isinstance(info.get("version"), str)
    expect(is_excavator and info.get("error") is None, "Excavator")


def parse(info: dict[str, Any], workers: Any, devices: Any, algorithms: Any) -> Reading:
    working = mapping(workers).get("workers")
    rates = _rates(listing(working, at_most=4 * GPUS))
    idle = 0 if isinstance(working, list) else None  # a device without a worker rests
    known = [mapping(device) for device in listing(mapping(devices).get("devices"), at_most=GPUS)]
    leading = mapping(first(mapping(algorithms).get("algorithms")))
    return Reading(
        version=label(info.get("version")),
        hashrate_hs=total(rates.values()) if rates else idle,
        uptime_s=count(info.get("uptime"), factor=0.001),
        accepted=count(leading.get("accepted_shares")),
        rejected=count(leading.get("rejected_shares")),
        algorithm=label(leading.get("name")),
        gpus=tuple(_gpu(device, rates, idle) for device in known),
    )


def _rates(workers: list[Any]) -> dict[int | None, int | None]:
    """By device: a worker's first algorithm that hashes, summed over the device's workers."""
    found: dict[int | None, list[int | None]] = {}
    for worker in map(mapping, workers):
        speeds = [mapping(a).get("speed") for a in listing(worker.get("algorithms"), at_most=ALGORITHMS)]
        found.setdefault(index(worker.get("device_id")), []).append(hashing(count(s) for s in speeds) if speeds else 0)
    return {device: total(rates) for device, rates in found.items()}


def _gpu(device: dict[str, Any], rates: dict[int | None, int | None], idle: int | None) -> MinerGpu:
    at = index(device.get("device_id"))
    return MinerGpu(
        bus=bus_number(mapping(device.get("details")).get("bus_id")),
        hashrate_hs=rates.get(at, idle),
        index=at,
        name=label(device.get("name")),
        temperature_milli_c=temperature(device.get("gpu_temp")),
        power_mw=power(device.get("gpu_power_usage")),
        fan_ppm=fan(device.get("gpu_fan_speed")),
    )
