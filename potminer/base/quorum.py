"""Quorums by integer cross-multiplication, right for every committee size and power.

A quorum holds strictly more than 2/3 of the power, a weak quorum strictly more than 1/3:
two quorums share an honest member, a weak quorum contains one.
"""

from __future__ import annotations


def is_quorum(power: int, total: int) -> bool:
    return 3 * power > 2 * total


def is_weak_quorum(power: int, total: int) -> bool:
    return 3 * power > total


def faults_tolerated(members: int) -> int:
    """Largest f with 3f < n, for members of equal power."""
    return (members - 1) // 3
