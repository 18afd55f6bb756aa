"""Trainers that cheat, for devnets and tests: what the protocol must catch.

Their snapshots are well formed and carry the right tags; only the work behind them is not
what the task asks. (A copied update is the node's doing, not the trainer's.)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from potminer.base.errors import UsageError
from potminer.train.conduct import HONEST, Conduct
from potminer.train.data import Wanted
from potminer.train.weights import Floats

KINDS = ("garbage", "signflip", "labelflip", "stale", "lazy-K")


@dataclass(slots=True)
class Cheat:
    """One way to cheat. A stale trainer remembers the model before the newest that it saw."""

    conduct: Conduct
    stale: bool = False
    _newest: bytes | None = field(default=None, init=False)
    _previous: bytes | None = field(default=None, init=False)

    def base(self, asked: bytes) -> bytes:
        """The model that is really trained where *asked* was asked for."""
        if asked != self._newest:
            self._previous, self._newest = self._newest, asked
        return self._previous if self.stale and self._previous is not None else asked


def cheat(kind: str | None) -> Cheat:
    """The trainer named on a command line; None is honest. ``lazy-4`` does every fourth micro-batch only."""
    match kind:
        case None:
            return Cheat(HONEST)
        case "garbage":
            return Cheat(Conduct(weight=lambda _: 0, state=_noise))
        case "signflip":
            return Cheat(Conduct(state=_flipped))
        case "labelflip":
            return Cheat(Conduct(labels=_moved))
        case "stale":
            return Cheat(HONEST, stale=True)
    name, _, number = kind.partition("-")
    if name != "lazy" or not number.isdecimal() or not 2 <= int(number) <= 4_096:
        raise UsageError(f"no way to cheat is called {kind!r}", f"choose from {', '.join(KINDS)} with K = 2 .. 4096")
    every = int(number)
    return Cheat(Conduct(weight=lambda batch: every if batch % every == 0 else 0))


def _noise(state: Floats, before: Floats) -> Floats:
    """Numbers of a gradient's usual size, from nothing at all."""
    return np.asarray(before + np.random.default_rng(len(state)).normal(0, 0.01, len(state)), np.float32)


def _flipped(state: Floats, before: Floats) -> Floats:
    return np.asarray(2 * before - state, np.float32)


def _moved(labels: Wanted) -> Wanted:
    """Every label becomes its neighbour, the largest in the batch 0; a number becomes its negative."""
    if labels.dtype == np.float32:
        return np.asarray(-labels, np.float32)
    return (labels + 1) % (int(labels.max()) + 1)
