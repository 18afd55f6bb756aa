"""A vector as integers of 8, 4 or 2 bits: blocks of 256 with one power of two each.

A block has one exponent e: the least integer in -126 .. 40 with max|u| <= P * 2**e (so a block of
zeros has -126), where P is 126 for 8 bits, 7 for 4 and 1 for 2. Each element becomes

    q = floor(u / 2**e + r)

with the dither r of ``dither``. q is always in -P .. P and its expectation is u / 2**e. An
integer q therefore stands for the interval [(q - r) * 2**e, (q - r + 1) * 2**e) that u lay in.

Bytes: the exponents (int16 little-endian), then the integers in two's complement, several to a byte,
the first in the lowest bits; bits behind the last are zero. A denormal u counts as zero; q * 2**e is
always a normal float32 or zero, so every machine continues from the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from potminer.base.errors import Malformed
from potminer.train.dither import CHUNK, Doubles, half_words
from potminer.train.refusal import Reason, Refused
from potminer.train.weights import Floats, flush, has_denormals
from potminer.wire.task import BLOCK, Unit

LEAST, MOST = -126, 40
"""Bounds of an exponent: below, 2**e would be denormal; above, training has diverged."""
PEAKS = {8: 126, 4: 7, 2: 1}
"""The largest integer of each width."""

Exponents = npt.NDArray[np.int16]
Levels = npt.NDArray[np.int8]
_Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """*exponents* [blocks] and *levels* [n], of *bits* bits each."""

    exponents: Exponents
    levels: Levels
    bits: int = 8

    def values(self) -> Floats:
        """q * 2**e as float32, exactly."""
        scale = powers(self.exponents).astype(np.float32)
        values = self.levels.astype(np.float32)
        whole = len(values) // BLOCK
        by_block = values[: whole * BLOCK].reshape(-1, BLOCK)
        by_block *= scale[:whole, None]
        values[whole * BLOCK :] *= scale[whole:]
        return values


def blocks(count: int) -> int:
    return -(-count // BLOCK)


def snap_grid(values: Floats, *, unit: Unit, segment: int, bits: int = 8, vector: int = 0) -> Grid:
    """The integers of *values* [n], vector number *vector* of a snapshot; Refused as diverged where there are none."""
    if has_denormals(values):
        values = flush(values)
    largest = peaks(values)
    exponents = _exponents(largest, bits)
    quick, scale = _quick(exponents, largest)
    levels, room = np.empty(len(values), np.int8), (np.empty(CHUNK, np.float32), np.empty(CHUNK, np.int32))
    for part, words in half_words(unit, segment, len(values), vector=vector):
        words >>= 8
        inside = slice(part.start // BLOCK, blocks(part.stop))
        if quick[inside].all():
            each = np.repeat(scale[inside], BLOCK)[: len(words)]
            _floors(values[part], each, words, levels[part], room)
        else:
            scaled = values[part] * powers(-part_of(exponents, part))
            scaled += words * 2.0**-24
            levels[part] = np.floor(scaled, out=scaled)
    return Grid(exponents, levels, bits)


def _quick(exponents: Exponents, largest: Floats) -> tuple[npt.NDArray[np.bool_], Floats]:
    """The blocks that ``_floors`` can do, and 2**(24 - e) of each: those where that is a normal float32 and makes no
    value denormal, and those of zeros, whatever their scale."""
    ordinary = (exponents >= 24 - 127) & (exponents <= 24)
    scale = powers(24 - np.where(ordinary, exponents, np.int16(24))).astype(np.float32)
    return ordinary | (largest == 0), scale


def _floors(
    values: Floats, scale: Floats, words: npt.NDArray[np.uint32], levels: Levels, room: tuple[Floats, _Integers]
) -> None:
    """floor(u / 2**e + w * 2**-24) by integers: w is whole, so it is (floor(u * 2**(24 - e)) + w) >> 24. The product
    is exact and below 126 * 2**24, the sum below 2**31. A third of the time that doubles take, and the same bits."""
    floats, integers = room[0][: len(values)], room[1][: len(values)]
    np.multiply(values, scale, out=floats)
    np.floor(floats, out=floats)
    np.copyto(integers, floats, casting="unsafe")
    integers += words.view(np.int32)
    integers >>= 24
    np.copyto(levels, integers, casting="unsafe")


def powers(exponents: npt.NDArray[np.signedinteger[Any]]) -> Doubles:
    """2.0**e exactly, made of its bits; every e is in -1022 .. 1023."""
    return ((exponents.astype(np.int64) + 1_023) << 52).view(np.float64)


def peaks(values: Floats) -> Floats:
    """Largest magnitude of every block."""
    found, whole = np.empty(blocks(len(values)), np.float32), len(values) // BLOCK
    magnitudes = np.empty(CHUNK, np.float32)
    for start in range(0, whole, CHUNK // BLOCK):
        stop = min(start + CHUNK // BLOCK, whole)
        part = magnitudes[: (stop - start) * BLOCK]
        np.abs(values[start * BLOCK : stop * BLOCK], out=part)
        np.max(part.reshape(-1, BLOCK), axis=1, out=found[start:stop])
    found[whole:] = np.abs(values[whole * BLOCK :]).max(initial=0)
    return found


def exponents_of(values: Floats, *, bits: int = 8) -> Exponents:
    """The exponent of every block; Refused where a number is not finite or too large."""
    return _exponents(peaks(values), bits)


def _exponents(largest: Floats, bits: int) -> Exponents:
    peak = PEAKS[bits]
    if not bool(np.all(np.isfinite(largest))):
        raise Refused(Reason.DIVERGED, "the state holds an infinity or something that is no number")
    fraction, power = np.frexp(largest)
    width = peak.bit_length()
    exponents = np.where(largest > 0, power - width + (fraction > peak / 2**width), LEAST)
    if len(exponents) and int(exponents.max()) > MOST:
        raise Refused(Reason.DIVERGED, f"the state grew beyond {peak} * 2**{MOST}")
    return np.maximum(exponents, LEAST).astype(np.int16)


def part_of(exponents: Exponents, part: slice) -> Exponents:
    """The exponent of every element in a chunk of ``dithers``."""
    inside = exponents[part.start // BLOCK : blocks(part.stop)]
    return np.repeat(inside, BLOCK)[: part.stop - part.start]


def encode_grid(grid: Grid) -> bytes:
    return grid.exponents.astype("<i2").tobytes() + _pack(grid.levels, grid.bits)


def decode_grid(data: bytes, *, count: int, bits: int) -> Grid:
    """The grid of *count* numbers that *data*, of the right size, holds; Malformed where it holds none."""
    exponents = np.frombuffer(data, "<i2", blocks(count)).astype(np.int16)
    levels = _unpack(data[2 * blocks(count) :], count, bits)
    if bool(np.any((exponents < LEAST) | (exponents > MOST))):
        raise Malformed("a snapshot's exponent is out of range")
    if bool(np.any((levels < -PEAKS[bits]) | (levels > PEAKS[bits]))):
        raise Malformed("a snapshot's integer is out of range")
    return Grid(exponents, levels, bits)


def _pack(levels: Levels, bits: int) -> bytes:
    if bits == 8:
        return levels.tobytes()
    each = 8 // bits
    padded = np.zeros(-(-len(levels) // each) * each, np.uint8)
    padded[: len(levels)] = levels.view(np.uint8) & ((1 << bits) - 1)
    lanes = padded.reshape(-1, each) << (np.arange(each, dtype=np.uint8) * bits)
    return bytes(np.bitwise_or.reduce(lanes, axis=1).astype(np.uint8))


def _unpack(data: bytes, count: int, bits: int) -> Levels:
    packed = np.frombuffer(data, np.uint8)
    if bits == 8:
        return packed.view(np.int8)
    each = 8 // bits
    left = (packed[:, None] << (8 - bits - np.arange(each, dtype=np.uint8) * bits)).astype(np.uint8)
    levels = (left.view(np.int8) >> (8 - bits)).reshape(-1)
    if bool(np.any(levels[count:])):
        raise Malformed("a snapshot's last byte holds more than its last integer")
    return np.ascontiguousarray(levels[:count])
