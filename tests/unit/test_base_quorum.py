"""Quorums: the two facts PBFT rests on, for every committee size, and for uneven power."""

from __future__ import annotations

import pytest

from potminer.base.quorum import faults_tolerated, is_quorum, is_weak_quorum

SIZES = range(1, 200)


def least(holds: object, total: int) -> int:
    assert callable(holds)
    return next(votes for votes in range(total + 1) if holds(votes, total))


@pytest.mark.parametrize("n", SIZES)
def test_two_quorums_share_an_honest_member(n: int) -> None:
    assert 2 * least(is_quorum, n) - n >= faults_tolerated(n) + 1


@pytest.mark.parametrize("n", SIZES)
def test_the_honest_alone_can_form_a_quorum(n: int) -> None:
    assert is_quorum(n - faults_tolerated(n), n)


@pytest.mark.parametrize("n", SIZES)
def test_a_weak_quorum_holds_an_honest_member_and_the_faulty_alone_are_none(n: int) -> None:
    f = faults_tolerated(n)
    assert least(is_weak_quorum, n) >= f + 1
    assert not is_weak_quorum(f, n)


@pytest.mark.parametrize("n", SIZES)
def test_one_fault_more_would_be_too_many(n: int) -> None:
    f = faults_tolerated(n)
    assert 3 * f < n <= 3 * (f + 1)


@pytest.mark.parametrize("n", SIZES)
def test_nobody_is_no_quorum_and_everybody_is_one(n: int) -> None:
    assert not is_quorum(0, n)
    assert is_quorum(n, n)
    assert not is_weak_quorum(0, n)


def test_exactly_two_thirds_are_not_enough() -> None:
    assert not is_quorum(2, 3)
    assert is_quorum(3, 3)
    assert not is_quorum(66, 99)
    assert is_quorum(67, 99)
    assert not is_quorum(2 * 10**18, 3 * 10**18)
    assert is_quorum(2 * 10**18 + 1, 3 * 10**18)
    assert not is_weak_quorum(33, 99)
    assert is_weak_quorum(34, 99)
