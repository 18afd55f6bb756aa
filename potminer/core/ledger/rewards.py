"""Splitting money: exact, by largest remainder, ties to the earlier."""

from __future__ import annotations

from collections.abc import Sequence

from potminer.base.bounded import MILLION


def split(total: int, weights: Sequence[int]) -> list[int]:
    """*total* grains in proportion to *weights*; the parts sum to *total* exactly.

    What integer division leaves over goes, a grain each, to the largest remainders; among
    equal remainders to the lower index. Weights that are all zero get nothing and are refused.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0 or total < 0:
        raise AssertionError("a split needs a positive weight")
    parts = [total * weight // whole for weight in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for index in order[: total - sum(parts)]:
        parts[index] += 1
    return parts


def audited_ppm(*, price: int, stake: int, segments: int, factor: int, floor_ppm: int) -> int:
    """Segments of a unit that are audited, in millionths: factor * price / (stake + factor * price / segments),
    between the floor and all of them.

    With it a cheat expects to lose *factor* times what it expects to gain (docs/spec/rounds.md): who has
    nothing to lose is audited in every segment.
    """
    gain = factor * price
    wanted = -(-gain * segments * MILLION // (stake * segments + gain))
    return min(segments * MILLION, max(wanted, floor_ppm))
