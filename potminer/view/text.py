"""Words and numbers for a screen: the one way that text gets there.

Text from peers is hostile: it may hold escape sequences, right-to-left overrides, stacked
accents or markup. ``clean`` takes that away and bounds the length. Numbers always carry a
unit; what is unknown is a dash, never 0; money is rounded down, so nobody is shown a grain
that is not theirs.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from potminer.base.bounded import GRAINS_PER_POT, MILLION

UNKNOWN = "–"
UNPRICED = "unpriced"
LINE = 200
_ACCENTS = 2
"""Combining marks kept per letter: enough for every living script, too few to overprint other lines."""

_ASCII = {
    "–": "-", "—": "-", "…": "...", "·": "|", "●": "*", "○": "o", "▲": "!", "▼": "v", "▶": ">", "✓": "+",
    "✗": "x", "!": "!", "°": "", "×": "x", "→": ">", "≥": ">=", "≤": "<=", "η": "n", "₂": "2", "ø": "avg ",
    "◐": "~", "◆": "@", "↑": "^", "↓": "v", "◌": ".", "■": "#", "⏸": "=", "½": "1/2", "’": "'", "“": '"', "”": '"',
}  # fmt: skip


def clean(text: str, limit: int = LINE) -> str:
    """*text* as one harmless line of at most *limit* characters."""
    kept: list[str] = []
    accents = 0
    for char in unicodedata.normalize("NFC", text[: 4 * limit]):
        category = unicodedata.category(char)
        if category in ("Mn", "Me", "Mc"):
            accents += 1
            if accents <= _ACCENTS and kept:
                kept.append(char)
            continue
        if category.startswith("Z") or char in "\t\n\r\v\f":
            accents = 0
            if kept and kept[-1] != " ":
                kept.append(" ")
        elif not category.startswith("C"):  # one that is taken out leaves its letter's accents counted
            accents = 0
            kept.append(char)
    # Again: what was taken out may have stood between a letter and its accent.
    return shorten(unicodedata.normalize("NFC", "".join(kept)).strip(), limit)


def shorten(text: str, limit: int) -> str:
    """*text*, cut with an ellipsis where it is longer than *limit* characters."""
    return text if len(text) <= limit else text[: max(0, limit - 1)] + "…"


def escaped(text: str, limit: int = LINE) -> str:
    """Cleaned *text* that a markup reader shows letter by letter."""
    # A backslash before a bracket cannot be written unambiguously in every markup dialect.
    return clean(text, limit).replace("\\", "/").replace("[", "\\[")


def to_ascii(text: str) -> str:
    """*text* for a terminal that shows only ASCII; one strange letter becomes one question mark."""
    return "".join(char if char < "\x80" else _ASCII.get(char, _base_letter(char)) for char in text)


def _base_letter(char: str) -> str:
    plain = unicodedata.normalize("NFKD", char)[:1]
    return plain if plain and plain < "\x80" else "?"


# ---- numbers -----------------------------------------------------------------------------


def count(value: int | None) -> str:
    """1204311 -> ``1,204,311``."""
    return UNKNOWN if value is None else f"{value:,}"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def scaled(milli: int, unit: str) -> str:
    """*milli* thousandths of *unit* with three figures and a prefix: ``31.5 MH/s``."""
    value, steps = milli, 0
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    while value >= 999_500 and steps < len(prefixes) - 1:
        value, steps = value // 1000, steps + 1
    if value >= 100_000:
        shown = f"{(value + 500) // 1000}"
    elif value >= 10_000:
        shown = f"{(value + 50) // 1000}.{(value + 50) % 1000 // 100}"
    else:
        shown = f"{(value + 5) // 1000}.{(value + 5) % 1000 // 10:02d}"
    return f"{shown} {prefixes[steps]}{unit}"


def scaled_or_unknown(milli: int | None, unit: str) -> str:
    return UNKNOWN if milli is None else scaled(milli, unit)


def samples_rate(milli: int | None) -> str:
    """``1,412 smp/s``"""
    if milli is None:
        return UNKNOWN
    if milli >= 99_999_500 or milli < 100_000:
        return scaled(milli, "smp/s")
    return f"{(milli + 500) // 1000:,} smp/s"


def hash_rate(hashes_per_s: int | None) -> str:
    return UNKNOWN if hashes_per_s is None else scaled(hashes_per_s * 1000, "H/s")


def watts(milliwatts: int | None) -> str:
    return UNKNOWN if milliwatts is None else f"{(milliwatts + 500) // 1000} W"


def degrees(milli_c: int | None) -> str:
    return UNKNOWN if milli_c is None else f"{(milli_c + 500) // 1000} °C"


def memory(used: int | None, total: int | None) -> str:
    """``5.1/8.0 GiB``"""
    if used is None or total is None:
        return UNKNOWN
    return f"{_gib(used)}/{_gib(total)} GiB"


def _gib(size: int) -> str:
    tenths = (size * 10 + 2**29) // 2**30
    return f"{tenths // 10}.{tenths % 10}"


def percent(ppm: int | None) -> str:
    """``97.31 %``, rounded down: 99.999 % is not 100 %."""
    return UNKNOWN if ppm is None else f"{ppm // 10_000}.{ppm % 10_000 // 100:02d} %"


def loss(micro: int | None) -> str:
    """``0.4312``"""
    return UNKNOWN if micro is None else f"{micro // MILLION}.{micro % MILLION // 100:04d}"


def parts_per_million(ppm: int | None) -> str:
    return UNKNOWN if ppm is None else f"{ppm:,} ppm"


def share(ppm: int | None) -> str:
    """``71 %``"""
    return UNKNOWN if ppm is None else f"{ppm // 10_000} %"


def data(size: int | None) -> str:
    """Bytes with three figures and a decimal prefix: ``1.21 MB``; small ones as they are."""
    if size is None:
        return UNKNOWN
    return f"{size} B" if size < 1000 else scaled(size * 1000, "B")


def energy(milliwatt_hours: int | None) -> str:
    """``1.23 kWh``"""
    return scaled_or_unknown(milliwatt_hours, "Wh")


# ---- money -------------------------------------------------------------------------------


def pot(grains: int | None) -> str:
    """``12.34 POT``; below a hundredth as many decimals as it takes to show something."""
    if grains is None:
        return UNKNOWN
    whole, rest = divmod(grains, GRAINS_PER_POT)
    decimals = f"{rest:09d}"
    places = 2
    if whole == 0 and 0 < rest < GRAINS_PER_POT // 100:
        places = min(9, len(decimals) - len(decimals.lstrip("0")) + 2)
    return f"{whole:,}.{decimals[:places]} POT"


def worth(grains: int | None, *, currency: str | None, price_micro: int | None) -> str:
    """Money in *currency*; ``unpriced`` where no market has named a price."""
    if currency is None or price_micro is None:
        return UNPRICED
    if grains is None:
        return UNKNOWN
    cents = grains * price_micro // (GRAINS_PER_POT * 10_000)
    return f"{cents // 100:,}.{cents % 100:02d} {clean(currency, 8)}"


def price(micro: int | None, currency: str | None) -> str:
    """Millionths of *currency* with two decimals, a loss with its sign; ``–`` where either is unknown."""
    if micro is None or currency is None:
        return UNKNOWN
    cents = abs(micro) // 10_000
    return f"{'-' if micro < 0 and cents else ''}{cents // 100:,}.{cents % 100:02d} {clean(currency, 8)}"


# ---- time --------------------------------------------------------------------------------


def span(milliseconds: int | None) -> str:
    """A length of time in its largest unit, rounded down: ``41 s``, ``3 min``, ``2 h``, ``5 d``."""
    if milliseconds is None:
        return UNKNOWN
    seconds = max(0, milliseconds) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def age(then_ms: int | None, now_ms: int) -> str:
    """``12 s old``"""
    return UNKNOWN if then_ms is None else f"{span(now_ms - then_ms)} old"


def until(then_ms: int | None, now_ms: int) -> str:
    """``in 41 s``, ``now`` where it is due."""
    if then_ms is None:
        return UNKNOWN
    return f"in {span(then_ms - now_ms)}" if then_ms - now_ms >= 1000 else "now"


def seconds(milliseconds: int | None) -> str:
    """``2.4 s``; from a minute on as ``span``."""
    if milliseconds is None:
        return UNKNOWN
    return span(milliseconds) if milliseconds >= 60_000 else f"{milliseconds // 1000}.{milliseconds % 1000 // 100} s"


def date(at_ms: int) -> str:
    """``2026-05-28``, UTC."""
    return _moment(at_ms).strftime("%Y-%m-%d")


def clock(at_ms: int) -> str:
    """``14:03:21``, UTC."""
    return _moment(at_ms).strftime("%H:%M:%S")


def _moment(at_ms: int) -> datetime:
    # A peer may send any number; past the year 9999 there is no date.
    return datetime.fromtimestamp(min(at_ms, 253_402_300_799_000) // 1000, UTC)


def milliseconds(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,} ms"


def short_id(digest: str) -> str:
    """First 8 of 64 hex digits."""
    return clean(digest, 200)[:8] or UNKNOWN


def short_address(address: str) -> str:
    """``pot1qqqq…wxyz``: the ends, which are what people compare."""
    text = clean(address, 120)
    return text if len(text) <= 16 else f"{text[:9]}…{text[-4:]}"
