"""Canonical bytes: one value, one encoding.

MessagePack arrays by msgspec. Its decoder accepts more than its encoder writes (padded
integers, for example), so everything decoded is encoded again and compared: two byte
strings never mean the same value, and a digest of bytes is a digest of the value.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from potminer.base.errors import Malformed

T = TypeVar("T")

_ENCODER = msgspec.msgpack.Encoder()


class Wire(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Base of every type on the wire: frozen, encoded as an array, nothing extra accepted.

    Values of it are trees and never change, so no cycle can form and the garbage collector need not walk
    through tens of thousands of them.
    """


def encode(value: object) -> bytes:
    return _ENCODER.encode(value)


@lru_cache(maxsize=256)
def _decoder(kind: Hashable) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(kind)


def decode(kind: type[T], data: bytes | memoryview, *, max_bytes: int) -> T:
    """The value of *kind* that *data* canonically encodes; Malformed otherwise.

    The size is checked before anything is parsed.
    """
    if len(data) > max_bytes:
        raise Malformed(f"{len(data)} bytes where at most {max_bytes} are allowed")
    try:
        value: T = _decoder(cast(Hashable, kind)).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
    if _ENCODER.encode(value) != bytes(data):
        raise Malformed("not the canonical encoding")
    return value
