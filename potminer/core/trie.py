"""The state's Merkle trie: a persistent map whose root names its whole content.

Keys are placed by their digest, one bit a level; a subtree with one key is a leaf, so the
shape depends on the content alone, never on the order of changes. An update shares every
untouched node with the old trie. Proofs show that a key has a value, or that it has none.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

from potminer.base.digest import Domain, digest, joiner
from potminer.wire.proof import StateProof


class Leaf(Struct, frozen=True, gc=False):
    path: bytes
    key: bytes
    value: bytes
    digest: bytes


class Branch(Struct, frozen=True, gc=False):
    """A tree has no cycles, so the garbage collector need not look through its hundred thousand nodes."""

    left: Node
    right: Node
    digest: bytes


Node = Leaf | Branch | None
Change = tuple[bytes, bytes, bytes | None]
"""(path, key, value)."""

_EMPTY = digest(Domain.STATE_NODE, b"empty")


def root(node: Node) -> bytes:
    return _EMPTY if node is None else node.digest


def get(node: Node, key: bytes) -> bytes | None:
    path, depth = _path(key), 0
    while isinstance(node, Branch):
        node = node.right if _bit(path, depth) else node.left
        depth += 1
    return node.value if node is not None and node.path == path else None


def update(node: Node, changes: Iterable[tuple[bytes, bytes | None]]) -> Node:
    """The trie with every (key, value) of *changes* set, or removed where the value is None."""
    placed = {path: (path, key, value) for path, key, value in ((_path(key), key, value) for key, value in changes)}
    return _update(node, [placed[path] for path in sorted(placed)], 0) if placed else node


def items(node: Node) -> Iterator[tuple[bytes, bytes]]:
    """Every (key, value), in the order of their paths."""
    match node:
        case Branch():
            yield from items(node.left)
            yield from items(node.right)
        case Leaf():
            yield node.key, node.value
        case None:
            return


def grown(entries: Iterable[tuple[bytes, bytes]], *, depth: int, start: int, end: int) -> Node:
    """The subtree at *depth* with exactly *entries*; None where their paths do not rise, or leave *start* to *end*."""
    leaves = [_leaf(_path(key), key, value) for key, value in entries]
    places = [int.from_bytes(leaf.path, "big") for leaf in leaves]
    rising = all(before < after for before, after in pairwise(places))
    if not places or not rising or places[0] < start or places[-1] >= end:
        return None
    return _build(leaves, depth)


def prove(node: Node, key: bytes) -> StateProof:
    path = _path(key)
    siblings: list[bytes] = []
    while isinstance(node, Branch):
        near, far = (node.right, node.left) if _bit(path, len(siblings)) else (node.left, node.right)
        siblings.append(root(far))
        node = near
    return StateProof(tuple(siblings), None if node is None else (node.key, node.value))


def verify(expected_root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    """Whether *proof* shows that *key* has *value* under *expected_root* (None: that it is absent)."""
    path, depth = _path(key), len(proof.siblings)
    if depth > 256:
        return False
    if proof.end is None:
        if value is not None:
            return False
        current = _EMPTY
    else:
        end_key, end_value = proof.end
        end_path = _path(end_key)
        if any(_bit(end_path, level) != _bit(path, level) for level in range(depth)):
            return False
        if (end_key == key) != (value is not None) or (value is not None and end_value != value):
            return False
        current = _leaf(end_path, end_key, end_value).digest
    for level in range(depth - 1, -1, -1):
        sibling = proof.siblings[level]
        current = branch_digest(sibling, current) if _bit(path, level) else branch_digest(current, sibling)
    return current == expected_root


@lru_cache(maxsize=32_768)
def _path(key: bytes) -> bytes:
    return digest(Domain.STATE_KEY, key)


def _bit(path: bytes, depth: int) -> int:
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


def _leaf(path: bytes, key: bytes, value: bytes) -> Leaf:
    return Leaf(path, key, value, digest(Domain.STATE_LEAF, key, value))


branch_digest = joiner(Domain.STATE_NODE)
"""Digest of a branch over the digests of its two sides."""


def join(left: Node, right: Node) -> Node:
    """A branch, or the only leaf beneath it: a subtree with one key is a leaf."""
    if left is None:
        return Branch(left, right, branch_digest(_EMPTY, root(right))) if isinstance(right, Branch) else right
    if right is None:
        return Branch(left, right, branch_digest(left.digest, _EMPTY)) if isinstance(left, Branch) else left
    return Branch(left, right, branch_digest(left.digest, right.digest))


def _update(node: Node, changes: list[Change], depth: int) -> Node:
    """*changes* rise by path, so those of either side stand together."""
    if not isinstance(node, Branch):
        leaves = [_leaf(path, key, value) for path, key, value in changes if value is not None]
        if node is not None and all(path != node.path for path, _, _ in changes):
            insort(leaves, node, key=lambda leaf: leaf.path)
        return _build(leaves, depth)
    if len(changes) == 1:
        return _update_one(node, changes[0], depth)
    byte, bit = depth >> 3, 0x80 >> (depth & 7)
    middle = bisect_left(changes, bit, key=lambda change: change[0][byte] & bit)
    left = _update(node.left, changes[:middle], depth + 1) if middle else node.left
    right = _update(node.right, changes[middle:], depth + 1) if middle < len(changes) else node.right
    return join(left, right)


def _update_one(node: Node, change: Change, depth: int) -> Node:
    """Down to where the path ends, and up again."""
    (path, key, value), passed = change, list[tuple[Branch, int]]()
    while isinstance(node, Branch):
        right = path[depth >> 3] >> (7 - (depth & 7)) & 1
        passed.append((node, right))
        node = node.right if right else node.left
        depth += 1
    if value is not None and node is not None and node.path == path:
        below: Node = _leaf(path, key, value)
    else:
        below = _update(node, [change], depth)
    for branch, right in reversed(passed):
        below = join(branch.left, below) if right else join(below, branch.right)
    return below


def _build(leaves: list[Leaf], depth: int) -> Node:
    """The subtree at *depth* of *leaves*, whose paths rise: from the left, a branch as soon as both of its sides are
    whole."""
    if len(leaves) < 2:
        return leaves[0] if leaves else None
    waiting: list[tuple[int, Node]] = []
    places = [int.from_bytes(leaf.path, "big") for leaf in leaves]
    parting = [256 - (place ^ after).bit_length() for place, after in pairwise(places)]
    for leaf, parts in zip(leaves, [*parting, depth - 1], strict=False):
        node: Node = leaf
        at = parts + 1
        while waiting and waiting[-1][0] > parts:
            level, left = waiting.pop()
            node = join(left, _lifted(node, leaf.path, at, level + 1))
            at = level
        waiting.append((parts, _lifted(node, leaf.path, at, parts + 1)))
    return waiting[0][1]


def _lifted(node: Node, path: bytes, at: int, to: int) -> Node:
    """The node at depth *to* over *node*, which is at depth *at* with nobody beside it; *path* leads through both."""
    if isinstance(node, Branch):
        for level in range(at - 1, to - 1, -1):
            node = join(None, node) if _bit(path, level) else join(node, None)
    return node
