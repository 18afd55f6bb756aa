"""Random values of any wire type, read off the type itself: a new kind is tested without a new line here."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

SHORT = 3
"""Longest random tuple: the shape matters, the length does not."""


@cache
def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a wire type or of a union of wire types."""
    return _strategy(inspect.type_info(kind))


def _strategy(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.StructType():
            return st.builds(info.cls, *[_strategy(field.type) for field in info.fields])
        case inspect.UnionType():
            return st.one_of([_strategy(each) for each in info.types])
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.EnumType():
            return st.sampled_from(list(info.cls))
        case inspect.LiteralType():
            return st.sampled_from(list(info.values))
        case inspect.IntType():
            return _integers(info)
        case inspect.BytesType():
            low = info.min_length or 0
            return st.binary(min_size=low, max_size=max(low, min(info.max_length or 40, 40)))
        case inspect.StrType():
            return _texts(info)
        case inspect.TupleType():
            return st.tuples(*[_strategy(each) for each in info.item_types])
        case inspect.VarTupleType():
            return _tuples(info)
    raise AssertionError(f"no strategy for {info}: a wire type uses something new")


def _integers(info: inspect.IntType) -> st.SearchStrategy[int]:
    low = info.ge if info.ge is not None else 0
    high = info.le if info.le is not None else info.lt - 1 if info.lt is not None else None
    assert high is not None, "an integer on the wire has an upper bound"
    edges = sorted({int(low), int(high), *(v for v in (127, 128, 255, 256, 2**16, 2**32) if low <= v <= high)})
    return st.sampled_from(edges) | st.integers(min_value=int(low), max_value=int(high))


def _texts(info: inspect.StrType) -> st.SearchStrategy[str]:
    low, high = info.min_length or 0, info.max_length
    assert high is not None, "text on the wire has an upper bound"
    if info.pattern is None:
        return st.text(min_size=low, max_size=min(high, 20))
    return st.from_regex(re.compile(info.pattern)).filter(lambda text: low <= len(text) <= high)


def _tuples(info: inspect.VarTupleType) -> st.SearchStrategy[tuple[Any, ...]]:
    assert info.max_length is not None, "a list on the wire has an upper bound"
    low = info.min_length or 0
    items = st.lists(_strategy(info.item_type), min_size=low, max_size=min(max(SHORT, low), info.max_length))
    return items.map(tuple)
