"""What rig platforms read of a node: their field names, letter for letter, and their idea of a number.

HiveOS takes ``khs`` and ``stats`` from its custom miner's ``h-stats.sh``, mmpOS fetches ``/mmpos``, RaveOS runs
``stats.py``.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from potminer.base.bounded import U63
from potminer.wire.control import Line, Photo

_Numbers = Annotated[tuple[U63, ...], Meta(max_length=64)]
_Degrees = Annotated[tuple[int, ...], Meta(max_length=64)]
_Buses = Annotated[tuple[U63 | None, ...], Meta(max_length=64)]


class HiveStats(Photo, frozen=True, kw_only=True):
    """*ar* is accepted and rejected; *bus_numbers* are decimal, null for a CPU; *uptime* in seconds."""

    hs: _Numbers
    hs_units: Line = "hs"
    temp: _Degrees
    fan: _Numbers
    uptime: U63
    ver: Line
    algo: Line
    ar: tuple[U63, U63]
    bus_numbers: _Buses


class HiveReport(Photo, frozen=True, kw_only=True):
    """*khs* 0 and no *stats* where nothing works."""

    khs: float
    stats: HiveStats | None


class MmposShares(Photo, frozen=True, kw_only=True):
    accepted: _Numbers
    rejected: _Numbers
    invalid: _Numbers


class MmposReport(Photo, frozen=True, kw_only=True):
    """*air*: accepted, invalid, rejected, as text."""

    busid: _Numbers
    hash: _Numbers
    units: Line = "hs"
    air: tuple[Line, Line, Line]
    miner_name: Line
    miner_version: Line
    shares: MmposShares


class RaveosShares(Photo, frozen=True, kw_only=True):
    accepted: U63 = 0
    invalid: U63 = 0
    rejected: U63 = 0


class RaveosUnit(Photo, frozen=True, kw_only=True):
    id: U63
    pci_id: Line
    hash_rate1: U63
    hash_rate2: U63 = 0
    temp: int
    shares: RaveosShares


class RaveosReport(Photo, frozen=True, kw_only=True):
    mpu: Annotated[tuple[RaveosUnit, ...], Meta(max_length=64)]
    fans: _Numbers
    shares: RaveosShares
    errors: Annotated[tuple[Line, ...], Meta(max_length=64)]
    have_driver_error: bool
