"""Merkle lists: every proof of every small list holds, and no other proof does."""

from __future__ import annotations

import pytest

from potminer.base import merkle
from potminer.base.digest import Domain, digest

SIZES = range(1, 41)
LEAVES = Domain.TRANSACTIONS


def items_of(count: int) -> list[bytes]:
    return [b"item %d" % i for i in range(count)]


def split_root(leaves: list[bytes]) -> bytes:
    """RFC 6962's definition, written as the RFC writes it."""
    if len(leaves) == 1:
        return leaves[0]
    cut = 1 << (len(leaves) - 1).bit_length() - 1
    return merkle.node(LEAVES, split_root(leaves[:cut]), split_root(leaves[cut:]))


@pytest.mark.parametrize("count", SIZES)
def test_the_tree_has_the_shape_of_rfc_6962(count: int) -> None:
    items = items_of(count)
    top = split_root([merkle.leaf(LEAVES, i) for i in items])
    assert merkle.root(LEAVES, items) == merkle.counted(LEAVES, top, count)


@pytest.mark.parametrize("count", SIZES)
def test_a_proof_holds_for_its_item_index_and_count_only(count: int) -> None:
    items = items_of(count)
    root = merkle.root(LEAVES, items)
    for index, item in enumerate(items):
        siblings = merkle.prove(LEAVES, items, index)

        def holds(item: bytes, index: int, count: int, siblings: list[bytes] = siblings) -> bool:
            return merkle.verify(LEAVES, expected_root=root, item=item, index=index, count=count, siblings=siblings)

        assert holds(item, index, count)
        assert not holds(b"other", index, count)
        assert not any(holds(item, wrong, count) for wrong in range(-1, count + 1) if wrong != index)
        assert not any(holds(item, at, other) for other in SIZES if other != count for at in (index, other - 1))


@pytest.mark.parametrize("count", SIZES)
def test_a_proof_of_another_depth_is_refused(count: int) -> None:
    items = items_of(count)
    root = merkle.root(LEAVES, items)
    siblings = merkle.prove(LEAVES, items, 0)
    for wrong in ([*siblings, bytes(32)], siblings[:-1] if siblings else [bytes(32)]):
        assert not merkle.verify(LEAVES, expected_root=root, item=items[0], index=0, count=count, siblings=wrong)
    for other in (count * 2, count * 2 + 1):
        assert not merkle.verify(LEAVES, expected_root=root, item=items[0], index=0, count=other, siblings=siblings)


def test_a_changed_sibling_is_refused() -> None:
    items = items_of(13)
    root = merkle.root(LEAVES, items)
    siblings = merkle.prove(LEAVES, items, 5)
    for at in range(len(siblings)):
        wrong = [*siblings[:at], digest(Domain.MESSAGE, siblings[at]), *siblings[at + 1 :]]
        assert not merkle.verify(LEAVES, expected_root=root, item=items[5], index=5, count=13, siblings=wrong)


def test_roots_differ_by_order_count_and_domain() -> None:
    items = items_of(7)
    roots = {
        merkle.root(LEAVES, items),
        merkle.root(LEAVES, items[::-1]),
        merkle.root(LEAVES, items[:-1]),
        merkle.root(LEAVES, [*items, items[-1]]),
        merkle.root(Domain.STATE_LEAF, items),
        merkle.root(LEAVES, []),
    }
    assert len(roots) == 6


def test_a_node_never_passes_for_a_leaf() -> None:
    left, right = merkle.leaf(LEAVES, b"a"), merkle.leaf(LEAVES, b"b")
    assert merkle.root(LEAVES, [b"a", b"b"]) != merkle.leaf(LEAVES, left + right)


def test_a_proof_outside_the_list_is_our_bug() -> None:
    with pytest.raises(AssertionError):
        merkle.prove(LEAVES, items_of(3), 3)
