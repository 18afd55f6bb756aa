"""A budget per time window: what one peer may cost us."""

from __future__ import annotations


class Quota:
    """*items* and *size* (bytes) per window of *window_ms*."""

    def __init__(self, *, window_ms: int, items: int, size: int) -> None:
        self._window_ms = window_ms
        self._items, self._size = items, size
        self._until = 0
        self._items_left = self._size_left = 0
        self._told = False

    def take(self, now: int, *, size: int) -> bool:
        """Whether one more item of *size* bytes is within the budget; it is spent if so."""
        if not self._until - self._window_ms <= now < self._until:  # over, or the clock was set back
            self._until = now + self._window_ms
            self._items_left, self._size_left = self._items, self._size
            self._told = False
        if self._items_left < 1 or self._size_left < size:
            return False
        self._items_left -= 1
        self._size_left -= size
        return True

    def first_excess(self) -> bool:
        """True once per window: an excess is one offence, not one per item."""
        told, self._told = self._told, True
        return not told
