"""A vector as 16-bit floats with a dither: for numbers whose neighbours differ by powers of ten.

AdamW divides its first moment by the root of its second, element by element. Rounded to the scale of
their block's largest, small moments would become zero and their quotient anything; here each
keeps eight bits of precision. An element u with sign s and the 31 magnitude bits b becomes

    q = (b + (h >> 16)) >> 16

with the half word h of ``dither``, so q is the magnitude of a bfloat16 on one side of u or the other, and its
expectation as a number is |u|. It stands for all magnitude bits from (q << 16) - (h >> 16) on,
65,536 of them. Written is s << 15 | q (little-endian), never a denormal, minus zero or infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from potminer.base.errors import Malformed
from potminer.train.dither import half_words
from potminer.train.refusal import Reason, Refused
from potminer.train.weights import Floats, flush
from potminer.wire.task import Unit

INFINITE = 0x7F80
SMALLEST = 0x0080
"""The least magnitude that is no denormal."""
_MAGNITUDE = np.uint32(0x7FFF_FFFF)
_SIGN = 0x8000


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """*levels* [n], uint16: sign and magnitude of every element."""

    levels: npt.NDArray[np.uint16]

    def values(self) -> Floats:
        return (self.levels.astype(np.uint32) << 16).view(np.float32)

    def magnitudes(self) -> npt.NDArray[np.uint16]:
        return self.levels & np.uint16(_SIGN - 1)


def snap_half(values: Floats, *, unit: Unit, segment: int, vector: int) -> Half:
    """The 16-bit floats of *values* [n]; Refused as diverged where one is not finite or too large."""
    bits = flush(values).view(np.uint32)
    levels = np.empty(len(values), np.uint16)
    for part, words in half_words(unit, segment, len(values), vector=vector):
        magnitude = ((bits[part] & _MAGNITUDE) + (words >> 16)) >> 16
        if len(magnitude) and int(magnitude.max()) >= INFINITE:
            raise Refused(Reason.DIVERGED, "the state holds an infinity or something that is no number")
        sign = np.where(magnitude > 0, (bits[part] >> 16) & _SIGN, 0)
        levels[part] = magnitude | sign
    return Half(levels)


def intervals(magnitudes: npt.NDArray[np.uint16], words: npt.NDArray[np.uint32]) -> tuple[Floats, Floats]:
    """Ends of what each magnitude stands for."""
    low = (magnitudes.astype(np.int64) << 16) - (words >> 16)
    ends = np.maximum(low, 0), np.minimum(low + 65_536, (INFINITE << 16) - 1)
    first, second = (end.astype(np.uint32).view(np.float32) for end in ends)
    return first, second


def decode_half(data: bytes) -> Half:
    """Malformed where a number is none that ``snap_half`` writes."""
    half = Half(np.frombuffer(data, "<u2").astype(np.uint16))
    magnitudes = half.magnitudes()
    if bool(np.any((magnitudes >= INFINITE) | ((magnitudes < SMALLEST) & (half.levels > 0)))):
        raise Malformed("a snapshot's 16-bit float is infinite, denormal or minus zero")
    return half
