"""How long an update is, exactly, on all of it and on every slice. No torch here."""

from __future__ import annotations

import numpy as np

from potminer.train.grid import Grid, blocks
from potminer.train.robust import exact
from potminer.wire.length import said_length
from potminer.wire.slice import LENGTH_UNIT, slice_span
from potminer.wire.task import BLOCK, TaskSpec

_ROWS = 256
"""Blocks looked at together."""


def said_of(update: Grid) -> int:
    """The length that whoever made *update*, whole or an excerpt, has to have said."""
    squares = np.zeros((1, blocks(len(update.levels))), np.int64)
    whole = len(update.levels) // BLOCK
    by_block, rest = update.levels[: whole * BLOCK].reshape(-1, BLOCK), update.levels[whole * BLOCK :]
    for first in range(0, whole, _ROWS):
        # Sums of 256 squares of at most 126 are below 2**24: exact as float32, in whatever order.
        values = by_block[first : first + _ROWS].astype(np.float32)
        squares[0, first : first + len(values)] = np.einsum("ij,ij->i", values, values)
    squares[0, whole:] = np.square(rest.astype(np.int64)).sum()
    return said_length(exact(squares, 2 * update.exponents.astype(np.int64) - LENGTH_UNIT)[0])


def said_of_slices(update: Grid, spec: TaskSpec, of: int) -> tuple[int, ...]:
    """What is said of a whole *update* in a round that is cut into *of* slices."""
    spans = (slice_span(spec, index, of) for index in range(of))
    return tuple(
        said_of(Grid(update.exponents[first // BLOCK : blocks(last)], update.levels[first:last], update.bits))
        for first, last in spans
    )
