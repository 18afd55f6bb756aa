"""How a trainer behaves: three places where it could be other than honest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from potminer.train.data import Wanted
from potminer.train.weights import Floats
from potminer.wire.task import TaskSpec


def _whole(batch: int) -> int:
    return 1


def _true(labels: Wanted) -> Wanted:
    return labels


def _kept(state: Floats, before: Floats) -> Floats:
    return state


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a trainer behaves. The defaults are honest; devnets try the others (``cheat``).

    *weight* of a micro-batch (0 skips it), *labels* it learns, *state* it reports for a segment. The smallest
    cheat that calibration measures is one, too.
    """

    weight: Callable[[int], int] = _whole
    labels: Callable[[Wanted], Wanted] = _true
    state: Callable[[Floats, Floats], Floats] = _kept
    drops: int | None = None
    """The micro-batch whose last *fewer* samples are left out; nothing is learnt of one that has no more."""
    fewer: int = 1


HONEST = Conduct()
LEAST_SHARE = 100
"""A cheat that is worth looking for saves a hundredth of the work."""


def smallest_cheat(spec: TaskSpec, segment: int) -> Conduct:
    """What calibration measures: a hundredth of the samples of *segment* left out, at least one, of its last
    micro-batch, for nothing after that lets the difference grow."""
    share = spec.batches_per_segment * spec.micro_batch // LEAST_SHARE
    most = max(1, spec.micro_batch - 1)
    return Conduct(drops=segment * spec.batches_per_segment - 1, fewer=max(1, min(share, most)))
