"""How long a trainer says its update is: the square of its length, rounded down to eight bits.

The square is that of what the payload's integers stand for, q * 2**e, so it is an integer in 2**``LENGTH_UNIT``
(``wire.slice``). Said are the number of its bits, and the seven that follow the first: 16 bits, rising with the square.
One is said for every slice that the round is cut into; squares of slices sum to that of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Annotated

from msgspec import Meta

from potminer.base import limits
from potminer.base.bounded import U16
from potminer.wire.slice import LENGTH_UNIT

Lengths = Annotated[tuple[U16, ...], Meta(min_length=1, max_length=limits.COMMITTEE)]
_KEPT = 8
"""Bits of a square that are said, the first included: an error below 1 in 128."""


def said_length(square: int) -> int:
    """What is said of a square in 2**LENGTH_UNIT. The longest update that a blob has room for stays below 2**400."""
    width = square.bit_length()
    if not 0 <= square < 2**511:
        raise AssertionError(f"no square of an update: {width} bits")
    return (width << _KEPT - 1) + (square << _KEPT >> width) - 2 ** (_KEPT - 1) if square else 0


def square_of(lengths: Sequence[int]) -> int:
    """The least square of a whole update whose slices are said to be so long."""
    return sum((2 ** (_KEPT - 1) + each % 2 ** (_KEPT - 1) << (each >> _KEPT - 1)) >> _KEPT for each in lengths)


def length_nano(lengths: Sequence[int]) -> int | None:
    """For people: the length of such an update in billionths, at most what 63 bits hold; None where nothing is said."""
    return min(isqrt(square_of(lengths) * 10**18 >> -LENGTH_UNIT), 2**63 - 1) if lengths else None
