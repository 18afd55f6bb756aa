"""The wall clock of the faces: ages on a screen, never a decision."""

from __future__ import annotations

import time


def now_ms() -> int:
    return time.time_ns() // 1_000_000
