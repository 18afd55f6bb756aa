"""The timers of a height. A name says what the timer is for, so one that fires too late is nobody's."""

from __future__ import annotations

from potminer.core.machine import CancelTimer, SetTimer


class Alarms:
    """At most one running timer per slot ("view", "batch", "empty", "gather", "votes")."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[str, str] = {}

    def running(self, slot: str) -> bool:
        return slot in self._running

    def fired(self, name: str) -> str | None:
        """The slot whose timer *name* was, or None where it was cancelled or replaced on its way."""
        slot = next((slot for slot, running in self._running.items() if running == name), None)
        if slot is not None:
            del self._running[slot]
        return slot

    def tend(self, slot: str, name: str | None, delay_ms: int) -> list[SetTimer | CancelTimer]:
        """Makes *name* the running timer of *slot* (None: no timer). One that already runs is left alone."""
        running = self._running.pop(slot, None)
        if name is not None:
            self._running[slot] = name
        if name == running:
            return []
        changes: list[SetTimer | CancelTimer] = []
        if running is not None:
            changes.append(CancelTimer(running))
        if name is not None:
            changes.append(SetTimer(name, delay_ms))
        return changes
