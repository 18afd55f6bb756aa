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


def at_risk(*, price: int, stake: int, units: int, segments: int, factor: int) -> int:
    """What a trainer with *units* units in a round loses when one false segment of them is found: its *stake*, and what
    all its other segments of the round would be paid. More than factor / 2 - 1 times the stake is not counted, for it
    must suffice whatever the cheat does: who falsifies everything has no other segments."""
    others = (units * segments - 1) * price // segments
    return stake + min(others, stake * max(0, factor - 2) // 2)


def audited_ppm(*, price: int, stake: int, units: int, segments: int, factor: int, floor_ppm: int) -> int:
    """Segments of a unit that are audited, in millionths: factor * price / (at risk + factor * price / segments),
    between the floor and all of them. *units* are those of its trainer whose audits are drawn together.

    With it a cheat expects to lose *factor* times what it expects to gain (docs/spec/rounds.md): who has
    nothing to lose is audited in every segment.
    """
    gain, lost = factor * price, at_risk(price=price, stake=stake, units=units, segments=segments, factor=factor)
    wanted = -(-gain * segments * MILLION // (lost * segments + gain))
    return min(segments * MILLION, max(wanted, floor_ppm))
