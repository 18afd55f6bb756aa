"""An item's way through one node: judged before forwarded, repaired, bounded."""

from __future__ import annotations

from potminer.core.gossip.events import (
    Ban,
    Deliver,
    Effect,
    Event,
    Follow,
    Offended,
    Publish,
    Seek,
    Started,
    Validate,
    Validated,
    Verdict,
)
from potminer.core.gossip.machine import FIRST_BEAT_MS, HEARTBEAT, Gossip
from potminer.core.gossip.parameters import Parameters
from potminer.core.gossip.spread import Cache, Held, Seen, batches
from potminer.core.machine import (
    MessageArrived,
    Offence,
    PeerDown,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.wire.codec import Wire
from potminer.wire.gossip import AddressesWanted, Have, Item, Prune, Push, Topic, Want, item_digest
from potminer.wire.registry import pack

CHAIN = bytes(32)
TOPIC = Topic.TRANSACTION
A, B, C = (bytes([n]) * 32 for n in (1, 2, 3))


def item(text: str) -> Item:
    return Item(TOPIC, text.encode())


class Node:
    """A Gossip with a clock; ``hears`` returns the effects, address exchange left out."""

    def __init__(self, *peers: bytes, parameters: Parameters | None = None) -> None:
        self.gossip = Gossip(b"self" * 8, CHAIN, b"seed", parameters or Parameters())
        self.now = 0
        for peer in peers:
            self.does(PeerUp(peer, outbound=False))
        if peers:
            self.does(TimerFired(HEARTBEAT))

    def does(self, event: Event) -> list[Effect]:
        return self.gossip.handle(event, self.now)

    def hears(self, peer: bytes, message: Wire) -> list[Effect]:
        return self.does(MessageArrived(peer, message))

    def beats(self, times: int = 1) -> list[Effect]:
        effects: list[Effect] = []
        for _ in range(times):
            self.now += 700
            effects += self.does(TimerFired(HEARTBEAT))
        return effects


def said(effects: list[Effect], kind: type[Wire]) -> list[tuple[bytes, Wire]]:
    return [(e.peer, e.message) for e in effects if isinstance(e, Send) and isinstance(e.message, kind)]


def test_started_sets_the_heartbeat_and_each_beat_sets_the_next() -> None:
    node = Node()
    assert node.does(Started()) == [SetTimer(HEARTBEAT, FIRST_BEAT_MS)]
    assert node.does(TimerFired(HEARTBEAT)) == [SetTimer(HEARTBEAT, 700)]
    assert node.does(TimerFired("somebody/else")) == []


def test_nothing_is_forwarded_before_the_verdict() -> None:
    node = Node(A, B, C)
    one = item("one")
    assert node.hears(A, Push((one,))) == [Validate(((item_digest(one), one),), A)]
    assert said(node.beats(3), Have) == []
    assert said(node.hears(B, Want(TOPIC, (item_digest(one),))), Push) == []
    effects = node.does(Validated(((item_digest(one), Verdict.ACCEPT),)))
    assert effects[0] == Deliver((one,), A)
    assert sorted(peer for peer, _ in said(effects, Push)) == [B, C]


def test_a_second_copy_is_neither_judged_nor_forwarded_and_its_sender_needs_none() -> None:
    node = Node(A, B, C)
    one = item("one")
    node.hears(A, Push((one,)))
    assert node.hears(B, Push((one,))) == []
    effects = node.does(Validated(((item_digest(one), Verdict.ACCEPT),)))
    assert said(effects, Push) == [(C, Push((one,)))]
    assert node.hears(C, Push((one,))) == []
    assert node.does(Validated(((item_digest(one), Verdict.ACCEPT),))) == []


def test_a_rejected_item_costs_everybody_who_pushed_it() -> None:
    node = Node(A, B, C)
    bad = item("bad")
    node.hears(A, Push((bad,)))
    node.hears(B, Push((bad,)))
    effects = node.does(Validated(((item_digest(bad), Verdict.REJECT),)))
    assert [(e.peer, e.offence) for e in effects if isinstance(e, Penalize)] == [
        (A, Offence.FORGED),
        (B, Offence.FORGED),
    ]
    assert isinstance(node.hears(C, Push((bad,)))[0], Penalize)
    assert said(node.beats(5), Have) == []


def test_an_ignored_item_is_nobodys_fault_and_goes_nowhere() -> None:
    node = Node(A, B)
    node.hears(A, Push((item("old"),)))
    assert node.does(Validated(((item_digest(item("old")), Verdict.IGNORE),))) == []
    assert node.hears(B, Push((item("old"),))) == []


def test_own_small_items_go_to_all_and_large_ones_to_the_mesh() -> None:
    many = [bytes([n]) * 32 for n in range(20)]
    node = Node(*many)
    small, large = item("small"), Item(TOPIC, bytes(4_000))
    assert len(said(node.does(Publish((small,))), Push)) == 20
    pushed = [peer for peer, _ in said(node.does(Publish((large,))), Push)]
    assert sorted(pushed) == sorted(node.gossip.mesh(TOPIC))


def test_recent_items_are_announced_to_some_who_may_lack_them_and_served_on_want() -> None:
    node = Node(*(bytes([n]) * 32 for n in range(20)))
    one = item("one")
    node.does(Publish((one,)))
    first = said(node.beats(), Have)
    assert len(first) == 6
    assert all(message == Have(TOPIC, (item_digest(one),)) for _, message in first)
    assert not {peer for peer, _ in first} & set(node.gossip.mesh(TOPIC))
    node.beats(3)
    assert said(node.beats(), Have) == []
    assert said(node.hears(B, Want(TOPIC, (item_digest(one),))), Push) == [(B, Push((one,)))]


def test_a_new_link_is_told_what_it_missed() -> None:
    node = Node()
    node.does(Publish((item("alone"),)))
    node.now = 10_000
    effects = node.does(PeerUp(A, outbound=True))
    assert said(effects, Have) == [(A, Have(TOPIC, (item_digest(item("alone")),)))]


def test_an_announced_item_that_does_not_come_is_asked_of_the_next_announcer() -> None:
    node = Node(A, B, C)
    want = Want(TOPIC, (item_digest(item("one")),))
    assert said(node.hears(A, Have(TOPIC, want.items)), Want) == [(A, want)]
    assert node.hears(B, Have(TOPIC, want.items)) == []
    assert said(node.beats(2), Want) == []
    assert said(node.beats(), Want) == [(B, want)]
    node.hears(B, Push((item("one"),)))
    assert said(node.beats(5), Want) == []


def test_a_lost_link_is_replaced_at_once() -> None:
    node = Node(A, B)
    want = Want(TOPIC, (item_digest(item("one")),))
    node.hears(A, Have(TOPIC, want.items))
    node.hears(B, Have(TOPIC, want.items))
    assert said(node.does(PeerDown(A)), Want) == [(B, want)]


def test_announcing_much_and_sending_nothing_is_withholding() -> None:
    node = Node(A)
    lies = tuple(n.to_bytes(32, "big") for n in range(16))
    assert len(said(node.hears(A, Have(TOPIC, lies)), Want)) == 1
    effects = node.beats(3)
    assert [e.offence for e in effects if isinstance(e, Penalize)] == [Offence.WITHHELD]


def test_one_liar_has_only_its_own_quota_of_wants() -> None:
    node = Node(A, B, parameters=Parameters(wants_per_peer=10))
    lies = tuple(n.to_bytes(32, "big") for n in range(300))
    [(_, want)] = said(node.hears(A, Have(TOPIC, lies)), Want)
    assert isinstance(want, Want)
    assert len(want.items) == 10
    assert said(node.hears(B, Have(TOPIC, (item_digest(item("true")),))), Want) != []


def test_a_peers_quota_of_wants_is_free_again_when_items_come_or_time_runs_out() -> None:
    node = Node(A, parameters=Parameters(wants_per_peer=1))
    for text in ("one", "two"):
        assert said(node.hears(A, Have(TOPIC, (item_digest(item(text)),))), Want) != []
        node.hears(A, Push((item(text),)))
    assert said(node.hears(A, Have(TOPIC, (bytes(32),))), Want) != []
    assert said(node.hears(A, Have(TOPIC, (b"x" * 32,))), Want) == []
    node.beats(3)
    assert said(node.hears(A, Have(TOPIC, (b"x" * 32,))), Want) != []


def test_a_flood_is_penalised_once_per_window_and_dropped() -> None:
    node = Node(A, parameters=Parameters(window_items=5))
    effects = [e for n in range(20) for e in node.hears(A, Push((item(str(n)),)))]
    assert sum(isinstance(e, Validate) for e in effects) == 5
    assert [e.offence for e in effects if isinstance(e, Penalize)] == [Offence.FLOOD]
    node.now += 10_000
    assert isinstance(node.hears(A, Push((item("later"),)))[0], Validate)


def test_the_waiting_room_is_bounded_and_forgets_unanswered_questions() -> None:
    node = Node(A, B, parameters=Parameters(pending_per_peer=2))
    for n in range(4):
        node.hears(A, Push((item(str(n)),)))
    assert node.hears(A, Push((item("x"),))) == []
    assert node.hears(B, Push((item("x"),))) != []
    node.now += 30_000
    node.beats()
    assert node.hears(A, Push((item("x"),))) != []


def test_serving_is_within_the_peers_quota_and_within_a_messages_size() -> None:
    parameters = Parameters(window_items=70)
    node = Node(A, parameters=parameters)
    ids = []
    for n in range(100):
        large = Item(TOPIC, n.to_bytes(2, "big") * 16_384)
        ids.append(item_digest(large))
        node.does(Publish((large,)))
    pushes = said(node.hears(A, Want(TOPIC, tuple(ids))), Push)
    assert sum(len(message.items) for _, message in pushes if isinstance(message, Push)) == 70
    for _, message in pushes:
        pack(message)


def test_a_banned_peer_is_not_heard_until_the_ban_ends() -> None:
    node = Node(A, B)
    node.does(Offended(A, Offence.FORGED))
    assert Ban(A, 600) in node.does(Offended(A, Offence.FORGED))
    assert node.gossip.peers() == (B,)
    assert node.hears(A, Push((item("one"),))) == []
    assert node.does(PeerUp(A, outbound=False)) == []
    node.now += 600_001
    assert node.does(PeerUp(A, outbound=False)) != []


def test_messages_of_strangers_are_not_heard() -> None:
    node = Node(A)
    assert node.hears(B, Push((item("one"),))) == []
    assert node.hears(B, Prune(TOPIC, 1)) == []


def test_seen_is_bounded_in_time_and_count_and_never_forgets_what_came_just_now() -> None:
    seen = Seen(keep_ms=100, size=6)
    for n in range(100):
        seen.add(bytes([n]), 0)
        assert len(seen) <= 6
        assert all(bytes([late]) in seen for late in range(max(0, n - 2), n + 1))
    assert bytes([90]) not in seen
    seen.expire(49)
    assert bytes([97]) in seen
    for now in (50, 100):
        assert bytes([99]) in seen
        seen.expire(now)
    assert bytes([99]) not in seen
    assert len(seen) == 0


def test_the_newest_word_on_an_item_counts() -> None:
    seen = Seen(keep_ms=100, size=6)
    seen.add(b"a", 0, rejected=True)
    assert seen.rejected(b"a")
    seen.expire(60)
    assert seen.rejected(b"a")
    seen.add(b"a", 60)
    assert b"a" in seen
    assert not seen.rejected(b"a")


def test_the_cache_is_bounded_in_bytes_time_and_count() -> None:
    cache = Cache(keep_ms=100, size=10, count=9)
    for n in range(5):
        cache.add(bytes([n]), Held(Item(TOPIC, bytes(4)), since_ms=n, announce_until_ms=0))
    assert [i for i, _ in cache.newest(TOPIC)] == [bytes([4]), bytes([3])]
    cache.expire(103)
    assert [i for i, _ in cache.newest(TOPIC)] == [bytes([4])]
    for n in range(5, 100):
        cache.add(bytes([n]), Held(Item(TOPIC, b""), since_ms=n, announce_until_ms=0))
        assert len(cache) <= 9
    assert [i for i, _ in cache.newest(TOPIC)] == [bytes([n]) for n in range(99, 90, -1)]


def test_an_item_that_is_published_again_and_again_is_held_once_and_as_new() -> None:
    cache = Cache(keep_ms=100, size=1_000, count=8)
    cache.add(b"other", Held(Item(TOPIC, bytes(4)), since_ms=0, announce_until_ms=0))
    for n in range(100):
        cache.add(b"again", Held(Item(TOPIC, bytes(4)), since_ms=n, announce_until_ms=0))
    assert [i for i, _ in cache.newest(TOPIC)] == [b"again"]
    cache.expire(198)
    assert cache.get(b"again") is not None
    cache.expire(199)
    assert len(cache) == 0


def test_batches_never_exceed_a_messages_bounds() -> None:
    items = [Item(TOPIC, bytes(size)) for size in (32_768,) * 130 + (1,) * 200]
    groups = list(batches(items, size=1 << 20))
    assert [i for group in groups for i in group] == items
    for group in groups:
        pack(Push(group))


# ---- the committee ----------------------------------------------------------------------


def test_in_the_committee_an_item_is_sent_once_to_each_by_whoever_brought_it_in() -> None:
    client, one = b"c" * 32, item("one")
    node = Node(A, B, C, client)
    node.does(Seek(frozenset({A, B, C})))

    def pushed_on(first: bytes) -> list[bytes]:
        fresh = item(f"from {first.hex()}")
        node.hears(first, Push((fresh,)))
        return sorted(peer for peer, _ in said(node.does(Validated(((item_digest(fresh), Verdict.ACCEPT),))), Push))

    assert pushed_on(client) == [A, B, C]
    assert pushed_on(A) == []
    assert sorted(peer for peer, _ in said(node.does(Publish((one,))), Push)) == [A, B, C]
    assert {peer for peer, _ in said(node.beats(4), Have)} <= {A, B, C}, "it comes in a block"
    assert node.does(PeerUp(b"d" * 32, outbound=False)) == [Send(b"d" * 32, AddressesWanted())]


def test_who_follows_passes_up_what_others_bring_and_nothing_down() -> None:
    rig, other = b"r" * 32, b"o" * 32
    node = Node(A, B, rig, other)
    node.does(Follow(frozenset({A, B, C})))

    def pushed_on(text: str) -> set[bytes]:
        fresh = item(text)
        node.hears(rig, Push((fresh,)))
        return {peer for peer, _ in said(node.does(Validated(((item_digest(fresh), Verdict.ACCEPT),))), Push)}

    assert pushed_on("one") == {A, B}
    assert {peer for peer, _ in said(node.beats(), Have)} == {A, B}
    small, large = item("ours"), Item(TOPIC, bytes(4_000))
    assert {peer for peer, _ in said(node.does(Publish((small, large))), Push)} == {A, B, rig, other}
    node.does(PeerDown(A))
    node.does(PeerDown(B))
    assert pushed_on("two") == {other}, "without a link to the committee the others pass it on"


def test_who_follows_trusts_no_single_member_with_an_item_of_its_own() -> None:
    rigs = [bytes([n]) * 32 for n in range(10, 30)]
    node = Node(A, *rigs)
    node.does(Follow(frozenset({A, B, C})))
    for own in (item("small"), Item(TOPIC, bytes(4_000))):
        asked = {peer for peer, _ in said(node.does(Publish((own,))), Push)}
        assert A in asked
        assert len(asked) > 6


def test_what_a_member_of_the_committee_kept_from_others_they_hear_by_announcement() -> None:
    node, one = Node(A, B, C), item("one")
    node.does(Seek(frozenset({A, B, C})))
    node.hears(A, Push((one,)))
    node.does(Validated(((item_digest(one), Verdict.ACCEPT),)))
    assert not said(node.beats(), Have), "it should be in a block soon"
    assert {peer for peer, _ in said(node.beats(2), Have)} == {B, C}
    assert said(node.hears(B, Want(TOPIC, (item_digest(one),))), Push) == [(B, Push((one,)))]


def test_many_items_of_one_push_are_judged_and_delivered_together() -> None:
    node = Node(A)
    many = tuple(item(str(number)) for number in range(64))
    (judged,) = node.hears(A, Push(many))
    assert isinstance(judged, Validate)
    assert [one for _, one in judged.items] == list(many)
    verdicts = tuple((name, Verdict.ACCEPT) for name, _ in judged.items)
    assert node.does(Validated(verdicts)) == [Deliver(many, A)]
