"""Residues: what only somebody who computed a segment knows of it. Their layout and their Merkle tree.

A snapshot says which interval a value lay in, its residue where in the interval (``train/residue.py``). Each segment
has ``LEAVES`` leaves of ``PER_LEAF`` residues, four bits each, the first in the lower half of a byte. A unit's tree
is over the leaves of all its segments in order. A trainer commits to the root, an auditor answers for one leaf
out of its own recomputation, and only then the trainer opens that leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from potminer.base import limits, merkle
from potminer.base.bounded import Hash
from potminer.base.digest import Domain

LEAVES = 32
"""Of a segment: more than one auditor may be asked about one, and no two about the same leaf."""
PER_LEAF = 128
LEAF_BYTES = PER_LEAF // 2
SEGMENT_BYTES = LEAVES * LEAF_BYTES
LEVELS = 15
"""A residue is 0 .. 14, on a circle."""
VOID = 15
"""The value hardly changed in this segment: whoever has the snapshots could guess its residue."""
PATH = (limits.SEGMENTS * LEAVES - 1).bit_length()
"""Most siblings of a leaf."""

LeafIndex = Annotated[int, Meta(ge=0, lt=LEAVES)]
Leaf = Annotated[bytes, Meta(min_length=LEAF_BYTES, max_length=LEAF_BYTES)]
Sketch = Annotated[bytes, Meta(max_length=LEAF_BYTES)]
"""An auditor's own leaf; empty where it recomputed nothing."""
Siblings = Annotated[tuple[Hash, ...], Meta(max_length=PATH)]


def leaves_of(residues: bytes) -> list[bytes]:
    return [residues[at : at + LEAF_BYTES] for at in range(0, len(residues), LEAF_BYTES)]


def leaf_number(segment: int, leaf: int) -> int:
    """Place of a leaf of *segment* (1 .. S) in its unit's tree."""
    return (segment - 1) * LEAVES + leaf


def residue_root(residues: bytes) -> bytes:
    """What a trainer binds itself to: the root over all leaves of a unit."""
    return merkle.root(Domain.RESIDUES, leaves_of(residues))


def leaf_path(residues: bytes, number: int) -> tuple[bytes, ...]:
    return tuple(merkle.prove(Domain.RESIDUES, leaves_of(residues), number))


def leaf_holds(root: bytes, leaf: bytes, siblings: Sequence[bytes], *, number: int, segments: int) -> bool:
    """Whether *leaf* is number *number* of the tree under *root* of a unit of *segments* segments."""
    return merkle.verify(
        Domain.RESIDUES, expected_root=root, item=leaf, index=number, count=segments * LEAVES, siblings=siblings
    )


def levels(leaf: bytes) -> list[int]:
    """The residues of a leaf, one by one."""
    return [half for byte in leaf for half in (byte & 15, byte >> 4)]
