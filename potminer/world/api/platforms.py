"""One photograph as rig platforms want it.

Their formats have no unknown and no word for training, so three rules stand here once:

- a device that trains counts its samples a second as hashes, one that mines its hashes;
- a device whose node is well never counts less than one: their watchdogs reboot a rig that stands at zero.
  Only a device at fault counts zero, so that they still work as watchdogs;
- a temperature or fan that nobody knows is 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from potminer.wire.control import AlertLevel, DeviceState, DeviceView, Snapshot
from potminer.wire.platforms import (
    HiveReport,
    HiveStats,
    MmposReport,
    MmposShares,
    RaveosReport,
    RaveosShares,
    RaveosUnit,
)

ALGORITHM = "pot"
"""What training is called where an algorithm is asked for."""
_ALIVE_HS = 1
_LOST = "device-lost"


def hive(seen: Snapshot, *, uptime_s: int) -> HiveReport:
    rates = tuple(_rate_hs(device) for device in seen.devices) or (_ALIVE_HS,)
    if not sum(rates):
        return HiveReport(khs=0.0, stats=None)
    return HiveReport(
        khs=sum(rates) / 1000,
        stats=HiveStats(
            hs=rates,
            temp=tuple(_degrees(device) for device in seen.devices),
            fan=tuple(_percent(device) for device in seen.devices),
            uptime=uptime_s,
            ver=_version(seen),
            algo=_algorithm(seen),
            ar=_units(seen),
            bus_numbers=tuple(_bus(device) for device in seen.devices),
        ),
    )


def mmpos(seen: Snapshot) -> MmposReport:
    """Shares by device are known only where there is one device."""
    accepted, rejected = _units(seen)
    alone = len(seen.devices) == 1
    return MmposReport(
        busid=tuple(_bus(device) or 0 for device in seen.devices),
        hash=tuple(_rate_hs(device) for device in seen.devices),
        air=(str(accepted), "0", str(rejected)),
        miner_name="potminer",
        miner_version=_version(seen),
        shares=MmposShares(
            accepted=(accepted,) if alone else (), rejected=(rejected,) if alone else (), invalid=(0,) if alone else ()
        ),
    )


def raveos(seen: Snapshot) -> RaveosReport:
    accepted, rejected = _units(seen)
    total = RaveosShares(accepted=accepted, rejected=rejected)
    return RaveosReport(
        mpu=tuple(
            RaveosUnit(
                id=at,
                pci_id=device.bus,
                hash_rate1=_rate_hs(device),
                temp=_degrees(device),
                shares=total if len(seen.devices) == 1 else RaveosShares(),
            )
            for at, device in enumerate(seen.devices)
        ),
        fans=tuple(_percent(device) for device in seen.devices),
        shares=total,
        errors=tuple(alert.text for alert in seen.alerts if alert.level is AlertLevel.FAULT),
        have_driver_error=any(_LOST in device.reasons for device in seen.devices),
    )


def _rate_hs(device: DeviceView) -> int:
    if device.state is DeviceState.FAULT:
        return 0
    if device.state is DeviceState.TRAINING:
        known = None if device.samples_per_s_milli is None else device.samples_per_s_milli // 1000
    else:
        known = device.hashrate_hs
    return max(_ALIVE_HS, known or 0)


def _units(seen: Snapshot) -> tuple[int, int]:
    """(accepted, rejected): this rig's units in its task, or the shares of its miners where it has no task."""
    if seen.training is not None:
        mine = seen.training.my_units
        return mine.accepted, sum(mine.rejected.values())
    return _sum(miner.accepted for miner in seen.miners), _sum(miner.rejected for miner in seen.miners)


def _sum(values: Iterable[int | None]) -> int:
    return sum(value for value in values if value is not None)


def _algorithm(seen: Snapshot) -> str:
    trains = any(device.state is DeviceState.TRAINING for device in seen.devices)
    names = [miner.algorithm for miner in seen.miners if miner.algorithm]
    return names[0] if names and not trains else ALGORITHM


def _version(seen: Snapshot) -> str:
    return re.sub(r"[^0-9A-Za-z.+]", "", seen.agent.rpartition("/")[2])[:40]


def _bus(device: DeviceView) -> int | None:
    """The PCI bus as a number; None for a CPU."""
    found = re.fullmatch(r"(?:[0-9A-Fa-f]{4,8}:)?([0-9A-Fa-f]{2}):[0-9A-Fa-f]{2}\.[0-7]", device.bus)
    return None if found is None else int(found[1], 16)


def _degrees(device: DeviceView) -> int:
    return 0 if device.temperature_milli_c is None else round(device.temperature_milli_c / 1000)


def _percent(device: DeviceView) -> int:
    return 0 if device.fan_ppm is None else round(device.fan_ppm / 10_000)
