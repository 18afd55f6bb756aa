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


def audit_rate_ppm(*, unit_reward: int, bond: int, factor: int, floor_ppm: int) -> int:
    """Share of a trainer's units that is audited: clamp(factor * reward / bond, floor, 1).

    With it a cheat's expected loss is *factor* times its expected gain (docs/spec/rounds.md);
    without a bond every unit is audited.
    """
    if bond <= 0:
        return MILLION
    return max(min(MILLION, -(-factor * unit_reward * MILLION // bond)), min(floor_ppm, MILLION))
