"""Draws: chance that everybody can recompute.

A draw is a stream of 64-bit words from a digest in counter mode. The same seed gives the
same draws on every machine; rejection sampling keeps them unbiased.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from potminer.base.digest import Domain, digest, number

T = TypeVar("T")


def words(seed: bytes, *labels: bytes) -> Iterator[int]:
    """Endless 64-bit words drawn from *seed* and *labels*."""
    counter = 0
    while True:
        block = digest(Domain.DRAW, seed, *labels, number(counter))
        for offset in range(0, 32, 8):
            yield int.from_bytes(block[offset : offset + 8], "big")
        counter += 1


def below(stream: Iterator[int], bound: int) -> int:
    """An unbiased integer in ``range(bound)``; *bound* is in 1 .. 2**64."""
    if not 0 < bound <= 2**64:
        raise AssertionError(f"draw bound out of range: {bound}")
    limit = 2**64 - 2**64 % bound
    for word in stream:
        if word < limit:
            return word % bound
    raise AssertionError("a draw's stream never ends")


def shuffled(stream: Iterator[int], items: Sequence[T]) -> list[T]:
    """*items* in a uniformly drawn order (Fisher-Yates)."""
    result = list(items)
    for last in range(len(result) - 1, 0, -1):
        other = below(stream, last + 1)
        result[last], result[other] = result[other], result[last]
    return result
