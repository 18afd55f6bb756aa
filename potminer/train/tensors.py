"""safetensors files: written canonically, read with every claim checked.

The format is eight little-endian bytes of header length, a JSON header, then the tensors.
We write it ourselves because a model's file name is consensus: the same numbers must give
the same bytes under every version of every library. The bytes are those that
``safetensors.numpy.save`` writes today: no metadata, wider types first, then by name, the
header padded with spaces to eight bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from potminer.base.errors import Malformed

HEADER_BYTES = 1_048_576
DTYPES: Mapping[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "U8": np.dtype("u1")}
_CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where one tensor lies: *start* and *stop* count bytes from the file's beginning."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    stop: int


def header(layout: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> bytes:
    """The canonical first bytes of a file that holds *layout*."""
    entries: dict[str, object] = {}
    at = 0
    for name, (dtype, shape) in sorted(layout.items(), key=lambda item: (-item[1][0].itemsize, item[0])):
        end = at + dtype.itemsize * math.prod(shape)
        entries[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def encode(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """One canonical file of float32, int64 and uint8 arrays."""
    plain = {name: np.ascontiguousarray(a, a.dtype.newbyteorder("<")) for name, a in arrays.items()}
    order = sorted(plain.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    return header({n: (a.dtype, a.shape) for n, a in plain.items()}) + b"".join(a.tobytes() for _, a in order)


def parse_header(head: bytes, *, file_bytes: int) -> dict[str, Tensor]:
    """Where the tensors of a file lie. *head* is its beginning, up to HEADER_BYTES + 8.

    Malformed unless every tensor has a known type and lies inside the file with exactly the bytes its shape needs.
    """
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or length > HEADER_BYTES or len(head) < 8 + length:
        raise Malformed("not a safetensors file: its header is cut off or too long")
    try:
        entries = json.loads(head[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise Malformed("not a safetensors file: its header is no JSON") from error
    if not isinstance(entries, dict):
        raise Malformed("not a safetensors file: its header is no object")
    data = 8 + length
    return {n: _tensor(n, e, data, file_bytes) for n, e in entries.items() if n != "__metadata__"}


def _tensor(name: str, entry: object, data: int, file_bytes: int) -> Tensor:
    label = name[:64]
    if not isinstance(entry, dict) or not _is_sizes(entry.get("shape")) or not _is_sizes(entry.get("data_offsets")):
        raise Malformed(f"tensor {label!r} lacks a type, a shape or its place")
    dtype, shape, offsets = DTYPES.get(str(entry.get("dtype"))), tuple(entry["shape"]), entry["data_offsets"]
    if dtype is None:
        raise Malformed(f"tensor {label!r} is neither float32 nor int64 nor uint8")
    if len(offsets) != 2 or offsets[1] - offsets[0] != dtype.itemsize * math.prod(shape):
        raise Malformed(f"tensor {label!r} has a shape of another size than its bytes")
    if data + offsets[1] > file_bytes:
        raise Malformed(f"tensor {label!r} reaches beyond the file's end")
    return Tensor(dtype, shape, data + offsets[0], data + offsets[1])


def _is_sizes(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 8 and all(type(n) is int and 0 <= n < 2**53 for n in value)
