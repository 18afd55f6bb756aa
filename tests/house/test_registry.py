"""A kind of message is one type, one row, one golden vector and one line of the specification."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from potminer.wire import registry, seal, tx
from potminer.wire.codec import Wire

ROOT = Path(__file__).parents[2]
SPEC = (ROOT / "docs/spec/wire.md").read_text(encoding="utf-8")
GOLD: dict[str, dict[str, str]] = json.loads((ROOT / "tests/vectors/golden.json").read_text(encoding="utf-8"))


def table(section: str) -> dict[str, list[str]]:
    """Rows of the first table under *section* of the specification, by their second cell."""
    text = SPEC.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {row[1].strip("`"): row for row in rows[2:]}


MESSAGES, TRANSACTIONS, PURPOSES = table("Messages"), table("Transactions"), table("Signatures")


@pytest.mark.parametrize("row", registry.REGISTRY, ids=lambda row: row.type.__name__)
def test_a_row_has_a_golden_vector_and_a_line_in_the_specification(row: registry.Row) -> None:
    name = row.type.__name__
    assert f"{row.number} {name}" in GOLD["messages"], f"{name} has no golden vector"
    assert name in MESSAGES, f"{name} has no line in docs/spec/wire.md"
    written = MESSAGES[name][:1] + MESSAGES[name][2:6]
    limits = [f"{row.max_bytes:,}", f"{row.per_minute:,}"]
    assert written == [str(row.number), row.channel.name.lower(), *limits, row.speaker.name.lower()]
    assert len(MESSAGES[name][6]) > 10, f"docs/spec/wire.md does not say what {name} means"


def test_the_specification_describes_no_message_that_does_not_exist() -> None:
    assert set(MESSAGES) == {row.type.__name__ for row in registry.REGISTRY}


def test_numbers_and_types_are_used_once() -> None:
    numbers = [row.number for row in registry.REGISTRY]
    assert numbers == sorted(set(numbers))
    assert len({row.type for row in registry.REGISTRY}) == len(numbers)
    assert all(0 < number < 256 for number in numbers)


@pytest.mark.parametrize("body", get_args(tx.Body), ids=lambda body: body.__name__)
def test_a_transaction_has_a_golden_vector_and_a_line_in_the_specification(body: type[Wire]) -> None:
    assert body.__name__ in GOLD["transactions"]
    assert body.__name__ in TRANSACTIONS, f"{body.__name__} has no line in docs/spec/wire.md"
    assert TRANSACTIONS[body.__name__][0] == str(body.__struct_config__.tag)


def test_every_purpose_of_a_signature_is_specified() -> None:
    written = {name: int(row[0]) for name, row in PURPOSES.items()}
    assert written == {purpose.name: purpose.value for purpose in seal.Purpose}


def test_every_wire_type_is_frozen_and_forbids_extra_fields() -> None:
    kinds = list(Wire.__subclasses__())
    assert len(kinds) > 40
    for kind in kinds:
        config = kind.__struct_config__
        assert (config.frozen, config.array_like, config.forbid_unknown_fields) == (True, True, True), kind.__name__


def test_the_limits_named_in_the_specification_are_the_code_s() -> None:
    from potminer.base import limits

    named = re.findall(r"`limits\.([A-Z_]+)` = ([\d,]+)", SPEC)
    assert len(named) > 5
    assert {name: int(value.replace(",", "")) for name, value in named} == {
        name: getattr(limits, name) for name, _ in named
    }
