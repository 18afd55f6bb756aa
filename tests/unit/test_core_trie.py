"""The state trie against a dict: the same content has the same root whatever the way there, and no proof lies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from potminer.base.digest import Domain, digest
from potminer.core import trie
from potminer.wire.proof import StateProof

KEYS = st.binary(max_size=3)
CHANGES = st.lists(st.tuples(KEYS, st.none() | st.binary(max_size=4)), max_size=40)


def grown(model: dict[bytes, bytes]) -> trie.Node:
    """The trie built in one go."""
    return trie.update(None, list(model.items()))


def height(node: trie.Node) -> int:
    return 1 + max(height(node.left), height(node.right)) if isinstance(node, trie.Branch) else 0


@given(CHANGES, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_any_way_to_the_same_content_gives_the_same_root(changes: list[tuple[bytes, bytes | None]], random) -> None:  # type: ignore[no-untyped-def]
    model: dict[bytes, bytes] = {}
    for key, value in changes:
        model.pop(key, None)
        if value is not None:
            model[key] = value
    node: trie.Node = None
    rest = list(changes)
    while rest:
        size = random.randint(1, len(rest))
        batch, rest = rest[:size], rest[size:]
        node = trie.update(node, batch)
    assert trie.root(node) == trie.root(grown(model))
    assert dict(trie.items(node)) == model
    shuffled = list(model.items())
    random.shuffle(shuffled)
    one_by_one: trie.Node = None
    for change in shuffled:
        one_by_one = trie.update(one_by_one, [change])
    assert trie.root(one_by_one) == trie.root(node)
    assert all(trie.get(node, key) == model.get(key) for key in {key for key, _ in changes} | {b"other"})


@given(st.dictionaries(KEYS, st.binary(max_size=4), max_size=30), st.lists(KEYS, max_size=30))
@settings(max_examples=100, deadline=None)
def test_taking_away_what_was_added_leaves_no_trace(model: dict[bytes, bytes], added: list[bytes]) -> None:
    before = grown(model)
    extra = [key for key in added if key not in model]
    after = trie.update(trie.update(before, [(key, b"x") for key in extra]), [(key, None) for key in extra])
    assert trie.root(after) == trie.root(before)
    assert height(after) == height(before), "a branch above one leaf would be another shape of the same content"


@given(st.dictionaries(KEYS, st.binary(max_size=4), max_size=30), KEYS)
@settings(max_examples=200, deadline=None)
def test_a_proof_shows_what_a_key_has_and_nothing_else(model: dict[bytes, bytes], key: bytes) -> None:
    node = grown(model)
    root, proof, value = trie.root(node), trie.prove(node, key), model.get(key)
    assert trie.verify(root, key, value, proof)
    assert not trie.verify(root, key, b"another value", proof)
    if value is not None:
        assert not trie.verify(root, key, None, proof), "present is not absent"
    assert not trie.verify(digest(Domain.STATE_NODE, b"other"), key, value, proof)


@given(st.dictionaries(KEYS, st.binary(max_size=4), min_size=2, max_size=30), KEYS, st.data())
@settings(max_examples=200, deadline=None)
def test_a_changed_proof_is_refused(model: dict[bytes, bytes], key: bytes, data: st.DataObject) -> None:
    node = grown(model)
    root, proof, value = trie.root(node), trie.prove(node, key), model.get(key)
    forgeries = [
        replace(proof, siblings=(*proof.siblings, digest(Domain.STATE_NODE, b"more"))),
        replace(proof, siblings=proof.siblings[:-1]),
        replace(proof, siblings=proof.siblings[1:]),
        replace(proof, end=(key + b"!", b"x")),
        replace(proof, end=None) if proof.end is not None else replace(proof, end=(key, b"")),
    ]
    if proof.end is not None:
        forgeries.append(replace(proof, end=(proof.end[0], proof.end[1] + b"!")))
    at = data.draw(st.integers(0, len(proof.siblings) - 1))
    bent = list(proof.siblings)
    bent[at] = bytes([bent[at][0] ^ 1]) + bent[at][1:]
    forgeries.append(replace(proof, siblings=tuple(bent)))
    if len(set(proof.siblings)) > 1:
        forgeries.append(replace(proof, siblings=proof.siblings[::-1]))
    forgeries = [forged for forged in forgeries if forged != proof]
    assert not any(trie.verify(root, key, claim, forged) for forged in forgeries for claim in (value, None, b"x"))


def test_one_keys_proof_says_nothing_of_another() -> None:
    model = {bytes([i]): b"v" for i in range(50)}
    node = grown(model)
    for key in model:
        proof = trie.prove(node, key)
        assert not any(trie.verify(trie.root(node), other, b"v", proof) for other in model if other != key)
        assert not any(trie.verify(trie.root(node), other, None, proof) for other in model if other != key)


def test_a_leaf_is_no_branch_and_nothing_is_no_leaf() -> None:
    """Every node of the way offered as the end of a shorter proof."""
    node = grown({bytes([i]): b"v" for i in range(20)})
    key = bytes([3])
    proof = trie.prove(node, key)
    for depth in range(len(proof.siblings)):
        for end in (None, (b"absent", b""), (key, b"v")):
            shorter = StateProof(proof.siblings[:depth], end)
            assert not trie.verify(trie.root(node), key, None, shorter)
            assert not trie.verify(trie.root(node), key, b"v", shorter)


def test_the_empty_trie_proves_absence() -> None:
    proof = trie.prove(None, b"k")
    assert trie.verify(trie.root(None), b"k", None, proof)
    assert not trie.verify(trie.root(None), b"k", b"", proof)


@pytest.mark.parametrize("depth", [256, 257, 100_000])
def test_an_endless_proof_is_refused_without_a_crash(depth: int) -> None:
    assert not trie.verify(trie.root(None), b"k", None, StateProof((b"\0" * 32,) * depth, None))
