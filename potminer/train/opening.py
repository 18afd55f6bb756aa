"""What a unit begins with, beside the weights: zeros, or what the last round left in the model.

AdamW's carried second moment lies in the model as it is. A momentum is not there, and need not be: at rest a step
moves the weights by rate * m, so what all units of the last round moved together shows what their m was. With v, the
outer momentum beside the weights, its share mu and R, the sum of the rates of the last round's steps (float64, exactly
summed and rounded once), per element in float64:

    m = v * ((1 - mu) / R), rounded to float32 once.

Without an outer momentum v is the mean update itself. In the first round, and where R is 0, m is 0.
"""

from __future__ import annotations

import math

import numpy as np

from potminer.train.aggregate import rounded
from potminer.train.schedule import rate_at
from potminer.train.snap import State, nothing_yet
from potminer.train.weights import Floats
from potminer.wire.task import TaskSpec, Unit, resumes

_NANO = 1e-9


def opening(spec: TaskSpec, unit: Unit, *, moment: Floats | None, momentum: Floats | None) -> State:
    """The state before the first segment: *moment* and *momentum* are what lies beside the weights of the model.

    Refused as diverged where a number is not finite.
    """
    update, *others = nothing_yet(spec)
    if moment is not None:
        others[0] = moment
    elif resumes(spec) and momentum is not None:
        others[0] = _taken_up(spec, unit, momentum)
    return (update, *others)


def _taken_up(spec: TaskSpec, unit: Unit, momentum: Floats) -> Floats:
    steps = spec.batches_per_unit
    rates = math.fsum(rate_at(spec.inner, step) for step in range((unit.round - 1) * steps, unit.round * steps))
    if unit.round == 0 or rates == 0:
        return np.zeros_like(momentum)
    return rounded(momentum.astype(np.float64) * ((1 - spec.outer_momentum_nano * _NANO) / rates))
