"""Merkle lists: a root over an ordered list, and proofs that an item stands at an index.

The tree has RFC 6962's shape (the left subtree holds the largest power of two below the
count). Leaf and node digests have domains of their own, so a node can never pass for a leaf.
The root covers the count: without it a list of three and a list of four share proofs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from potminer.base.digest import Domain, digest, joiner, number

NodeHash = Callable[[bytes, bytes], bytes]


def leaf(domain: Domain, item: bytes) -> bytes:
    return digest(domain, b"leaf", item)


_JOINERS = {domain: joiner(domain, b"node") for domain in Domain}


def node(domain: Domain, left: bytes, right: bytes) -> bytes:
    return _JOINERS[domain](left, right)


def counted(domain: Domain, top: bytes, count: int) -> bytes:
    """Root of a list whose *count* leaves fold to *top*."""
    return digest(domain, b"list", number(count), top)


def root(domain: Domain, items: Sequence[bytes]) -> bytes:
    """Root over *items*; the empty list has a root of its own."""
    return root_of([leaf(domain, item) for item in items], domain)


def root_of(leaves: Sequence[bytes], domain: Domain) -> bytes:
    """Root over items whose leaves are known: ``leaf(domain, item)`` each."""
    if not leaves:
        return digest(domain, b"empty")
    return counted(domain, fold(leaves, _JOINERS[domain]), len(leaves))


def fold(leaves: Sequence[bytes], join: NodeHash) -> bytes:
    """Root of already hashed *leaves* (at least one).

    Level by level with an odd last node carried up: the same shape as splitting at the
    largest power of two, without recursion.
    """
    level = list(leaves)
    while len(level) > 1:
        paired = [join(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


def path(leaves: Sequence[bytes], index: int, join: NodeHash) -> list[bytes]:
    """Sibling digests from leaf *index* up to the root."""
    if not 0 <= index < len(leaves):
        raise AssertionError(f"no leaf {index} in {len(leaves)}")
    siblings: list[bytes] = []
    level = list(leaves)
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            siblings.append(level[sibling])
        paired = [join(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
        index //= 2
    return siblings


def climb(leaf_digest: bytes, *, index: int, count: int, siblings: Sequence[bytes], join: NodeHash) -> bytes | None:
    """Root implied by a proof, or None where the proof does not fit *index* and *count*."""
    if not 0 <= index < count:
        return None
    current, used = leaf_digest, 0
    while count > 1:
        if index ^ 1 < count:
            if used == len(siblings):
                return None
            sibling = siblings[used]
            used += 1
            current = join(sibling, current) if index & 1 else join(current, sibling)
        index //= 2
        count = (count + 1) // 2
    return current if used == len(siblings) else None


def prove(domain: Domain, items: Sequence[bytes], index: int) -> list[bytes]:
    """Proof that ``items[index]`` stands under ``root(domain, items)``."""
    return path([leaf(domain, item) for item in items], index, partial(node, domain))


def verify(
    domain: Domain, *, expected_root: bytes, item: bytes, index: int, count: int, siblings: Sequence[bytes]
) -> bool:
    """Whether *item* stands at *index* of the *count* items under *expected_root*."""
    top = climb(leaf(domain, item), index=index, count=count, siblings=siblings, join=partial(node, domain))
    return top is not None and counted(domain, top, count) == expected_root
