"""Trainers that cheat, for devnets and tests: what the protocol must catch.

Their snapshots are well formed and carry the right tags; only the work behind them is not
what the task asks. (A copied update is the node's doing, not the trainer's.) ``guess`` trains honestly and audits
without recomputing: it takes the middle of every interval for the state that a segment led to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from potminer.base.errors import UsageError
from potminer.train.conduct import HONEST, Conduct
from potminer.train.data import Wanted
from potminer.train.dither import dithers
from potminer.train.grid import part_of, powers
from potminer.train.snap import Snapshot, State
from potminer.train.weights import Floats
from potminer.wire.task import Unit

KINDS = ("garbage", "signflip", "labelflip", "stale", "guess", "lazy-K")


@dataclass(slots=True)
class Cheat:
    """One way to cheat. A stale trainer remembers the model before the newest that it saw."""

    conduct: Conduct
    stale: bool = False
    guesses: bool = False
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
        case "guess":
            return Cheat(HONEST, guesses=True)
    name, _, number = kind.partition("-")
    if name != "lazy" or not number.isdecimal() or not 2 <= int(number) <= 4_096:
        raise UsageError(f"no way to cheat is called {kind!r}", f"choose from {', '.join(KINDS)} with K = 2 .. 4096")
    every = int(number)
    return Cheat(Conduct(weight=lambda batch: every if batch % every == 0 else 0))


def guess(claimed: Snapshot, *, unit: Unit, segment: int) -> State:
    """The likeliest state behind a snapshot, for somebody who has nothing else: the middles of its intervals."""
    grid = claimed.update
    middle = np.empty(len(grid.levels), np.float32)
    for part, dither in dithers(unit, segment, len(middle)):
        middle[part] = (grid.levels[part] - dither + 0.5) * powers(part_of(grid.exponents, part))
    return (middle, *claimed.values()[1:])


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
