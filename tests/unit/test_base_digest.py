"""Digests: no two uses, and no two lists of parts, ever give the same bytes."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

import pytest

from potminer.base import limits
from potminer.base.digest import Domain, digest, digest_again, joiner, number


def test_domains_are_distinct_and_fit() -> None:
    tags = [d.value for d in Domain]
    assert len(set(tags)) == len(tags)
    assert all(1 <= len(tag.encode("ascii")) <= 16 for tag in tags)


def test_one_part_under_two_domains_gives_two_digests() -> None:
    assert len({digest(domain, b"x") for domain in Domain}) == len(Domain)


def test_parts_cannot_be_shifted_into_each_other() -> None:
    lists = ([], [b""], [b"", b""], [b"ab"], [b"a", b"b"], [b"", b"ab"], [b"ab", b""])
    assert len({digest(Domain.MESSAGE, *parts) for parts in lists}) == len(lists)


def test_a_length_inside_a_part_is_not_a_border() -> None:
    forged = b"a" + number(1) + b"b"
    assert digest(Domain.MESSAGE, forged) != digest(Domain.MESSAGE, b"a", b"b")


def test_it_is_blake2b_256_with_a_personalisation() -> None:
    expected = blake2b(number(3) + b"abc", digest_size=32, person=b"pot/block").digest()
    assert digest(Domain.BLOCK, b"abc") == expected


def test_a_chain_of_digests_is_what_one_after_the_other_gives() -> None:
    layers = [bytes(range(32))]
    for _ in range(5):
        layers.append(digest(Domain.ONION, layers[-1]))
    assert [digest_again(Domain.ONION, layers[0], times) for times in range(6)] == layers
    with pytest.raises(AssertionError):
        digest_again(Domain.ONION, b"short", 2)


def test_a_number_is_eight_big_endian_bytes() -> None:
    values = [0, 1, 255, 256, 2**63, 2**64 - 1]
    assert all(number(a) < number(b) for a, b in pairwise(values))
    assert {len(number(v)) for v in values} == {8}
    for wrong in (-1, 2**64):
        with pytest.raises(OverflowError):
            number(wrong)


def test_limits_fit_into_each_other() -> None:
    assert limits.FRAME_BYTES == 2**16 - 1
    assert limits.VOTE_BYTES < limits.FRAME_BYTES
    assert limits.TASK_BYTES < limits.TRANSACTION_BYTES <= limits.BLOCK_BYTES < limits.BLOCK_MESSAGE_BYTES
    assert 32 * limits.VIEW_CHANGE_BYTES < limits.NEW_VIEW_BYTES
    assert limits.MEMPOOL_PER_SENDER < limits.MEMPOOL_TRANSACTIONS
    assert all(value > 0 for name, value in vars(limits).items() if name.isupper())


def test_a_joiner_gives_what_digest_gives_whatever_the_lengths() -> None:
    for domain in (Domain.STATE_NODE, Domain.TRANSACTIONS):
        for first in ((), (b"node",), (b"a" * 2_000, b"")):
            join = joiner(domain, *first)
            for left, right in ((b"l" * 32, b"r" * 32), (b"", b"r" * 32), (b"l" * 32, b"r" * 31), (b"l" * 2_000, b"")):
                assert join(left, right) == digest(domain, *first, left, right)
    assert joiner(Domain.STATE_NODE)(b"l" * 32, b"r" * 32) != joiner(Domain.STATE_LEAF)(b"l" * 32, b"r" * 32)
