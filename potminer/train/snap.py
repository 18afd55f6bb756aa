"""Exact integers: how the running state of a unit becomes a snapshot.

The flat state u (float32) is cut into blocks of 256. A block has one exponent e: the least
integer in -126 .. 40 with max|u| <= 126 * 2**e (so a block of zeros has -126). Each element becomes

    q = floor(u / 2**e + r),    r = (h >> 8) * 2**-24  in [0, 1)

where h is the element's 32-bit half word of a Philox 4x64-10 stream: key = the first 16
bytes, little-endian, of digest(DITHER, unit digest, segment as eight bytes), counter from
zero as numpy starts it, the low half of each 64-bit word first. q is always in -126 .. 126
and its expectation is u / 2**e. An integer q therefore stands for the interval
[(q - r) * 2**e, (q - r + 1) * 2**e) that u lay in.

A snapshot's bytes: the 32-byte tag that names unit and segment, the exponents (int16
little-endian), the integers (int8). A denormal u counts as zero; q * 2**e is always a
normal float32 or zero, so every machine continues from the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from potminer.base.digest import Domain, digest, number
from potminer.base.errors import Malformed
from potminer.train.refusal import Reason, Refused
from potminer.train.weights import Floats, flush
from potminer.wire.task import Unit, snapshot_tag, unit_digest

BLOCK = 256
LEAST, MOST = -126, 40
"""Bounds of an exponent: below, 2**e would be denormal; above, training has diverged."""
PEAK = 126
_TAG = 32
_CHUNK = BLOCK * 4_096
"""Elements worked on at a time: float64 temporaries stay below 10 MiB each."""

Exponents = npt.NDArray[np.int16]
Levels = npt.NDArray[np.int8]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """*exponents* [blocks] and *levels* [n]: the state as integers."""

    exponents: Exponents
    levels: Levels

    def values(self) -> Floats:
        """q * 2**e as float32, exactly."""
        scale = np.repeat(powers(self.exponents).astype(np.float32), BLOCK)
        return self.levels.astype(np.float32) * scale[: len(self.levels)]


def blocks(count: int) -> int:
    return -(-count // BLOCK)


def snapshot_bytes(count: int) -> int:
    """Size of a snapshot of *count* parameters: known before anything is read."""
    return _TAG + 2 * blocks(count) + count


def snap(state: Floats, *, unit: Unit, segment: int) -> Snapshot:
    """The snapshot of *state* [n] after *segment*; Refused as diverged where it has none."""
    state = flush(state)
    exponents = exponents_of(state)
    levels = np.empty(len(state), np.int8)
    for part, dither in dithers(unit, segment, len(state)):
        levels[part] = np.floor(state[part] * powers(-part_of(exponents, part)) + dither)
    return Snapshot(exponents, levels)


def powers(exponents: npt.NDArray[np.signedinteger[Any]]) -> Doubles:
    """2.0**e exactly, made of its bits; every e is in -1022 .. 1023."""
    return ((exponents.astype(np.int64) + 1_023) << 52).view(np.float64)


def peaks(state: Floats) -> Floats:
    """Largest magnitude of every block."""
    padded = np.zeros(blocks(len(state)) * BLOCK, np.float32)
    np.abs(state, out=padded[: len(state)])
    return np.asarray(padded.reshape(-1, BLOCK).max(axis=1), np.float32)


def exponents_of(state: Floats) -> Exponents:
    """The exponent of every block; Refused where a number is not finite or too large."""
    largest = peaks(state)
    if not bool(np.all(np.isfinite(largest))):
        raise Refused(Reason.DIVERGED, "the state holds an infinity or something that is no number")
    fraction, power = np.frexp(largest)
    exponents = np.where(largest > 0, power - 7 + (fraction > PEAK / 128), LEAST)
    if len(exponents) and int(exponents.max()) > MOST:
        raise Refused(Reason.DIVERGED, f"the state grew beyond 126 * 2**{MOST}")
    return np.maximum(exponents, LEAST).astype(np.int16)


def dithers(unit: Unit, segment: int, count: int) -> Iterator[tuple[slice, Doubles]]:
    """The dither r of all *count* elements, chunk by chunk with the slice each belongs to."""
    key = digest(Domain.DITHER, unit_digest(unit), number(segment))
    stream = np.random.Philox(key=int.from_bytes(key[:16], "little"))
    for start in range(0, count, _CHUNK):
        part = slice(start, min(start + _CHUNK, count))
        length = part.stop - part.start
        halves = stream.random_raw(-(-length // 2)).astype("<u8").view("<u4")[:length]
        yield part, (halves >> 8).astype(np.float64) * 2.0**-24


def part_of(exponents: Exponents, part: slice) -> Exponents:
    """The exponent of every element in a chunk of ``dithers``."""
    inside = exponents[part.start // BLOCK : blocks(part.stop)]
    return np.repeat(inside, BLOCK)[: part.stop - part.start]


def encode_snapshot(snapshot: Snapshot, *, unit: Unit, segment: int) -> bytes:
    exponents = snapshot.exponents.astype("<i2").tobytes()
    return snapshot_tag(unit, segment) + exponents + snapshot.levels.tobytes()


def decode_snapshot(data: bytes, *, unit: Unit, segment: int, count: int) -> Snapshot:
    """The snapshot of *count* parameters that *data* is, made by *unit* at *segment*; Malformed otherwise."""
    if len(data) != snapshot_bytes(count):
        raise Malformed(f"a snapshot of {len(data)} bytes where {snapshot_bytes(count)} are needed")
    if data[:_TAG] != snapshot_tag(unit, segment):
        raise Malformed("the snapshot of another unit or segment")
    exponents = np.frombuffer(data, "<i2", blocks(count), _TAG).astype(np.int16)
    levels = np.frombuffer(data, np.int8, count, _TAG + 2 * blocks(count))
    if bool(np.any((exponents < LEAST) | (exponents > MOST))):
        raise Malformed("a snapshot's exponent is out of range")
    if bool(np.any((levels < -PEAK) | (levels > PEAK))):
        raise Malformed("a snapshot's integer is out of range")
    return Snapshot(exponents, levels)
