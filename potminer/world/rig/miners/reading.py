"""Reading: what a miner said of itself, in our units. None for whatever is not what it should be.

Somebody else's JSON is read here and nowhere else: text where a number belongs, truth values,
negatives and absurd sizes are all unknown. A lost GPU says 0, -1 or 511 degrees; nobody mines at those.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from potminer.base.bounded import MILLION
from potminer.wire.facts import Label, MinerGpu, bus_key
from potminer.world.rig.miners.interface import Failure, MinerError

ALGORITHMS = 8
"""Programs mine up to three at once."""
_LABEL_CHARACTERS = 64
_RATE_MAX = 10**9 * MILLION
"""1 PH/s on one rig is beyond belief."""
_CELSIUS_MAX = 150
_WATTS_MAX = 5_000
_INDEX_MAX = 65_535


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a miner. *started_at_s* is Unix time, where it tells that instead of an uptime."""

    version: Label
    hashrate_hs: int | None
    paused: bool | None = None
    uptime_s: int | None = None
    started_at_s: int | None = None
    accepted: int | None = None
    rejected: int | None = None
    algorithm: Label = ""
    gpus: tuple[MinerGpu, ...] = ()


def expect(shape: bool, kind: str) -> None:
    """Refuses a readable answer of some other program."""
    if not shape:
        raise MinerError(Failure.NOT_THIS_MINER, f"what answers there is not {kind}")


# ---- shapes ------------------------------------------------------------------------------


def mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def listing(value: Any, *, at_most: int) -> list[Any]:
    return value[:at_most] if isinstance(value, list) else []


def label(value: Any) -> Label:
    """Printable text of bounded length; empty where it is no text."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value[:_LABEL_CHARACTERS] if c.isprintable())


def flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def first(value: Any) -> Any:
    """The first entry of a list, None where there is none."""
    return value[0] if isinstance(value, list) and value else None


# ---- numbers -----------------------------------------------------------------------------


def number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def count(value: Any, *, factor: float = 1) -> int | None:
    """A non-negative number times *factor*, as an integer."""
    found = number(value)
    if found is None or not 0 <= found * factor <= _RATE_MAX:
        return None
    return int(found * factor)


def digits(text: str, *, factor: float = 1) -> int | None:
    """The same out of text of digits, for protocols whose numbers are text."""
    cleaned = text.strip()
    try:
        return count(float(cleaned), factor=factor) if cleaned.isascii() and len(cleaned) <= 24 else None
    except ValueError:
        return None


def index(value: Any) -> int | None:
    found = count(value)
    return found if found is not None and found <= _INDEX_MAX else None


def temperature(value: Any) -> int | None:
    """Degrees Celsius to thousandths of one."""
    found = number(value)
    return int(found * 1_000) if found is not None and 0 < found < _CELSIUS_MAX else None


def power(value: Any) -> int | None:
    """Watts to milliwatts. A card that cannot measure says 0."""
    found = number(value)
    return int(found * 1_000) if found is not None and 0 < found <= _WATTS_MAX else None


def fan(value: Any) -> int | None:
    """Percent to parts per million; 0 is a fan that rests."""
    found = number(value)
    return int(found * 10_000) if found is not None and 0 <= found <= 100 else None


def bus_number(value: Any) -> str | None:
    """A bus given as a decimal number. 0 is what a miner writes that does not know it."""
    found = count(value)
    return bus_key(f"{found:02x}:00.0") if found is not None and 0 < found < 256 else None


# ---- several of a kind -------------------------------------------------------------------


def total(rates: Iterable[int | None]) -> int | None:
    """The sum; unknown where one is unknown, or where there is none."""
    found = list(rates)
    known = [rate for rate in found if rate is not None]
    return sum(known) if found and len(known) == len(found) else None


def hashing(rates: Iterable[int | None]) -> int | None:
    """The rate of the first algorithm that hashes. Rates of two algorithms are never added; 0 only if all rest."""
    found = list(rates)
    busy = next((rate for rate in found if rate), None)
    if busy is not None:
        return busy
    return 0 if found and None not in found else None


def all_paused(states: Iterable[bool | None]) -> bool | None:
    """True if every GPU rests, False if one works, unknown otherwise."""
    found = list(states)
    if False in found:
        return False
    return True if found and None not in found else None
