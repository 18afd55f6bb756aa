"""A state in chunks: every honest node cuts the same, and nothing but the truth folds to the root."""

from __future__ import annotations

import pytest

from potminer.base import limits
from potminer.core import chunks, trie
from potminer.wire.leap import CHUNK_BYTES, Items, Manifest

BIG = [(b"a" + n.to_bytes(32, "big"), bytes([n % 251]) * 300) for n in range(1_500)]
ODD = [(b"k" + bytes(32), b"x" * (CHUNK_BYTES + 5)), (b"C", b""), *BIG[:40]]


def cut(entries: list[tuple[bytes, bytes]]) -> tuple[trie.Node, Manifest, list[Items]]:
    tree = trie.update(None, entries)
    parts = [(depth, trie.root(node), chunks.items_of(node)) for depth, node in chunks.cut(tree)]
    return tree, chunks.manifest(7, [(depth, digest) for depth, digest, _ in parts]), [items for _, _, items in parts]


@pytest.mark.parametrize("entries", [BIG, ODD, BIG[:1], BIG[:2], []], ids=["big", "odd", "one", "two", "none"])
def test_chunks_are_bounded_and_make_the_state_again(entries: list[tuple[bytes, bytes]]) -> None:
    tree, told, bodies = cut(entries)
    plan = chunks.Plan.proven(told, trie.root(tree))
    assert plan is not None
    assert len(plan) == len(bodies)
    assert plan.wanted() == [index for index, items in enumerate(bodies) if items]
    nodes = {index: plan.grown(index, bodies[index]) for index in plan.wanted()}
    assert all(node is not None for node in nodes.values())
    assert trie.root(plan.joined(nodes)) == trie.root(tree)
    assert dict(trie.items(plan.joined(nodes))) == dict(entries)
    for items in bodies:
        size = sum(len(key) + len(value) + chunks.LEAF_COST for key, value in items)
        assert size <= CHUNK_BYTES or len(items) == 1


def test_the_way_to_a_state_does_not_change_its_cut() -> None:
    _, told, _ = cut(BIG)
    shuffled = trie.update(trie.update(None, BIG[700:]), [*BIG[:700], (b"gone", b"1")])
    again = trie.update(shuffled, [(b"gone", None)])
    assert told == chunks.manifest(7, [(depth, trie.root(node)) for depth, node in chunks.cut(again)])


TREE, TOLD, BODIES = cut(BIG)
PLAN = chunks.Plan.proven(TOLD, trie.root(TREE))


@pytest.mark.parametrize(
    "lie",
    [
        Manifest(7, b"", b""),
        Manifest(7, TOLD.depths[:-1], TOLD.digests[:-32]),
        Manifest(7, TOLD.depths[:-1], TOLD.digests),
        Manifest(7, TOLD.depths, TOLD.digests[:-1]),
        Manifest(7, TOLD.depths + b"\x01", TOLD.digests + bytes(32)),
        Manifest(7, bytes([TOLD.depths[0] + 1]) + TOLD.depths[1:], TOLD.digests),
        Manifest(7, b"\xff" * len(TOLD.depths), TOLD.digests),
        Manifest(7, bytes(len(TOLD.depths)), TOLD.digests),
        Manifest(7, TOLD.depths, TOLD.digests[32:64] + TOLD.digests[:32] + TOLD.digests[64:]),
        Manifest(7, TOLD.depths, bytes(len(TOLD.digests))),
    ],
    ids=["nothing", "fewer", "digests-over", "cut-digest", "more", "deeper", "deepest", "flat", "swapped", "zeros"],
)
def test_a_manifest_that_does_not_fold_to_the_root_is_none(lie: Manifest) -> None:
    assert chunks.Plan.proven(lie, trie.root(TREE)) is None


def test_a_chunk_is_its_records_in_their_order_and_nothing_else() -> None:
    assert PLAN is not None
    good, other = BODIES[0], BODIES[1]
    (key, value), *rest = good
    lies: list[Items] = [
        (),
        good[1:],
        good[::-1],
        (*good, good[-1]),
        other,
        (*good, other[0]),
        ((key, value + b"!"), *rest),
        ((key[:-1] + b"!", value), *rest),
    ]
    assert PLAN.grown(0, good) is not None
    assert [PLAN.grown(0, lie) for lie in lies] == [None] * len(lies)


def test_a_state_too_large_for_any_manifest_is_refused_while_it_is_cut() -> None:
    """A record that no message holds; and a gigabyte fits."""
    huge = trie.update(None, [(b"k" + bytes(32), bytes(3 << 20)), *BIG[:2]])
    with pytest.raises(chunks.TooLarge):
        list(chunks.cut(huge))
    assert limits.SNAPSHOT_CHUNKS * CHUNK_BYTES // 2 >= 1 << 30
