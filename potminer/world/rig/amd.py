"""AMD GPUs through Linux's sysfs. Every single reading may be missing; nothing is ever written.

Fields and units are those of the amdgpu driver: gpu_busy_percent, mem_info_vram_* in bytes, hwmon in
thousandths of a degree, microwatts and 255ths. A card whose files can no longer be read was lost.
All calls may block: use it through ``aside.Aside``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from potminer.base.bounded import MILLION
from potminer.wire.facts import GPUS, GpuSample, bus_key
from potminer.world.rig.fdinfo import own_engine_ns
from potminer.world.rig.sight import Roll, Sight
from potminer.world.rig.tree import entries, read_count, read_pairs, read_text

VENDOR = "0x1002"

_MODELS = {
    "67df": ("Radeon RX 470-590", "gfx803"),
    "6fdf": ("Radeon RX 580 2048SP", "gfx803"),
    "67ef": ("Radeon RX 460/560", "gfx803"),
    "67ff": ("Radeon RX 550/560", "gfx803"),
    "7300": ("Radeon R9 Fury", "gfx803"),
    "687f": ("Radeon RX Vega", "gfx900"),
    "66af": ("Radeon VII", "gfx906"),
    "731f": ("Radeon RX 5600/5700", "gfx1010"),
    "7340": ("Radeon RX 5500", "gfx1012"),
    "73bf": ("Radeon RX 6800/6900", "gfx1030"),
    "73df": ("Radeon RX 6700", "gfx1031"),
    "73ff": ("Radeon RX 6600", "gfx1032"),
    "743f": ("Radeon RX 6400/6500", "gfx1034"),
    "744c": ("Radeon RX 7900", "gfx1100"),
    "747e": ("Radeon RX 7700/7800", "gfx1101"),
    "7480": ("Radeon RX 7600", "gfx1102"),
}
"""PCI device: a name and what kernels are compiled for, for drivers that say neither."""


@dataclass(frozen=True, slots=True)
class _Spent:
    """Engine time of our processes at a moment of the monotonic clock."""

    at_ns: int
    own_ns: int


class AmdProbe:
    """*own_pids*: processes whose load is ours. *ticks* is a monotonic clock in nanoseconds. *root* is ``/``."""

    def __init__(
        self,
        *,
        clock: Callable[[], int],
        ticks: Callable[[], int],
        own_pids: Callable[[], Collection[int]],
        root: Path = Path("/"),
    ) -> None:
        self._clock = clock
        self._ticks = ticks
        self._own_pids = own_pids
        self._root = root
        self._spent: dict[str, _Spent] = {}
        self._roll = Roll()

    def sample(self) -> Sight:
        cards = [
            card for card in entries(self._root / "sys/class/drm", "card[0-9]*")
            if card.name.removeprefix("card").isdecimal() and read_text(card / "device/vendor") == VENDOR
        ]
        own = frozenset(self._own_pids() if cards else ())
        found: dict[str, GpuSample] = {}
        for card in cards:
            sample = self._one(card, own)
            if sample is not None and len(found) < GPUS:
                found[sample.bus] = sample
        reason = self._roll.call(found)
        gpus = tuple(found[bus] for bus in sorted(found))
        return Sight(gpus, f"AMD: {reason}" if reason else "", absent=self._roll.is_empty)

    def _one(self, card: Path, own: frozenset[int]) -> GpuSample | None:
        """None where the card cannot be named, or answers nothing any more."""
        device = card / "device"
        said = read_pairs(device / "uevent")
        bus = bus_key(said.get("PCI_SLOT_NAME", ""))
        if bus is None:
            return None
        hwmon = next(iter(entries(device / "hwmon", "hwmon*")), device / "no-hwmon")
        heat = _heat(hwmon)
        total = read_count(device / "mem_info_vram_total")
        asleep = read_text(device / "power/runtime_status") == "suspended"
        load = 0 if asleep else _share(read_count(device / "gpu_busy_percent"))
        if total is None and load is None and not heat:
            return None
        name, architecture = _MODELS.get(said.get("PCI_ID", "").partition(":")[2].lower(), ("", ""))
        return GpuSample(
            bus=bus,
            name=_name(device, name, said),
            memory_used_bytes=read_count(device / "mem_info_vram_used"),
            memory_total_bytes=total,
            utilisation_ppm=load,
            foreign_utilisation_ppm=self._foreign(bus, load, own),
            temperature_milli_c=heat.get("edge", heat.get("junction")),
            memory_temperature_milli_c=heat.get("mem"),
            power_mw=_milliwatts(hwmon, "power1_average", "power1_input"),
            drives_display=_drives_display(card),
            taken_at_ms=self._clock(),
            architecture=_architecture(self._root, device, bus) or architecture,
            power_limit_mw=_milliwatts(hwmon, "power1_cap"),
            fan_ppm=_fan(hwmon),
            link_width=_lanes(read_count(device / "current_link_width")),
        )

    def _foreign(self, bus: str, load: int | None, own: frozenset[int]) -> int | None:
        """The card's load less our engine time since the last look."""
        spent = own_engine_ns(self._root / "proc", own, bus)
        if spent is None:
            self._spent.pop(bus, None)
            return None
        now = _Spent(self._ticks(), spent)
        before, self._spent[bus] = self._spent.get(bus), now
        if load is None or spent == 0:
            return load
        if before is None or now.at_ns <= before.at_ns:
            return None
        ours = max(0, now.own_ns - before.own_ns) * MILLION // (now.at_ns - before.at_ns)
        return max(0, load - ours)


