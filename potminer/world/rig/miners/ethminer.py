"""ethminer and its kin (kawpowminer, firominer, progpowminer): what they say beyond ethman.

``miner_getstatdetail`` tells buses, power and whether a GPU is paused; ``miner_pausegpu`` pauses one
and resumes what the API paused, nothing else. A read-only API (negative port) answers -32601. A
password is told once a connection, by ``api_authorize``. Rates are hexadecimal texts.
Source: ethminer docs/API_DOCUMENTATION.md and libapicore/ApiServer.cpp.
"""

from __future__ import annotations

import re
from typing import Any

from potminer.wire.facts import GPUS, MinerGpu, bus_key
from potminer.world.rig.miners.interface import Failure, MinerError
from potminer.world.rig.miners.reading import (
    Reading,
    all_paused,
    count,
    expect,
    fan,
    flag,
    index,
    label,
    listing,
    mapping,
    power,
    temperature,
    total,
)
from potminer.world.rig.miners.tcp import LocalTcp

_NAMES = re.compile(r"(ethminer|kawpowminer|firominer|progpowminer|nsfminer)\b")
_NO_METHOD = -32_601


def is_one(version: Any) -> bool:
    return _NAMES.match(label(version)) is not None


class Ethminer:
    """Part of the Ethman Talk, which has seen by the version who answers."""

    def __init__(self, tcp: LocalTcp, password: str) -> None:
        self._tcp = tcp
        self._password = password
        self._paused: list[int] = []

    async def look(self) -> Reading:
        return parse(await self._ask("miner_getstatdetail"))

    async def command(self, *, pause: bool) -> None:
        reading = await self.look()
        if pause:
            self._paused = [gpu.index for gpu in reading.gpus if gpu.index is not None and gpu.paused is False]
        known = [gpu.index for gpu in reading.gpus if gpu.index is not None]
        for at in self._paused or known:
            reply = mapping(await self._ask("miner_pausegpu", {"index": at, "pause": pause}))
            if mapping(reply.get("error")).get("code") == _NO_METHOD:
                raise MinerError(Failure.READ_ONLY, "its API is read-only: give --api-bind a port without a minus")
            if reply.get("result") is not True:
                raise MinerError(Failure.REFUSED, "it did not accept miner_pausegpu")

    async def _ask(self, method: str, params: dict[str, Any] | None = None) -> Any:
        question: dict[str, Any] = {"id": 1, "jsonrpc": "2.0", "method": method}
        if params is not None:
            question["params"] = params
        if not self._password:
            [reply] = await self._tcp.ask(question)
            return reply
        leave = {"id": 1, "jsonrpc": "2.0", "method": "api_authorize", "params": {"psw": self._password}}
        granted, reply = await self._tcp.ask(leave, question)
        if mapping(granted).get("result") is not True:
            raise MinerError(Failure.REFUSED, "its API does not accept the password of token_file")
        return reply


def parse(reply: Any) -> Reading:
    detail = mapping(mapping(reply).get("result"))
    host, mining = mapping(detail.get("host")), mapping(detail.get("mining"))
    expect(isinstance(detail.get("devices"), list) and is_one(host.get("version")), "ethminer")
    gpus = tuple(_gpu(mapping(device)) for device in listing(detail["devices"], at_most=GPUS))
    paused = all_paused(gpu.paused for gpu in gpus)
    shares = listing(mining.get("shares"), at_most=4)
    return Reading(
        version=label(host.get("version")),
        paused=paused,
        hashrate_hs=0 if paused else total(gpu.hashrate_hs for gpu in gpus),
        uptime_s=count(host.get("runtime")),
        accepted=count(shares[0]) if shares else None,
        rejected=count(shares[1]) if len(shares) > 1 else None,
        gpus=gpus,
    )


def _gpu(device: dict[str, Any]) -> MinerGpu:
    hardware, mining = mapping(device.get("hardware")), mapping(device.get("mining"))
    warmth, spin, watts = (listing(hardware.get("sensors"), at_most=3) + [None] * 3)[:3]
    return MinerGpu(
        bus=bus_key(label(hardware.get("pci"))),
        hashrate_hs=0 if mining.get("paused") is True else _hexadecimal(mining.get("hashrate")),
        index=index(device.get("_index")),
        name=label(hardware.get("name")),
        temperature_milli_c=temperature(warmth),
        power_mw=power(watts),
        fan_ppm=fan(spin),
        paused=flag(mining.get("paused")),
    )


def _hexadecimal(value: Any) -> int | None:
    found = re.fullmatch(r"0x([0-9a-f]{1,16})", label(value).lower())
    return count(int(found[1], 16)) if found is not None else None
