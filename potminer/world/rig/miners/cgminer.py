"""The cgminer family over its RPC API: cgminer, sgminer, bfgminer and TeamRedMiner. JSON over TCP.

One question a connection; the reply ends with a zero byte. ``a+b`` asks for several parts, each
under its own name, in a list (cgminer) or not (TeamRedMiner). A rate's key is its unit and its
window: "MHS 5s", "KHS 30s", "GHS av". A device is switched by ``gpudisable|N`` and its like, which
need privileged access (``--api-allow W:127.0.0.1``); code 45 is "access denied". TeamRedMiner tells
the PCI bus in DEVDETAILS as "Device Path". Only the first algorithm is read.
Sources: cgminer API-README; teamredminer MAP_YOUR_GPUS.txt, TRM_DUAL_MINING_API.txt; HiveOS teamredminer/h-stats.sh.
"""

from __future__ import annotations

import re
from typing import Any

from potminer.wire.facts import GPUS, MinerGpu, bus_key
from potminer.world.rig.miners.interface import Control, Failure, MinerError
from potminer.world.rig.miners.reading import (
    Reading,
    all_paused,
    count,
    expect,
    fan,
    first,
    index,
    label,
    listing,
    mapping,
    power,
    temperature,
    total,
)
from potminer.world.rig.miners.tcp import LocalTcp

KIND = "cgminer"
_TYPES = {"GPU": "gpu", "PGA": "pga", "ASC": "asc"}
"""How a device is named in DEVS, and how its commands begin."""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_RATE = re.compile(r"([KMGTP]?)HS (\S+)")
_WINDOWS = ("5s", "20s", "30s", "1m", "60s", "5m", "15m", "rolling", "av")
_ACCESS_DENIED = 45


class Cgminer:
    kind = KIND
    control = Control.GPU_TOGGLE

    def __init__(self, tcp: LocalTcp) -> None:
        self._tcp = tcp
        self._off: list[tuple[str, int]] = []
        """Devices that we switched off: only those are switched on again, if we know them."""

    async def look(self) -> Reading:
        [reply] = await self._tcp.ask({"command": "summary+devs+devdetails"})
        return parse(reply)

    async def writable(self) -> bool | None:
        [reply] = await self._tcp.ask({"command": "privileged"})
        status = _status(reply)
        if status.get("Code") == _ACCESS_DENIED:
            return False
        return True if status.get("STATUS") == "S" else None

    async def command(self, *, pause: bool) -> None:
        [reply] = await self._tcp.ask({"command": "devs"})
        devices = [mapping(device) for device in listing(mapping(reply).get("DEVS"), at_most=GPUS)]
        switches = [(switch, device.get("Enabled")) for device in devices if (switch := _switch(device)) is not None]
        if pause:
            self._off = [switch for switch, enabled in switches if enabled == "Y"]
        for prefix, at in self._off or [switch for switch, _ in switches]:
            await self._toggle(f"{prefix}{'disable' if pause else 'enable'}", at)

    async def _toggle(self, command: str, at: int) -> None:
        [reply] = await self._tcp.ask({"command": command, "parameter": str(at)})
        status = _status(reply)
        if status.get("Code") == _ACCESS_DENIED:
            raise MinerError(Failure.READ_ONLY, "its API is read-only: start it with --api-allow W:127.0.0.1")
        if status.get("STATUS") not in ("S", "I", "W"):
            raise MinerError(Failure.REFUSED, f"it did not accept {command}")


def _status(reply: Any) -> dict[str, Any]:
    return mapping(first(mapping(reply).get("STATUS")))


def _part(reply: dict[str, Any], name: str) -> dict[str, Any]:
    part = reply.get(name)
    return mapping(first(part) if isinstance(part, list) else part)


def _switch(device: dict[str, Any]) -> tuple[str, int] | None:
    for key, prefix in _TYPES.items():
        at = index(device.get(key))
        if at is not None:
            return prefix, at
    return None


def parse(reply: Any) -> Reading:
    answer = mapping(reply)
    part = _part(answer, "summary")
    summary = mapping(first(part.get("SUMMARY")))
    description = label(_status(part).get("Description"))
    expect(bool(description) and "Elapsed" in summary and "Accepted" in summary, "of the cgminer family")
    devices = [mapping(device) for device in listing(_part(answer, "devs").get("DEVS"), at_most=GPUS)]
    details = [mapping(d) for d in listing(_part(answer, "devdetails").get("DEVDETAILS"), at_most=GPUS)]
    gpus = tuple(_gpu(device, details) for device in devices)
    paused = all_paused(gpu.paused for gpu in gpus)
    rate = _rate(summary)
    return Reading(
        version=description,
        paused=paused,
        hashrate_hs=0 if paused else rate if rate is not None else total(gpu.hashrate_hs for gpu in gpus),
        uptime_s=count(summary.get("Elapsed")),
        accepted=count(summary.get("Accepted")),
        rejected=count(summary.get("Rejected")),
        gpus=gpus,
    )


def _rate(part: dict[str, Any]) -> int | None:
    """Over the shortest window that is there."""
    found: dict[str, int | None] = {}
    for key, value in part.items():
        named = _RATE.fullmatch(key)
        if named is not None:
            found[named[2]] = count(value, factor=_UNITS[named[1]])
    return next((found[window] for window in _WINDOWS if found.get(window) is not None), None)


def _gpu(device: dict[str, Any], details: list[dict[str, Any]]) -> MinerGpu:
    paused = {"N": True, "Y": False}.get(label(device.get("Enabled")))
    prefix, at = _switch(device) or ("", None)
    same = (d for d in details if label(d.get("Name")).lower() == prefix and index(d.get("ID")) == at)
    detail: dict[str, Any] = next(same, {})
    return MinerGpu(
        bus=bus_key(label(detail.get("Device Path"))),
        hashrate_hs=0 if paused else _rate(device),
        index=at,
        name=label(detail.get("Model")),
        temperature_milli_c=temperature(device.get("Temperature")),
        power_mw=power(device.get("GPU Power")),
        fan_ppm=fan(device.get("Fan Percent")),
        paused=paused,
    )
