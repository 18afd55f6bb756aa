"""Pushes on their way out: one item each while there are few, together when there are many.

A link bears a hundred pushes a second (wire/registry.py) and a push bears 64 items. Sent one
by one, a busy minute's items would spend the link's rate, the promises of ``Have`` could not be
kept, and honest nodes would ban each other.
"""

from __future__ import annotations

from potminer.core.gossip.parameters import Parameters
from potminer.core.gossip.spread import Held, batches
from potminer.core.machine import Send
from potminer.wire.gossip import Push


class Pushes:
    """Per peer: a budget of items that go alone, and what waits for the next ``flush``."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._alone: dict[bytes, tuple[int, int]] = {}
        """(milliseconds' worth of budget, as of when)."""
        self._waiting: dict[bytes, list[Held]] = {}

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def offer(self, peer: bytes, held: Held, now: int) -> list[Send]:
        """The push to send now; none where the item waits. Beyond the bound it is dropped: ``Have`` repairs."""
        if peer not in self._waiting and self._take(peer, now):
            return [Send(peer, Push((held.item,)))]
        queue = self._waiting.setdefault(peer, [])
        if len(queue) < self._parameters.pushes_waiting:
            queue.append(held)
        return []

    def flush(self) -> list[Send]:
        """Everything that waits, without what its peer has got from elsewhere meanwhile."""
        waiting, self._waiting = self._waiting, {}
        return [
            Send(peer, Push(batch))
            for peer, queue in waiting.items()
            for batch in batches([h.item for h in queue if peer not in h.holders], size=self._parameters.push_bytes)
        ]

    def gone(self, peer: bytes) -> None:
        self._alone.pop(peer, None)
        self._waiting.pop(peer, None)

    def _take(self, peer: bytes, now: int) -> bool:
        each, most = self._parameters.push_alone_ms, self._parameters.push_alone_burst
        budget, then = self._alone.get(peer, (most * each, now))
        budget = min(most * each, budget + max(0, now - then))
        enough = budget >= each
        self._alone[peer] = (budget - each if enough else budget, now)
        return enough
