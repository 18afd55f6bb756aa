"""BzMiner over its HTTP API: GET /status reads, /rig_command?command=stop|start rests and wakes the whole miner.

Rates, states and shares of a device are lists, one entry an algorithm; state 3 is mining. It
does not say that it was told to rest: at 0 H/s it may as well build a DAG or wait for a pool. So
a device that mines settles it, else our own last command does, and before one nobody knows.
Its own README offers the two commands to programs like this.
Sources: BzMiner README and its stop_mining script; bzminer/bzminer issues 38, 67 (states of pools
that are not used are noise), 112 (replies with many GPUs were cut off in old versions).
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from potminer.wire.facts import GPUS, MinerGpu
from potminer.world.rig.miners.interface import Control, Failure, MinerError
from potminer.world.rig.miners.local import LocalHttp
from potminer.world.rig.miners.reading import (
    ALGORITHMS,
    Reading,
    bus_number,
    count,
    expect,
    fan,
    first,
    hashing,
    label,
    listing,
    mapping,
    number,
    power,
    temperature,
    total,
)

KIND = "bzminer"
_MINES = 3


class Bzminer:
    """*password* is its ``http_password``; empty where it has none."""

    kind = KIND
    control = Control.HTTP_PAUSE

    def __init__(self, http: LocalHttp, password: str) -> None:
        self._http = http
        self._query = {"password": password} if password else {}
        self._stopped: bool | None = None

    async def look(self) -> Reading:
        return parse(await self._http.get("/status", self._query), stopped=self._stopped)

    async def writable(self) -> bool | None:
        return None

    async def command(self, *, pause: bool) -> None:
        reply = await self._http.get("/rig_command", {"command": "stop" if pause else "start"} | self._query, mend=_any)
        _check_password(reply)
        self._stopped = pause


def _any(_: bytes) -> bytes:
    """What it answers to a command is not documented and says nothing: the next look does."""
    return b"{}"


def _check_password(reply: Any) -> None:
    if "password" in str(mapping(reply).get("result")).lower():
        raise MinerError(Failure.REFUSED, "its API wants its http_password: name the file that holds it as token_file")


def parse(reply: Any, *, stopped: bool | None = None) -> Reading:
    status = mapping(reply)
    _check_password(status)
    expect("bzminer_version" in status and isinstance(status.get("devices"), list), "BzMiner")
    devices = [mapping(device) for device in listing(status["devices"], at_most=GPUS)]
    pools = [mapping(pool) for pool in listing(status.get("pools"), at_most=ALGORITHMS)]
    mines = any(_MINES in listing(device.get("status"), at_most=ALGORITHMS) for device in devices)
    gpus = tuple(_gpu(device, at) for at, device in enumerate(devices))
    rate = total(gpu.hashrate_hs for gpu in gpus)
    paused = False if mines else stopped
    return Reading(
        version=label(status.get("bzminer_version")),
        paused=paused,
        hashrate_hs=0 if paused else rate,
        uptime_s=count(status.get("uptime_s")),
        accepted=count(mapping(first(pools)).get("valid_solutions")),
        rejected=count(mapping(first(pools)).get("rejected_solutions")),
        algorithm=label(mapping(first(pools)).get("algorithm")),
        gpus=tuple(replace(gpu, hashrate_hs=0) for gpu in gpus) if paused else gpus,
    )


def _gpu(device: dict[str, Any], at: int) -> MinerGpu:
    states = [number(state) for state in listing(device.get("status"), at_most=ALGORITHMS)]
    return MinerGpu(
        bus=bus_number(device.get("pci_bus_id")),
        hashrate_hs=hashing(count(rate) for rate in listing(device.get("hashrate"), at_most=ALGORITHMS)),
        index=at,
        name=label(device.get("name")),
        temperature_milli_c=temperature(device.get("core_temp")),
        memory_temperature_milli_c=temperature(device.get("mem_temp")),
        power_mw=power(device.get("power")),
        fan_ppm=fan(device.get("fan")),
        paused=False if _MINES in states else None,
    )
