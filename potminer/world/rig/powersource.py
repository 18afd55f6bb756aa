"""Where the owner's house or grid says what power is worth: a small file, or an address that answers with one.

JSON: a list of points, or {"points": [...]}, each with ``from`` (seconds since 1970, or a time as
2026-11-22T18:00:00+01:00) and any of ``price`` (of a kWh, in the owner's currency), ``carbon_g_per_kwh`` and
``surplus_w`` (negative: bought). CSV: the same names in the first line. A point holds until the next one, for an hour
at most. What is older, unreadable or absurd is unknown: never the last value for ever, never 0.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, DecimalException
from pathlib import Path

import aiohttp
import msgspec

Note = Callable[[str, str], None]
"""(level, line) for the log."""

BYTES = 262_144
POINTS = 5_000
HOLDS_MS = 3_600_000
REFRESH_S = 60.0
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Point:
    """*kwh* in millionths of the currency."""

    from_ms: int = 0
    kwh: int | None = None
    carbon_g_kwh: int | None = None
    surplus_mw: int | None = None


NOTHING = Point()
DIGITS = 40
_JSON = msgspec.json.Decoder(float_hook=Decimal)


class SourceError(Exception):
    """Why a source could not be read; for the log, without its content."""


class PowerSource:
    """*where* is a path or an address; empty: there is none. ``follow`` keeps it fresh."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._points: tuple[Point, ...] = ()

    def now(self, now_ms: int) -> Point:
        """What holds at *now_ms*; NOTHING where it is too old or not known."""
        begun = [point for point in self._points if point.from_ms <= now_ms]
        if not begun or now_ms - begun[-1].from_ms >= HOLDS_MS:
            return NOTHING
        return begun[-1]

    async def follow(self, note: Note) -> None:
        """Read it again every minute, for ever. A failure is noted once, and what was read before grows old."""
        failed = ""
        while self._where:
            try:
                await self.read()
                failed = ""
            except SourceError as error:
                if str(error) != failed:
                    failed = str(error)
                    note("warning", f"power.source: {error}")
            await asyncio.sleep(REFRESH_S)

    async def read(self) -> None:
        """Once; SourceError where it cannot be."""
        data = await self._fetch() if "://" in self._where else await asyncio.to_thread(self._load)
        self._points = parse_points(data)

    def _load(self) -> bytes:
        try:
            with Path(self._where).expanduser().open("rb") as file:
                return _bounded(file.read(BYTES + 1))
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror or type(error).__name__}") from error

    async def _fetch(self) -> bytes:
        limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit, trust_env=False) as session,
                session.get(self._where, allow_redirects=False, headers={"Accept-Encoding": "identity"}) as reply,
            ):
                if reply.status != 200:
                    raise SourceError(f"answers {reply.status}")
                return _bounded(await _all(reply))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SourceError(f"does not answer: {type(error).__name__}") from error


async def _all(reply: aiohttp.ClientResponse) -> bytes:
    """At most one byte more than is allowed."""
    read = bytearray()
    async for chunk in reply.content.iter_chunked(16_384):
        read += chunk
        if len(read) > BYTES:
            break
    return bytes(read)


def _bounded(data: bytes) -> bytes:
    if len(data) > BYTES:
        raise SourceError(f"is longer than {BYTES:,} bytes")
    return data


# ---- reading -----------------------------------------------------------------------------


def parse_points(data: bytes) -> tuple[Point, ...]:
    """In the order of time; SourceError where it is neither JSON nor CSV of points."""
    rows = _from_json(data) if data.lstrip()[:1] in (b"[", b"{") else _from_csv(data)
    points = [point for row in rows if (point := _point(row)) is not None]
    if not points:
        raise SourceError("holds no point that can be read")
    return tuple(sorted(points, key=lambda point: point.from_ms))


def _from_json(data: bytes) -> Iterable[Mapping[str, object]]:
    try:
        found = _JSON.decode(data)
    except (msgspec.DecodeError, DecimalException, RecursionError, UnicodeError) as error:
        raise SourceError("is no JSON") from error
    rows = found.get("points") if isinstance(found, dict) else found
    if not isinstance(rows, list):
        raise SourceError("holds no list of points")
    return [row for row in rows[:POINTS] if isinstance(row, dict)]


def _from_csv(data: bytes) -> Iterable[Mapping[str, object]]:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), skipinitialspace=True)
        return [row for _, row in zip(range(POINTS), reader, strict=False)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError("is no CSV") from error


def _point(row: Mapping[str, object]) -> Point | None:
    begun = _moment(row.get("from"))
    if begun is None:
        return None
    return Point(
        begun,
        _number(row.get("price"), 1_000_000, least=-10**9, most=10**12),
        _number(row.get("carbon_g_per_kwh"), 1, least=0, most=10_000),
        _number(row.get("surplus_w"), 1_000, least=-10**12, most=10**12),
    )


def _moment(said: object) -> int | None:
    seconds = _number(said, 1_000, least=0, most=10**14)
    if seconds is not None or not isinstance(said, str):
        return seconds
    try:
        moment = datetime.fromisoformat(said.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1_000)


def _number(said: object, scale: int, *, least: int, most: int) -> int | None:
    """*said* times *scale*, rounded; None where it is no number, or one that nothing has."""
    if isinstance(said, bool) or not isinstance(said, int | Decimal | str):
        return None
    if isinstance(said, str) and len(said) > DIGITS:
        return None
    try:
        exact = Decimal(said.strip() if isinstance(said, str) else said) * scale
        return int(exact.to_integral_value()) if exact.is_finite() and least <= exact <= most else None
    except DecimalException:
        return None
