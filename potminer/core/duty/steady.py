"""A clock that never runs backwards, made of one that may."""

from __future__ import annotations


class Steady:
    """Turns ``now`` into time that stands still while the outside clock repeats itself.

    After a jump back of an hour, waits do not grow by an hour: they continue where they were.
    """

    def __init__(self) -> None:
        self._offset = 0
        self.now = 0

    def tick(self, outside_ms: int) -> int:
        if self.of(outside_ms) < self.now:
            self._offset = self.now - outside_ms
        self.now = self.of(outside_ms)
        return self.now

    def of(self, outside_ms: int) -> int:
        """Steady time of an outside time of about now."""
        return outside_ms + self._offset
