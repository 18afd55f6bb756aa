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


def at_risk(*, price: int, stake: int, units: int, factor: int) -> int:
    """What a trainer with *units* units in a round loses when one of them is found false: its *stake*, and what all its
    other units of the round would be paid. More than factor / 2 - 1 times the stake is not counted, for it must suffice
    whatever the cheat does: who falsifies everything has no other units."""
    return stake + min((units - 1) * price, stake * max(0, factor - 2) // 2)


def audited_ppm(*, price: int, stake: int, units: int, segments: int, factor: int, floor_ppm: int) -> int:
    """Segments of a unit that are audited, in millionths: the share factor * price / (at risk + factor * price) of
    *segments*, no fewer than the floor. *units* are those of its trainer whose audits are drawn together.

    With it a cheat expects to lose *factor* times what it expects to gain (docs/spec/rounds.md), which is a whole unit
    from the first false segment on: from there it goes on where nothing is left to learn, and no audit of what follows
    finds anything. Who has nothing to lose is audited in every segment.
    """
    gain, lost = factor * price, at_risk(price=price, stake=stake, units=units, factor=factor)
    wanted = -(-gain * segments * MILLION // (lost + gain))
    return min(segments * MILLION, max(wanted, floor_ppm))
