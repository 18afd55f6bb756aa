"""The bytes of every message, transaction, job and report, and every name built from them, as they always were."""

from __future__ import annotations

import json
from typing import get_args

import pytest
import wire_examples
from wire_examples import BODIES, GOLDEN, KEY, LOCAL, MESSAGES, MODELS, OTHERS, PIPE, SIGNED, SPEC

from potminer.base import limits
from potminer.wire import model, registry, seal, trainer, tx
from potminer.wire.codec import Wire, decode, encode

GOLD: dict[str, dict[str, str]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
FRESH = wire_examples.sections()


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section, vectors in FRESH.items() for name in vectors]
)
def test_bytes_are_the_golden_ones(section: str, name: str) -> None:
    assert name in GOLD.get(section, {}), f"no golden vector for {name}: run python tests/vectors/wire_examples.py"
    assert FRESH[section][name] == GOLD[section][name], f"the bytes of {name} changed: that splits the network"


def test_nothing_golden_was_dropped() -> None:
    assert {(s, n) for s, vectors in GOLD.items() for n in vectors} == {(s, n) for s, v in FRESH.items() for n in v}


@pytest.mark.parametrize(
    ("kinds", "examples"),
    [
        ({row.type for row in registry.REGISTRY}, MESSAGES),
        (set(get_args(tx.Body)), BODIES),
        (set(get_args(trainer.Job)) | set(get_args(trainer.Report)), PIPE),
    ],
    ids=["messages", "transactions", "pipe"],
)
def test_every_kind_has_one_example(kinds: set[type[Wire]], examples: tuple[Wire, ...]) -> None:
    shown = [type(example) for example in examples]
    missing = sorted(kind.__name__ for kind in kinds - set(shown))
    assert not missing, f"no example in tests/vectors/wire_examples.py for {missing}"
    assert len(shown) == len(set(shown)) == len(kinds)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_golden_messages_are_read_back(message: Wire) -> None:
    row, _ = registry.pack(message)
    assert registry.unpack(row.number, bytes.fromhex(GOLD["messages"][f"{row.number} {row.type.__name__}"])) == message


@pytest.mark.parametrize("body", BODIES, ids=lambda b: type(b).__name__)
def test_golden_transactions_are_read_back(body: Wire) -> None:
    raw = bytes.fromhex(GOLD["transactions"][type(body).__name__])
    assert decode(tx.Body, raw, max_bytes=limits.TRANSACTION_BYTES) == body  # type: ignore[arg-type]


@pytest.mark.parametrize("word", PIPE, ids=lambda p: type(p).__name__)
def test_golden_jobs_and_reports_are_read_back(word: Wire) -> None:
    raw = bytes.fromhex(GOLD["pipe"][type(word).__name__])
    kind = trainer.Job if isinstance(word, get_args(trainer.Job)) else trainer.Report
    assert decode(kind, raw, max_bytes=trainer.PIPE_BYTES) == word  # type: ignore[arg-type]


@pytest.mark.parametrize("other", OTHERS, ids=lambda o: type(o).__name__)
def test_other_golden_values_are_read_back(other: Wire) -> None:
    raw = bytes.fromhex(GOLD["others"][type(other).__name__])
    assert decode(type(other), raw, max_bytes=limits.TRANSACTION_BYTES) == other


def test_the_golden_signature_holds_for_its_own_purpose_only() -> None:
    assert tx.signature_holds(SIGNED)
    digest = tx.transaction_digest(SIGNED.transaction)
    for purpose in seal.Purpose:
        said = seal.statement(purpose, chain=SIGNED.transaction.chain, signer=KEY.public, digest=digest)
        assert seal.verify(KEY.public, said, SIGNED.signature) == (purpose == seal.Purpose.TRANSACTION)


def test_a_statement_has_a_fixed_width() -> None:
    assert len(bytes.fromhex(GOLD["digests"]["statement"])) == 133


def test_every_model_fits_a_task_and_a_task_fits_its_limit() -> None:
    assert {type(one) for one in (SPEC.model, *MODELS)} == set(get_args(model.ModelSpec))
    for one in (SPEC.model, *MODELS):
        assert decode(model.ModelSpec, encode(one), max_bytes=limits.TASK_BYTES) == one  # type: ignore[arg-type]
    for spec in (SPEC, LOCAL):
        assert len(encode(spec)) < limits.TASK_BYTES
