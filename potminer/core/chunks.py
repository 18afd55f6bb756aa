"""The state in chunks: how a ledger's trie is cut, and how each piece is proven by itself.

A snapshot is the trie cut into subtrees of at most CHUNK_BYTES, or one record where that alone is
larger. Its manifest is the depth and digest of each, in the order of their paths: folded, they are the
state root, so a manifest is proven by the root and a chunk by the manifest. The cut depends on the
content alone: every honest node cuts the same chunks, and any of them can send any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from potminer.base import limits
from potminer.core import trie
from potminer.core.trie import Branch, Leaf, Node
from potminer.wire.leap import CHUNK_BYTES, DIGEST_BYTES, Items, Manifest
from potminer.wire.proof import KEY_BYTES, VALUE_BYTES

LEAF_COST = 8
"""What a record takes beside its key and value."""
_PATHS = 1 << 256


class TooLarge(Exception):
    """A state that no manifest or chunk can hold: it has no snapshot."""


def cut(tree: Node) -> Iterator[tuple[int, Node]]:
    """(depth, subtree) of every chunk, in the order of paths; None where a side is empty. Between two of them no
    more is looked at than fits into a chunk, so whoever takes them one by one never stops for long."""
    waiting: list[tuple[int, Node]] = [(0, tree)]
    count = 0
    while waiting:
        depth, node = waiting.pop()
        if isinstance(node, Branch) and not _fits(node):
            waiting += ((depth + 1, node.right), (depth + 1, node.left))
            continue
        count += 1
        if count > limits.SNAPSHOT_CHUNKS or depth > 255:
            raise TooLarge(f"more than {limits.SNAPSHOT_CHUNKS} chunks")
        if isinstance(node, Leaf) and (len(node.key) > KEY_BYTES or len(node.value) > VALUE_BYTES):
            raise TooLarge(f"a record of {len(node.value)} bytes")
        yield depth, node


def items_of(node: Node) -> Items:
    return tuple(trie.items(node))


def manifest(height: int, parts: Sequence[tuple[int, bytes]]) -> Manifest:
    """Of the snapshot after block *height*, from each chunk's depth and digest."""
    return Manifest(height, bytes(depth for depth, _ in parts), b"".join(digest for _, digest in parts))


class Plan:
    """A manifest that folds to a root: where each chunk lies and what its digest must be."""

    __slots__ = ("depths", "digests", "height", "starts")

    def __init__(self, height: int, depths: bytes, digests: tuple[bytes, ...], starts: tuple[int, ...]) -> None:
        self.height, self.depths, self.digests, self.starts = height, depths, digests, starts

    @staticmethod
    def proven(told: Manifest, root: bytes) -> Plan | None:
        """The plan that *told* makes where it is the state under *root*, cut; None where it is not."""
        depths = told.depths
        if not depths or len(told.digests) != DIGEST_BYTES * len(depths):
            return None
        digests = tuple(told.digests[at : at + DIGEST_BYTES] for at in range(0, len(told.digests), DIGEST_BYTES))
        starts, place = list[int](), 0
        for depth in depths:
            width = _PATHS >> depth
            if place % width or place + width > _PATHS:
                return None
            starts.append(place)
            place += width
        if place != _PATHS or _folded(depths, digests) != root:
            return None
        return Plan(told.height, depths, digests, tuple(starts))

    def __len__(self) -> int:
        return len(self.depths)

    def wanted(self) -> list[int]:
        """The chunks that hold anything."""
        return [index for index, digest in enumerate(self.digests) if digest != trie.root(None)]

    def grown(self, index: int, items: Items) -> Node | None:
        """The subtree of chunk *index*, where *items* are exactly its records in the order of their paths."""
        depth, start = self.depths[index], self.starts[index]
        node = trie.grown(items, depth=depth, start=start, end=start + (_PATHS >> depth))
        return node if node is not None and trie.root(node) == self.digests[index] else None

    def joined(self, nodes: dict[int, Node]) -> Node:
        """The whole trie. *nodes* are the subtrees of all chunks that hold anything."""
        waiting: list[tuple[int, Node]] = []
        for index, depth in enumerate(self.depths):
            waiting.append((depth, nodes.get(index)))
            while len(waiting) > 1 and waiting[-1][0] == waiting[-2][0]:
                (deep, right), (_, left) = waiting.pop(), waiting.pop()
                waiting.append((deep - 1, trie.join(left, right)))
        return waiting[0][1]


def _folded(depths: bytes, digests: Sequence[bytes]) -> bytes | None:
    """The root over subtrees that cover all paths. Two neighbours of one depth are siblings: what stands before
    them is as aligned as they are, or it would have been folded further."""
    waiting: list[tuple[int, bytes]] = []
    for depth, digest in zip(depths, digests, strict=True):
        waiting.append((depth, digest))
        while len(waiting) > 1 and waiting[-1][0] == waiting[-2][0]:
            (deep, right), (_, left) = waiting.pop(), waiting.pop()
            waiting.append((deep - 1, trie.branch_digest(left, right)))
    return waiting[0][1] if len(waiting) == 1 and waiting[0][0] == 0 else None


def _fits(node: Branch) -> bool:
    """Whether *node* is at most a chunk; stops counting where it is not."""
    waiting: list[Node] = [node]
    room = CHUNK_BYTES
    while waiting:
        each = waiting.pop()
        if isinstance(each, Branch):
            waiting += (each.right, each.left)
        elif each is not None:
            room -= len(each.key) + len(each.value) + LEAF_COST
            if room < 0:
                return False
    return True
