"""What an operator may say about the rig itself: devices, miners, idleness, workers, power and prices."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from urllib.parse import urlsplit

from potminer.node.form import Reader, choice, integer, many, parsed, setting, text
from potminer.node.hours import parse_hours, parse_tariff
from potminer.wire.facts import CPU, bus_key

MINER_KINDS = (
    "bzminer", "cgminer", "ethman", "excavator", "gminer", "lolminer", "nbminer", "rigel", "srbminer", "trex", "xmrig"
)  # fmt: skip


# ---- readers -----------------------------------------------------------------------------


def _parse_bus(said: str) -> str:
    bus = CPU if said == CPU else bus_key(said)
    if bus is None:
        raise ValueError("must be a PCI bus such as 0000:01:00.0, or cpu")
    return bus


def _parse_miner_url(said: str) -> str:
    """Loopback only: a miner's API on the network is somebody else's to switch off."""
    try:
        parts = urlsplit(said)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise ValueError(f"is not an address of a miner: {error}") from error
    if parts.scheme not in ("http", "https", "tcp") or port is None or not port:
        raise ValueError("must look like http://127.0.0.1:4067 or tcp://127.0.0.1:3333")
    if parts.username or parts.password:
        raise ValueError("must not hold a password: use token_file")
    if not _is_loopback(host):
        raise ValueError("must be on this computer: 127.0.0.1, [::1] or localhost")
    return said


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _hours(said: str) -> str:
    parse_hours(said)
    return said


def _tariff(said: str) -> str:
    parse_tariff(said)
    return said


def check_source(said: str) -> str:
    """A file, an https address, or one on this computer: prices from a stranger's http are anybody's."""
    parts = urlsplit(said)
    if "://" not in said:
        return said
    if parts.username or parts.password:
        raise ValueError("must not hold a password")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        return said
    raise ValueError("must be a path, https://..., or http:// on this computer")


def _take_price(value: object) -> object:
    """A price as people write it, kept as their digits; empty where nobody knows it."""
    if value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError
    try:
        exact = Decimal(value)
    except InvalidOperation as error:
        raise ValueError from error
    if not exact.is_finite() or not 0 <= exact <= 1_000_000 or exact != round(exact, 6):
        raise ValueError
    return f"{exact:f}"


def price_micro(said: str) -> int | None:
    """Millionths of a currency; None where no price is said."""
    return int(Decimal(said) * 1_000_000) if said else None


_PRICE = Reader("a price such as 0.32 with at most six decimal places, or empty", _take_price)
_BUS = parsed(text(32, what="a PCI bus such as 0000:01:00.0, or cpu"), _parse_bus)
_URL = parsed(text(300, what="the URL of a miner's API"), _parse_miner_url)
_HOURS = parsed(text(80, what="hours such as mon-fri 22:00-07:00"), _hours)
_TARIFF = parsed(text(80, what="hours and a price such as mon-fri 22:00-07:00 0.18"), _tariff)
SOURCE = parsed(text(2_000, what="a path, or an https address"), check_source)
_PATH = text(4_000, what="a path")
_DEVICE = text(32, pattern=r"auto|cpu|cuda(:\d{1,2})?|mps", what="auto, cpu, cuda, cuda:N or mps")


# ---- forms -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleSettings:
    policy: str = setting(
        choice("idle_only", "profit", "always", "off"),
        "when to train: on idle devices, also where it pays better than the miner, always, or never",
        default="idle_only",
    )
    hours: tuple[str, ...] = setting(
        many(_HOURS, most=32), "when training is allowed, as mon-fri 22:00-07:00 or sat+sun 00:00-24:00; empty: always",
        default=(),
    )
    min_idle_s: int = setting(
        integer(0, 86_400), "seconds without keyboard or mouse before a display's GPU is idle", default=180
    )
    quiet_s: int = setting(integer(1, 3_600), "seconds a device must stay quiet before it is taken", default=60)
    gpu_util_max_percent: int = setting(
        integer(0, 100), "GPU load by others, in percent, that still counts as quiet; 100: any", default=5
    )
    cpu_util_max_percent: int = setting(
        integer(0, 100), "CPU load by others, in percent, that still counts as quiet; 100: any", default=25
    )
    remote: str = setting(
        choice("counts", "ignored"),
        "shells and desktops used over the network: somebody is here, or not",
        default="counts",
    )
    full_screen: str = setting(
        choice("counts", "ignored"), "a program that fills the screen: somebody is here, or not", default="counts"
    )
    exclusive: tuple[str, ...] = setting(
        many(text(64, what="the name of a program"), most=32),
        "programs that want the machine to themselves",
        default=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MinerSettings:
    kind: str = setting(
        choice(*MINER_KINDS, "process"), "which miner program this is; process: one that potminer starts and ends"
    )
    url: str = setting(_URL, "its API on this computer, as http://127.0.0.1:4067", default="")
    command: tuple[str, ...] = setting(
        many(text(4_000), most=256), "of kind process: the program and its arguments, without a shell", default=()
    )
    folder: str = setting(_PATH, "of kind process: where it runs; empty: potminer's own folder", default="")
    api: str = setting(
        choice(*MINER_KINDS, "none"), "of kind process: which miner's API answers at url, for its rate", default="none"
    )
    token_file: str = setting(_PATH, "file that holds the API's token or password", default="")
    devices: tuple[str, ...] = setting(
        many(_BUS, most=64), "buses of the devices it uses (potminer gpus shows them), or cpu; empty: all", default=()
    )
    revenue_per_day: str = setting(
        _PRICE, "what it earns in a day at its usual rate, in power.currency, before power; policy profit needs it",
        default="",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """Where any is listed, only those are used; otherwise every GPU that is found, or the CPU where there is none."""

    bus: str = setting(_BUS, "which device: its bus as potminer gpus shows it, or cpu")
    role: str = setting(choice("train", "off"), "whether potminer may use it", default="train")
    watts: int = setting(integer(0, 10_000), "power it draws at work, where no sensor tells; 0: unknown", default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    device: str = setting(
        _DEVICE, "what trains where no [[devices]] are listed: auto is every GPU, or the CPU", default="auto"
    )
    count: int = setting(integer(1, 64), "workers on the CPU, where the CPU trains", default=1)
    threads: int = setting(integer(0, 256), "CPU threads of a worker; 0: all cores but one, shared", default=0)
    max_ram_mb: int = setting(integer(256, 1_048_576), "host memory a worker may use, in MiB", default=2_048)
    nice: int = setting(integer(0, 19), "how far a worker steps back for other programs", default=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerSettings:
    kwh_price: str = setting(_PRICE, "price of a kWh; empty where unknown", default="")
    currency: str = setting(
        text(8, pattern=r"[A-Za-z]*", what="a currency such as EUR"), "money that prices here are in", default=""
    )
    tariff: tuple[str, ...] = setting(
        many(_TARIFF, most=64), "prices of a kWh by hours, as mon-fri 22:00-07:00 0.18; the first that fits", default=()
    )
    source: str = setting(
        SOURCE, "file or address (https, or on this computer) that tells price, carbon or surplus now", default=""
    )
    max_price: str = setting(_PRICE, "train only while a kWh costs no more; empty: whatever it costs", default="")
    max_carbon: str = setting(
        text(5, pattern=r"\d*", what="grams of CO2 per kWh, or empty"),
        "train only while a kWh stands for no more grams of CO2; empty: whatever it does", default="",
    )
    min_surplus_watts: str = setting(
        text(7, pattern=r"\d*", what="watts, or empty"),
        "begin only with so many watts to spare, end when none are left; empty: whatever there is", default="",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceSettings:
    pot: str = setting(_PRICE, "what one POT is worth to you; empty shows earnings as unpriced", default="")
