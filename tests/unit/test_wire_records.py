"""Every record at its extreme fits where a proof, a chunk of a snapshot and their messages hold it whole."""

from __future__ import annotations

import pytest
from msgspec import inspect

from potminer.base import limits
from potminer.core import chunks, trie
from potminer.wire import record as records
from potminer.wire.codec import decode, encode
from potminer.wire.leap import Chunk
from potminer.wire.proof import VALUE_BYTES
from potminer.wire.record import Attestation, Audit, Outcome, Phase, RoundRecord
from potminer.wire.registry import pack
from potminer.wire.residue import LEAVES

KEY = b"\xff" * 32
TEXT_HEAD = 5
"""The most that tells the length of bytes, a text or an array."""


def most_bytes(kind: inspect.Type) -> int:
    """What a value of *kind* takes at the most; fails where nothing bounds it."""
    match kind:
        case inspect.IntType():
            return 9
        case inspect.BoolType() | inspect.NoneType():
            return 1
        case inspect.BytesType() | inspect.StrType():
            assert kind.max_length is not None, "unbounded"
            return TEXT_HEAD + kind.max_length * (4 if isinstance(kind, inspect.StrType) else 1)
        case inspect.EnumType():
            return max(len(encode_enum(each.value)) for each in kind.cls)
        case inspect.UnionType():
            return max(most_bytes(each) for each in kind.types)
        case inspect.Metadata():
            return most_bytes(kind.type)
        case inspect.TupleType():
            return TEXT_HEAD + sum(most_bytes(each) for each in kind.item_types)
        case inspect.VarTupleType():
            assert kind.max_length is not None, "unbounded"
            return TEXT_HEAD + kind.max_length * most_bytes(kind.item_type)
        case inspect.StructType():
            return 2 * TEXT_HEAD + sum(most_bytes(field.type) for field in kind.fields)
    raise AssertionError(kind)


def encode_enum(value: object) -> bytes:
    return bytes(9) if isinstance(value, int) else bytes(TEXT_HEAD) + str(value).encode()


@pytest.mark.parametrize("letter", [letter for letter in records.RECORD_TYPES if letter != b"r"])
def test_no_record_can_be_larger_than_a_value(letter: bytes) -> None:
    kind = inspect.type_info(records.RECORD_TYPES[letter])
    if letter == b"k":
        (spec,) = (field for field in kind.fields if field.name == "spec")  # type: ignore[attr-defined]
        rest = sum(most_bytes(field.type) for field in kind.fields if field is not spec)  # type: ignore[attr-defined]
        assert rest + limits.TRANSACTION_BYTES < VALUE_BYTES, "a specification came in a transaction"
    else:
        assert most_bytes(kind) < VALUE_BYTES


def test_the_largest_round_fits_into_a_value_a_chunk_and_its_message() -> None:
    last, segment = limits.UNITS_PER_ROUND - 1, limits.SEGMENTS
    longest = max(Outcome, key=len)
    slots = tuple(range(60_000, 60_000 + limits.UNITS_PER_ROUND))
    record = RoundRecord(
        2**32 - 1, 2**32 - 1, KEY, KEY, Phase.AGGREGATE, 2**63 - 1, 2**63 - 1, (KEY,) * limits.UNITS_PER_ROUND,
        (KEY,) * limits.COMMITTEE, (Audit(last, segment, KEY, LEAVES - 1, True, longest),) * limits.AUDITS_PER_ROUND,
        (Attestation(KEY, KEY, slots),) * limits.COMMITTEE, limits.COMMITTEE,
    )  # fmt: skip
    value, key = encode(record), records.round_key(KEY, 1)
    assert 1_900_000 < len(value) <= VALUE_BYTES
    assert decode(RoundRecord, value, max_bytes=VALUE_BYTES) == record
    tree = trie.update(None, [(key, value), (records.account_key(KEY), b"x" * 40)])
    bodies = [chunks.items_of(node) for _, node in chunks.cut(tree)]
    assert ((key, value),) in bodies
    for items in bodies:
        pack(Chunk(2**63 - 1, 2**16 - 1, items))
