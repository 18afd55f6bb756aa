"""Snapshots: the running state of a unit as exact integers, and their bytes.

A state is a few flat float32 vectors: the update so far and, between the segments of a ``local`` unit, the
inner optimiser's moments (AdamW's second before its first). A snapshot holds each as a ``grid`` or as ``half``
floats, one after the other behind a 32-byte tag that names unit and segment. The last snapshot of a unit is its
payload: the update in as many bits as the task's compression says, and the second moment where the task carries it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from potminer.base.errors import Malformed
from potminer.train.grid import Grid, decode_grid, encode_grid, snap_grid
from potminer.train.half import Half, decode_half, snap_half
from potminer.train.weights import Floats
from potminer.wire.model import parameter_count
from potminer.wire.task import (
    Coding,
    TaskSpec,
    Unit,
    bits_of,
    coded_bytes,
    snapshot_codings,
    snapshot_size,
    snapshot_tag,
    state_codings,
)

State = tuple[Floats, ...]
"""The update, then the moments of the inner optimiser; each [n]."""
_TAG = 32


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    vectors: tuple[Grid | Half, ...]

    def values(self) -> State:
        return tuple(vector.values() for vector in self.vectors)

    @property
    def update(self) -> Grid:
        update = self.vectors[0]
        if not isinstance(update, Grid):
            raise AssertionError("an update is always a grid")
        return update

    @property
    def moment(self) -> Half:
        """The carried second moment of a payload that has one."""
        moment = self.vectors[1]
        if not isinstance(moment, Half):
            raise AssertionError("a moment is always half floats")
        return moment


def nothing_yet(spec: TaskSpec) -> State:
    """The state of a unit that begins with zeros."""
    return tuple(np.zeros(parameter_count(spec.model), np.float32) for _ in state_codings(spec))


def snap(state: State, *, spec: TaskSpec, unit: Unit, segment: int) -> Snapshot:
    """The snapshot of *state* after *segment*; Refused as diverged where it has none."""
    codings = snapshot_codings(spec, segment)
    if len(state) < len(codings):
        raise AssertionError(f"{len(state)} vectors where {len(codings)} are snapped")
    pairs = enumerate(zip(codings, state, strict=False))
    return Snapshot(tuple(_snap(values, coding, unit, segment, at) for at, (coding, values) in pairs))


def _snap(values: Floats, coding: Coding, unit: Unit, segment: int, vector: int) -> Grid | Half:
    if coding == Coding.HALF:
        return snap_half(values, unit=unit, segment=segment, vector=vector)
    return snap_grid(values, unit=unit, segment=segment, bits=bits_of(coding), vector=vector)


def encode_snapshot(snapshot: Snapshot, *, unit: Unit, segment: int) -> bytes:
    vectors = (_encode(vector) for vector in snapshot.vectors)
    return snapshot_tag(unit, segment) + b"".join(vectors)


def _encode(vector: Grid | Half) -> bytes:
    return encode_grid(vector) if isinstance(vector, Grid) else vector.levels.astype("<u2").tobytes()


def decode_snapshot(data: bytes, *, spec: TaskSpec, unit: Unit, segment: int) -> Snapshot:
    """The snapshot that *data* is, made by *unit* at *segment*; Malformed otherwise."""
    if len(data) != snapshot_size(spec, segment):
        raise Malformed(f"a snapshot of {len(data)} bytes where {snapshot_size(spec, segment)} are needed")
    return _decoded(data, spec=spec, unit=unit, segment=segment, count=parameter_count(spec.model))


def decode_excerpt(data: bytes, *, spec: TaskSpec, unit: Unit, count: int) -> Snapshot:
    """*count* elements of a payload from a block's beginning on; *data* has as many bytes as ``wire.slice`` says.
    Malformed otherwise."""
    return _decoded(data, spec=spec, unit=unit, segment=spec.segments, count=count)


def _decoded(data: bytes, *, spec: TaskSpec, unit: Unit, segment: int, count: int) -> Snapshot:
    if data[:_TAG] != snapshot_tag(unit, segment):
        raise Malformed("the snapshot of another unit or segment")
    at, vectors = _TAG, []
    for coding in snapshot_codings(spec, segment):
        end = at + coded_bytes(coding, count)
        vectors.append(_decode(data[at:end], coding, count))
        at = end
    if len(vectors) > 1 and isinstance(vectors[1], Half) and bool(np.any(vectors[1].levels >> 15)):
        raise Malformed("a second moment, a mean of squares, is below zero")
    return Snapshot(tuple(vectors))


def _decode(data: bytes, coding: Coding, count: int) -> Grid | Half:
    return decode_half(data) if coding == Coding.HALF else decode_grid(data, count=count, bits=bits_of(coding))
