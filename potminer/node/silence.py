"""A validator that says nothing, because it cannot know what its key signed (docs/spec/pbft.md §5).

Its operator is told until when, and what it takes where no block comes that would end it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from potminer.view.silence import is_stuck, silence
from potminer.wire.control import Alert, AlertLevel


class Silence:
    """*until*: the time of a block from which on our replica speaks; None where nothing keeps it from speaking.
    *members*: the others of the committee, *linked*: whoever is linked with us. ``look`` is called now and then."""

    def __init__(
        self, until: Callable[[], int | None], members: Callable[[], Collection[bytes]],
        linked: Callable[[], Collection[bytes]], note: Callable[[str, str], None],
    ) -> None:
        self._until, self._members, self._linked, self._note = until, members, linked, note
        self._alert: Alert | None = None

    @property
    def until_ms(self) -> int | None:
        return self._until()

    @property
    def alerts(self) -> tuple[Alert, ...]:
        return () if self._alert is None or self.until_ms is None else (self._alert,)

    def look(self, now: int) -> None:
        """Say what has changed: to the log, and as an alert that stands as long as it holds."""
        until, before = self.until_ms, self._alert
        if until is None:
            if before is not None:
                self._note("info", "this validator speaks again: above this block its key has signed nothing")
            self._alert = None
            return
        members = set(self._members())
        text = silence(until, now, linked=len(members & set(self._linked())), others=len(members))
        level = AlertLevel.FAULT if is_stuck(until, now) else AlertLevel.WARNING
        told = before is not None and before.level is level
        if not told:
            self._note("warning", f"this validator is {text}")
        since = before.since_ms if told and before is not None else now
        self._alert = Alert(level=level, text=f"this validator is {text}", since_ms=since)
