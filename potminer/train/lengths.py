"""How long an update is, exactly, on all of it and on every slice. No torch here."""

from __future__ import annotations

import numpy as np

from potminer.train.grid import Grid, blocks
from potminer.train.robust import exact
from potminer.wire.length import said_length
from potminer.wire.slice import LENGTH_UNIT, slice_span
from potminer.wire.task import BLOCK, TaskSpec

_CHUNK = 2**20
"""Integers looked at together."""


def said_of(update: Grid) -> int:
    """The length that whoever made *update*, whole or an excerpt, has to have said."""
    squares = np.zeros((1, blocks(len(update.levels))), np.int64)
    for first in range(0, len(update.levels), _CHUNK):
        values = update.levels[first : first + _CHUNK].astype(np.int32)
        each = np.zeros(blocks(len(values)) * BLOCK, np.int32)
        np.multiply(values, values, out=each[: len(values)])
        at = first // BLOCK
        squares[0, at : at + blocks(len(values))] = each.reshape(-1, BLOCK).sum(axis=1)
    return said_length(exact(squares, 2 * update.exponents.astype(np.int64) - LENGTH_UNIT)[0])


def said_of_slices(update: Grid, spec: TaskSpec, of: int) -> tuple[int, ...]:
    """What is said of a whole *update* in a round that is cut into *of* slices."""
    spans = (slice_span(spec, index, of) for index in range(of))
    return tuple(
        said_of(Grid(update.exponents[first // BLOCK : blocks(last)], update.levels[first:last], update.bits))
        for first, last in spans
    )
