"""lolMiner over its HTTP API: GET /summary, in the format of before 1.43 or of since. It takes no commands.

Told apart by ``Algorithms``. A worker name of digits alone is printed as a bare number, leading
zeros and all, which is no JSON: it is quoted before a second try. PCIE_Address is decimal.
Sources: lolMiner README; HiveOS lolminer/h-stats.sh; Lolliedieb/lolMiner-releases issues 83, 439, 1311.
"""

from __future__ import annotations

import re
from typing import Any

from potminer.wire.facts import GPUS, MinerGpu
from potminer.world.rig.miners.interface import Failure, MinerError
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
    number,
    power,
    temperature,
    total,
)

KIND = "lolminer"
PATH = "/summary"
_BARE = re.compile(rb'("(?:Worker|User)"\s*:\s*)(0\d{1,63})(?=\s*[,}])')
_ETHASH = ("ethash", "etchash")
_FACTORS = {"h/s": 1, "sol/s": 1, "g/s": 1, "kh/s": 10**3, "mh/s": 10**6, "gh/s": 10**9}


def mend(data: bytes) -> bytes:
    return _BARE.sub(rb'\1"\2"', data)


def parse(reply: Any) -> Reading:
    summary = mapping(reply)
    software = summary.get("Software")
    is_lolminer = isinstance(software, str) and software.startswith("lolMiner")
    expect(is_lolminer and isinstance(summary.get("Session"), dict), "lolMiner")
    return _since_143(summary) if "Algorithms" in summary else _before_143(summary)


def _version(summary: dict[str, Any]) -> str:
    return label(summary.get("Software")).removeprefix("lolMiner").strip()


# ---- since 1.43: one list of GPUs, one of algorithms with a row for every GPU --------------


def _since_143(summary: dict[str, Any]) -> Reading:
    algorithms = [mapping(part) for part in listing(summary.get("Algorithms"), at_most=ALGORITHMS)]
    workers = [mapping(worker) for worker in listing(summary.get("Workers"), at_most=GPUS)]
    leading = mapping(first(algorithms))
    return Reading(
        version=_version(summary),
        hashrate_hs=hashing(_rate(part.get("Total_Performance"), part) for part in algorithms),
        uptime_s=count(mapping(summary.get("Session")).get("Uptime")),
        accepted=count(leading.get("Total_Accepted")),
        rejected=count(leading.get("Total_Rejected")),
        algorithm=label(leading.get("Algorithm")),
        gpus=tuple(_worker(worker, at, algorithms) for at, worker in enumerate(workers)),
    )


def _rate(value: Any, algorithm: dict[str, Any]) -> int | None:
    factor = number(algorithm.get("Performance_Factor"))
    return count(value, factor=factor) if factor is not None and factor > 0 else None


def _worker(worker: dict[str, Any], at: int, algorithms: list[dict[str, Any]]) -> MinerGpu:
    rows = [(listing(part.get("Worker_Performance"), at_most=GPUS), part) for part in algorithms]
    return MinerGpu(
        bus=_bus(worker),
        hashrate_hs=hashing(_rate(row[at], part) if at < len(row) else None for row, part in rows),
        index=index(worker.get("Index")),
        name=label(worker.get("Name")),
        temperature_milli_c=temperature(worker.get("Core_Temp")),
        memory_temperature_milli_c=temperature(worker.get("Mem_Temp")),
        power_mw=power(worker.get("Power")),
        fan_ppm=fan(worker.get("Fan_Speed")),
    )


# ---- before 1.43: the unit goes without saying ---------------------------------------------


def _before_143(summary: dict[str, Any]) -> Reading:
    session, mining = mapping(summary.get("Session")), mapping(summary.get("Mining"))
    gpus = [mapping(gpu) for gpu in listing(summary.get("GPUs"), at_most=GPUS)]
    factor = _factor(summary, session, mining)
    accepted, submitted = count(session.get("Accepted")), count(session.get("Submitted"))
    known = accepted is not None and submitted is not None
    rates = [count(gpu.get("Performance"), factor=factor) for gpu in gpus]
    whole = count(session.get("Performance_Summary"), factor=factor)
    return Reading(
        version=_version(summary),
        hashrate_hs=whole if whole is not None else total(rates),
        uptime_s=count(session.get("Uptime")),
        accepted=accepted,
        rejected=max(0, submitted - accepted) if known else None,  # type: ignore[operator]
        algorithm=label(mining.get("Algorithm")),
        gpus=tuple(
            MinerGpu(
                bus=_bus(gpu), hashrate_hs=rate, index=index(gpu.get("Index")), name=label(gpu.get("Name")),
                temperature_milli_c=temperature(gpu.get("Temp (deg C)")),
                power_mw=power(gpu.get("Consumption (W)")), fan_ppm=fan(gpu.get("Fan Speed (%)")),
            )
            for gpu, rate in zip(gpus, rates, strict=True)
        ),
    )


def _factor(summary: dict[str, Any], session: dict[str, Any], mining: dict[str, Any]) -> int:
    said = label(session.get("Performance_Unit")).lower()
    if said:
        if said not in _FACTORS:
            raise MinerError(Failure.MALFORMED, "it counts its rate in a unit that is not known")
        return _FACTORS[said]
    in_mega = label(mining.get("Algorithm")).lower() in _ETHASH and _number_of(_version(summary)) >= (1, 10)
    return 10**6 if in_mega else 1


def _number_of(version: str) -> tuple[int, ...]:
    return tuple(int(part[:6]) for part in re.findall(r"\d+", version)[:2])


def _bus(gpu: dict[str, Any]) -> str | None:
    """``bus:device`` in decimal."""
    found = re.fullmatch(r"(\d{1,3}):\d{1,2}", label(gpu.get("PCIE_Address")))
    return bus_number(int(found[1])) if found is not None else None
