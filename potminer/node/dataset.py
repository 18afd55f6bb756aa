"""What a safetensors file says of itself: names, types and shapes from its header, never its data."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from potminer.base import limits

HEADER_BYTES = 1_048_576
"""A header of two tensors is about 200 bytes."""
TENSORS = 4_096
DIMENSIONS = 8
_WIDTHS = {"F32": 4, "I64": 8, "F16": 2, "BF16": 2, "F64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True, slots=True)
class Tensor:
    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Tensor]:
    """Tensors of the file at *path*; ValueError says why it is no sound safetensors file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(HEADER_BYTES, size - 8):
                raise ValueError("is no safetensors file")
            header = file.read(length)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    if size > limits.BLOB_BYTES:
        raise ValueError(f"is larger than {limits.BLOB_BYTES:,} bytes")
    return _tensors(header, size - 8 - length)


def _tensors(header: bytes, room: int) -> dict[str, Tensor]:
    try:
        said = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ValueError("has a safetensors header that is no JSON") from error
    if not isinstance(said, dict) or len(said) > TENSORS:
        raise ValueError("has a safetensors header that is no table of tensors")
    spans: list[tuple[int, int]] = []
    tensors: dict[str, Tensor] = {}
    for name, entry in said.items():
        if name != "__metadata__":
            tensors[name], span = _tensor(name[:40], entry)
            spans.append(span)
    if sum(end - start for start, end in spans) != room or not _adjoin(spans):
        raise ValueError("is cut short or holds more than its header says")
    return tensors


def _tensor(name: str, entry: object) -> tuple[Tensor, tuple[int, int]]:
    fields = entry if isinstance(entry, dict) else {}
    dtype, shape, span = fields.get("dtype"), _counts(fields.get("shape")), _counts(fields.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or span is None or len(span) != 2:
        raise ValueError(f"does not describe its tensor {name!r} properly")
    if dtype not in _WIDTHS or math.prod(shape) * _WIDTHS[dtype] != span[1] - span[0]:
        raise ValueError(f"has a tensor {name!r} of an unknown type or of another size than its shape needs")
    return Tensor(dtype, shape), (span[0], span[1])


def _counts(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list) or len(value) > DIMENSIONS:
        return None
    return tuple(value) if all(type(each) is int and 0 <= each < 2**63 for each in value) else None


def _adjoin(spans: list[tuple[int, int]]) -> bool:
    """Whether the tensors lie one after the other from the first byte, without gap or overlap."""
    at = 0
    for start, end in sorted(spans):
        if start != at:
            return False
        at = end
    return True
