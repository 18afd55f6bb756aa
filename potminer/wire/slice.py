"""A slice of a model: some of its elements, in whole blocks, and where they lie in an update's bytes.

A round whose updates are together too much for one validator is aggregated in slices. Rules that work on every
element by itself make a slice of the next model from the same slice of the base and of every update. Centred clipping
needs the **lengths** of all slices as well: the square of the distance of every bucket of updates from the middle on
one slice, exactly, as big-endian integers in ``LENGTH_UNIT``.
"""

from __future__ import annotations

from potminer.base.blobs import piece_count
from potminer.wire.model import parameter_count
from potminer.wire.task import (
    BLOCK,
    Clipped,
    TaskSpec,
    bits_of,
    carries,
    coded_bytes,
    kept_beside,
    model_bytes,
    snapshot_codings,
    snapshot_size,
)

Span = tuple[int, int]
"""First, and first no more."""
_TAG: Span = (0, 32)
LENGTH_BYTES = 56
"""A bucket's square of a distance: 52 bits of a block's sum, 332 of exponents, and room for 2**64 blocks."""
LENGTH_UNIT = -256
"""The power of two that lengths are counted in: the least square that a block can have."""


def slice_count(spec: TaskSpec, *, units: int, members: int, whole_bytes: int) -> int:
    """Into how many slices a round of *units* is cut for a committee of *members*; 1 where everybody has everything.

    A slice is fetched in pieces of the update's blob, so there are no more slices than pieces. What is no larger than
    *whole_bytes* or two models is not cut: its parts would travel instead, four bytes a number, where an update has
    one or less. *whole_bytes* 0 cuts whatever can be.
    """
    size = snapshot_size(spec, spec.segments)
    whole = whole_bytes and max(whole_bytes, 2 * model_bytes(spec))
    if units * size <= whole:
        return 1
    return min(members, piece_count(size))


def is_measured(spec: TaskSpec) -> bool:
    """Whether a slice needs the lengths of all of them first."""
    return isinstance(spec.aggregation, Clipped)


def lengths_size(spec: TaskSpec, units: int) -> int:
    """Bytes of the lengths on one slice of as many updates; 0 where the rule needs none."""
    rule = spec.aggregation
    return -(-units // rule.bucket) * LENGTH_BYTES if isinstance(rule, Clipped) else 0


def slice_span(spec: TaskSpec, index: int, of: int) -> Span:
    """The elements of slice *index* of *of*."""
    count = parameter_count(spec.model)
    blocks = -(-count // BLOCK)
    first, last = index * blocks // of, (index + 1) * blocks // of
    return first * BLOCK, min(last * BLOCK, count)


def excerpt_ranges(spec: TaskSpec, index: int, of: int) -> tuple[Span, ...]:
    """The bytes of an update that slice *index* is made of: its tag, exponents, integers and the carried moment."""
    coding, count = snapshot_codings(spec, spec.segments)[0], parameter_count(spec.model)
    first, last = slice_span(spec, index, of)
    exponents = _TAG[1] + 2 * (first // BLOCK), _TAG[1] + 2 * -(-last // BLOCK)
    integers = _TAG[1] + 2 * -(-count // BLOCK)
    bits, moment = bits_of(coding), _TAG[1] + coded_bytes(coding, count)
    found = _TAG, exponents, (integers + first * bits // 8, integers + -(-last * bits // 8))
    return (*found, (moment + 2 * first, moment + 2 * last)) if carries(spec) else found


def excerpt_size(spec: TaskSpec, index: int, of: int) -> int:
    return sum(last - first for first, last in excerpt_ranges(spec, index, of))


def part_size(spec: TaskSpec, index: int, of: int) -> int:
    """Bytes of a slice of a model: float32 weights and what is kept beside them."""
    first, last = slice_span(spec, index, of)
    return 4 * (last - first) * (1 + len(kept_beside(spec)))