# ---- one reading each --------------------------------------------------------------------


def _name(device: Path, known: str, said: dict[str, str]) -> str:
    text = read_text(device / "product_name") or known or f"AMD GPU {said.get('PCI_ID', '')}"
    return "".join(c for c in text if c.isprintable()).strip()[:96]


def _heat(hwmon: Path) -> dict[str, int]:
    """Thousandths of a degree by sensor: edge, junction, mem. An old driver has one without a label."""
    found: dict[str, int] = {}
    for path in entries(hwmon, "temp[0-9]*_input"):
        value = read_count(path)
        label = read_text(path.with_name(path.name.replace("_input", "_label"))) or "edge"
        if value and value <= 200_000:
            found.setdefault(label, value)
    return found


def _milliwatts(hwmon: Path, *names: str) -> int | None:
    for name in names:
        microwatts = read_count(hwmon / name)
        if microwatts is not None:
            return microwatts // 1_000
    return None


def _fan(hwmon: Path) -> int | None:
    speed = read_count(hwmon / "pwm1")
    return None if speed is None or speed > 255 else speed * MILLION // 255


def _share(percent: int | None) -> int | None:
    """Some drivers say 655 %: that is no reading."""
    return None if percent is None or percent > 100 else percent * (MILLION // 100)


def _lanes(width: int | None) -> int | None:
    return width if width is not None and 0 < width <= 32 else None


def _drives_display(card: Path) -> bool | None:
    """A monitor, or what pretends to be one, is plugged in. A mining card has no connector at all."""
    states = [read_text(connector / "status") for connector in entries(card.parent, f"{card.name}-*")]
    if "connected" in states:
        return True
    return None if any(state not in ("disconnected",) for state in states) else False


def _architecture(root: Path, device: Path, bus: str) -> str:
    """From the compute driver's list of nodes, else from the card's own list of parts."""
    for node in entries(root / "sys/class/kfd/kfd/topology/nodes"):
        said = read_pairs(node / "properties", " ")
        found = _gfx(said.get("gfx_target_version", ""))
        if found and said.get("vendor_id") == "4098" and _node_bus(said) == bus:
            return found
    part = device / "ip_discovery/die/0/GC/0"
    version = [read_count(part / name) for name in ("major", "minor", "revision")]
    known = [number for number in version if number is not None]
    return f"gfx{known[0]}{known[1]:x}{known[2]:x}" if len(known) == 3 and max(known) < 16 else ""


def _node_bus(said: dict[str, str]) -> str | None:
    """``location_id`` holds bus, device and function; ``domain`` stands beside it."""
    place, domain = said.get("location_id", ""), said.get("domain", "0")
    if not (place.isdecimal() and domain.isdecimal() and len(place) < 10 and len(domain) < 10):
        return None
    number = int(place)
    return bus_key(f"{int(domain):x}:{number >> 8 & 0xFF:x}:{number >> 3 & 0x1F:x}.{number & 7}")


def _gfx(version: str) -> str:
    """80003 is gfx803, 100300 is gfx1030, 90010 is gfx90a."""
    if not version.isdecimal() or not 5 <= len(version) <= 6:
        return ""
    number = int(version)
    return f"gfx{number // 10_000}{number // 100 % 100:x}{number % 100:x}"
