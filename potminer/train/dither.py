"""The dither: which chance rounds which number, for whoever asks and for ever the same.

Element i of vector k (0 is the update) of a unit's snapshot is rounded by h, the i-th 32-bit half
word of a Philox 4x64-10 stream: key = the first 16 bytes, little-endian, of
digest(DITHER, unit digest, segment as eight bytes), and k as eight bytes where it is not 0;
counter from zero as numpy starts it, the low half of each 64-bit word first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from potminer.base.digest import Domain, digest, number
from potminer.wire.task import BLOCK, Unit, unit_digest

CHUNK = BLOCK * 256
"""Elements worked on at a time: their temporaries, a quarter or half a MiB each, stay in a processor's cache."""

Halves = npt.NDArray[np.uint32]
Doubles = npt.NDArray[np.float64]


def half_words(unit: Unit, segment: int, count: int, *, vector: int = 0) -> Iterator[tuple[slice, Halves]]:
    """h of all *count* elements, chunk by chunk with the slice each belongs to; chunks begin at a block. Whoever is
    given a chunk may write on it."""
    which = (number(vector),) if vector else ()
    key = digest(Domain.DITHER, unit_digest(unit), number(segment), *which)
    stream = np.random.Philox(key=int.from_bytes(key[:16], "little"))
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        length = part.stop - part.start
        yield part, stream.random_raw(-(-length // 2)).astype("<u8", copy=False).view("<u4")[:length]


def dithers(unit: Unit, segment: int, count: int, *, vector: int = 0) -> Iterator[tuple[slice, Doubles]]:
    """r = (h >> 8) * 2**-24, in [0, 1)."""
    for part, words in half_words(unit, segment, count, vector=vector):
        yield part, (words >> 8).astype(np.float64) * 2.0**-24
