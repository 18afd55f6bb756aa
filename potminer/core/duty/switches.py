"""How often a device may change its use."""

from __future__ import annotations

from collections import deque

from potminer.core.duty.parameters import HOUR_MS


class SwitchBudget:
    """At most *cap* switches in any hour, both ways counted.

    A start is allowed only with room for itself and its return, so the way back to the owner
    never waits. Then no window holds more than the cap: at the last start in it at most
    cap - 1 were counted, and one return can follow.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._times: deque[int] = deque(maxlen=cap)

    @property
    def last_ms(self) -> int:
        """When the last switch was; long ago where there was none."""
        return self._times[-1] if self._times else -HOUR_MS

    def room(self, now_ms: int) -> bool:
        while self._times and self._times[0] <= now_ms - HOUR_MS:
            self._times.popleft()
        return len(self._times) + 2 <= self._cap

    def count(self, now_ms: int) -> None:
        self._times.append(now_ms)
