"""The day as faces draw it: what the rig did minute by minute, and the energy that training drew.

Energy survives a restart: ``saved`` goes into the journal. Minutes do not; they are a picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from potminer.node.takings import DAY_MS, DAYS_KEPT
from potminer.view.history import History
from potminer.wire.answers import DayPoint
from potminer.wire.control import DeviceState, DeviceView

KEY = b"face/energy"
"""Of the journal."""
GAP_MS = 60_000
"""Looks further apart are not joined: who knows what was drawn between them."""
_MWH = 3_600_000
"""Milliwatts times milliseconds in a milliwatt-hour: 3,600 s of 1,000 ms."""


class Daybook:
    """*saved* is what an earlier run's ``saved()`` gave."""

    def __init__(self, saved: bytes | None) -> None:
        self._history = History()
        self._drawn: dict[int, int] = {} if saved is None else msgspec.msgpack.decode(saved, type=dict[int, int])
        self._last_ms: int | None = None

    def look(self, devices: Sequence[DeviceView], now_ms: int) -> None:
        """What the devices do at *now_ms*; meant to come every few seconds."""
        self._history = self._history.look(devices, now_ms)
        since = None if self._last_ms is None else now_ms - self._last_ms
        self._last_ms = now_ms
        if since is None or not 0 < since <= GAP_MS:
            return
        for device in devices:
            if device.state is DeviceState.TRAINING and device.power_mw is not None:
                day = now_ms - now_ms % DAY_MS
                self._drawn[day] = self._drawn.get(day, 0) + device.power_mw * since
        while len(self._drawn) > DAYS_KEPT:
            del self._drawn[min(self._drawn)]

    @property
    def points(self) -> tuple[DayPoint, ...]:
        return self._history.points

    def energy_mwh(self, day_ms: int) -> int | None:
        """What training drew on the day that begins at *day_ms*; None where no device told."""
        drawn = self._drawn.get(day_ms)
        return None if drawn is None else drawn // _MWH

    @property
    def days(self) -> list[int]:
        return sorted(self._drawn)

    def saved(self) -> bytes:
        return msgspec.msgpack.encode(self._drawn)
