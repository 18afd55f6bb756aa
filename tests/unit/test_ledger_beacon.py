"""Chance: onions that answer like a list of layers, and draws that favour nobody."""

from __future__ import annotations

from collections import Counter

import pytest

from potminer.base import draw
from potminer.core.ledger.beacon import Onion, peel, stir
from potminer.wire.tx import Transfer
from tests.unit.ledger_world import World, blob, key


@pytest.mark.parametrize("layers", [1, 2, 511, 512, 513, 1_024, 1_300])
def test_an_onion_answers_like_a_list_of_all_its_layers(layers: int) -> None:
    naive = [blob("secret")]
    for _ in range(layers):
        naive.append(peel(naive[-1]))
    onion = Onion(blob("secret"), layers=layers)
    assert onion.outside == naive[-1]
    for index in range(layers, 0, -1 if layers < 3 else -37):
        assert onion.inside(naive[index]) == naive[index - 1]
    for index in sorted({1, 2, layers - 1, layers} & set(range(1, layers + 1))):
        assert onion.inside(naive[index]) == naive[index - 1]


def test_the_innermost_layer_is_the_last_to_be_shown() -> None:
    onion = Onion(blob("secret"), layers=600)
    assert onion.inside(peel(blob("secret"))) == blob("secret")
    assert onion.inside(blob("secret")) is None


def test_a_foreign_layer_has_nothing_inside() -> None:
    onion = Onion(blob("secret"), layers=600)
    assert onion.inside(blob("elsewhere")) is None
    assert onion.inside(Onion(blob("other"), layers=600).outside) is None
    assert onion.inside(peel(onion.outside)) is None, "outside the outermost there is nothing of ours"
    assert onion.inside(onion.outside) is not None
    assert onion.inside(peel(onion.outside)) is None, "also while the outermost layers are remembered"


def test_whoever_reveals_decides_nothing_but_the_next_value() -> None:
    values = {stir(blob("b"), blob(i)) for i in range(100)} | {stir(blob("c"), blob(i)) for i in range(100)}
    assert len(values) == 200
    assert stir(blob("b"), blob("c")) != stir(blob("c"), blob("b"))
    assert peel(blob("b")) != stir(blob("b"), b"")


def test_draws_favour_nobody_and_differ_by_label() -> None:
    stream = draw.words(blob("seed"), b"label")
    counts = Counter(draw.below(stream, 7) for _ in range(7_000))
    assert set(counts) == set(range(7))
    assert all(abs(count - 1_000) < 150 for count in counts.values()), "five sigma"
    first = [next(draw.words(blob("seed"), *labels)) for labels in ((), (b"a",), (b"b",), (b"a", b"b"), (b"ab",))]
    assert len(set(first)) == len(first)
    firsts = Counter(draw.shuffled(draw.words(blob(i)), range(4))[0] for i in range(2_000))
    assert all(abs(count - 500) < 100 for count in firsts.values())


def test_the_beacon_moves_with_every_block() -> None:
    seen = set()
    world = World()
    for _ in range(9):
        seen.add(world.state.head.beacon)
        world.step(("rich", Transfer(key("x").public, 1)))
    assert len(seen) == 9
