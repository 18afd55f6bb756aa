"""One topic's mesh: filled, cut, polite about backoffs."""

from __future__ import annotations

from potminer.base.draw import words
from potminer.core.gossip.mesh import BACKOFF_CAP_MS, Mesh
from potminer.core.gossip.parameters import Parameters
from potminer.core.machine import Send
from potminer.wire.gossip import Graft, Prune, Topic

PARAMETERS = Parameters()
TOPIC = Topic.TRANSACTION


def spotless(_: bytes) -> int:
    return 0


def peers(count: int, *, outbound: int = 0) -> dict[bytes, bool]:
    return {bytes([n]) * 32: n < outbound for n in range(count)}


def mesh(seed: bytes = b"seed") -> Mesh:
    return Mesh(TOPIC, PARAMETERS, words(seed))


def test_an_empty_mesh_is_filled_to_its_degree() -> None:
    it = mesh()
    effects = it.beat(peers(20), spotless, 0)
    assert len(it.members) == 8
    assert effects == [Send(peer, Graft(TOPIC)) for peer in it.members]
    assert it.beat(peers(20), spotless, 700) == []


def test_the_same_seed_draws_the_same_mesh() -> None:
    one, two, other = mesh(), mesh(), mesh(b"other")
    for it in (one, two, other):
        it.beat(peers(30), spotless, 0)
    assert list(one.members) == list(two.members) != list(other.members)


def test_a_small_network_is_all_mesh() -> None:
    it = mesh()
    it.beat(peers(3), spotless, 0)
    assert set(it.members) == set(peers(3))


def test_above_high_the_thirteenth_is_refused() -> None:
    it = mesh()
    known = peers(13)
    answers = [effect for peer in known for effect in it.asked_in(peer, spotless, 0, outbound=False)]
    assert len(it.members) == 12
    assert answers == [Send(bytes([12]) * 32, Prune(TOPIC, PARAMETERS.backoff_ms))]


def test_a_full_mesh_takes_those_we_dialled_and_is_cut_around_them() -> None:
    it = mesh()
    known = peers(15, outbound=3)
    for peer in sorted(known, key=known.__getitem__):
        assert it.asked_in(peer, spotless, 0, outbound=known[peer]) == []
    assert len(it.members) == 15
    cut = it.beat(known, spotless, 700)
    assert len(it.members) == 8
    assert len(cut) == 7
    assert all(peer in it.members for peer in known if known[peer])


def test_bad_standing_leaves_the_mesh_and_does_not_come_back() -> None:
    it = mesh()
    it.beat(peers(8), spotless, 0)
    bad = bytes([3]) * 32

    def score(peer: bytes) -> int:
        return -1 if peer == bad else 0

    assert it.beat(peers(8), score, 700) == [Send(bad, Prune(TOPIC, PARAMETERS.backoff_ms))]
    assert bad not in it.members
    assert isinstance(it.asked_in(bad, score, 800, outbound=False)[0].message, Prune)


def test_a_pruned_peer_is_left_alone_until_its_backoff_ends() -> None:
    it = mesh()
    it.beat(peers(1), spotless, 0)
    lone = bytes(32)
    it.asked_out(lone, 60_000, 1_000)
    assert it.beat(peers(1), spotless, 60_999) == []
    assert it.beat(peers(1), spotless, 61_000) == [Send(lone, Graft(TOPIC))]


def test_grafting_within_a_backoff_is_answered_by_prune_even_after_reconnecting() -> None:
    it = mesh()
    lone = bytes(32)
    it.asked_out(lone, 60_000, 0)
    it.gone(lone)
    assert isinstance(it.asked_in(lone, spotless, 10, outbound=False)[0].message, Prune)


def test_nobody_can_ask_us_away_for_longer_than_an_hour() -> None:
    it = mesh()
    it.asked_out(bytes(32), 2**32 - 1, 0)
    assert it.beat(peers(1), spotless, BACKOFF_CAP_MS) == [Send(bytes(32), Graft(TOPIC))]
