"""How a trainer behaves: three places where it could be other than honest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from potminer.train.data import Wanted
from potminer.train.weights import Floats


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
    """The micro-batch whose last sample is left out; of one sample nothing is left."""


HONEST = Conduct()
