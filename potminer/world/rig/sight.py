"""What a look at the GPUs found: the cards, and in words what is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from potminer.wire.facts import GPUS, GpuSample

REASON = 96
"""Letters of a reason: what ``RigSample.gpu_reason`` holds."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The GPUs seen; *reason* says why there are none or some are missing, empty where all is well.

    *absent*: this maker's driver is not here and never was, which is no news on a rig with other cards.
    """

    gpus: tuple[GpuSample, ...]
    reason: str
    absent: bool = False


class Roll:
    """Who was here before. A card that falls off the bus does not say goodbye: it is missing from the next list."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """Nobody was ever here."""
        return not self._known

    def call(self, present: Collection[str]) -> str:
        """Notes *present* (bus keys); the sentence about those that were here once and are not now."""
        lost = sorted(self._known.difference(present))
        self._known.update(list(present)[:GPUS])
        if not lost:
            return ""
        return f"{', '.join(lost[:3])}{' and more' if len(lost) > 3 else ''} fell off the bus"


def join(sights: Iterable[Sight]) -> Sight:
    """All cards by their bus; of two sources that see one card the first wins."""
    seen = list(sights)
    found: dict[str, GpuSample] = {}
    reasons: list[str] = []
    for sight in seen:
        for gpu in sight.gpus:
            found.setdefault(gpu.bus, gpu)
        silent = sight.absent and any(other.gpus for other in seen)
        if sight.reason and not silent and sight.reason not in reasons:
            reasons.append(sight.reason)
    together = tuple(found[bus] for bus in sorted(found))[:GPUS]
    return Sight(together, "; ".join(reasons)[:REASON], absent=all(sight.absent for sight in seen))
