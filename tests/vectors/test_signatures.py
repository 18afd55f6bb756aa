"""Which signatures hold is a protocol constant: libsodium's acceptance set, pinned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from potminer.base.digest import Domain, digest
from potminer.wire.seal import SigningKey, verify

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"

CCTV_ACCEPTED = "5ffe8325c8b8090030fdd85ac3374d799072acde01e97daf2087c94a1a58aaad"
"""Digest over the numbers of the accepted cases, in order."""


def load(name: str) -> Any:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the project")
    return json.loads(path.read_text())


def test_the_edge_cases_of_cctv_that_hold() -> None:
    cases = load("cctv-ed25519.json")
    accepted = [
        case["number"]
        for case in cases
        if verify(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
    ]
    assert len(cases) == 914
    assert len(accepted) == 43
    assert digest(Domain.MESSAGE, json.dumps(accepted).encode()).hex() == CCTV_ACCEPTED


def test_ed25519_of_wycheproof() -> None:
    for group in load("wycheproof-ed25519.json")["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            holds = verify(key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert holds == (case["result"] == "valid"), case["tcId"]


def test_a_signature_of_another_length_never_holds() -> None:
    key = SigningKey(b"k" * 32)
    signature = key.sign(b"message")
    assert verify(key.public, b"message", signature)
    assert not verify(key.public, b"essage", signature + b"m")
    assert not verify(key.public, signature[63:] + b"message", signature[:63])
