"""The address book and who is dialled from it."""

from __future__ import annotations

from potminer.core.gossip.addresses import address_holds, group_of, is_private, sign_address
from potminer.core.gossip.events import Dial, DialFailed, Introduce, Listening, Offended, Remembered, Seek
from potminer.core.gossip.machine import HEARTBEAT, Gossip
from potminer.core.gossip.parameters import Parameters
from potminer.core.machine import MessageArrived, Offence, PeerDown, PeerUp, Penalize, Send, TimerFired
from potminer.wire.gossip import Addresses, AddressesWanted, AddressRecord
from potminer.wire.seal import SigningKey

CHAIN = b"c" * 32
KEYS = [SigningKey(n.to_bytes(32, "big")) for n in range(1, 41)]
PEER = KEYS[0].public


def record(n: int, *, host: str | None = None, time_ms: int = 1) -> AddressRecord:
    return sign_address(KEYS[n], chain=CHAIN, host=host or f"9.{n}.0.1", port=4000, time_ms=time_ms)


def gossip(**numbers: int) -> Gossip:
    return Gossip(b"self" * 8, CHAIN, b"seed", Parameters(**numbers))


def told(it: Gossip, *records: AddressRecord, now: int = 0) -> list[object]:
    it.handle(PeerUp(PEER, outbound=False), now)
    return list(it.handle(MessageArrived(PEER, Addresses(records)), now))


def dials(it: Gossip, now: int) -> list[Dial]:
    return [e for e in it.handle(TimerFired(HEARTBEAT), now) if isinstance(e, Dial)]


def test_a_record_holds_only_for_its_chain_and_its_bytes() -> None:
    good = record(1)
    assert address_holds(good, chain=CHAIN)
    assert not address_holds(good, chain=bytes(32))
    assert not address_holds(AddressRecord(good.key, "9.9.9.9", good.port, good.time_ms, good.signature), chain=CHAIN)


def test_a_new_link_is_asked_for_addresses_and_only_its_answer_counts() -> None:
    it = gossip()
    assert Send(PEER, AddressesWanted()) in it.handle(PeerUp(PEER, outbound=True), 0)
    assert it.handle(MessageArrived(PEER, Addresses((record(1),))), 0) == []
    assert it.records() == [record(1)]
    [again] = it.handle(MessageArrived(PEER, Addresses((record(2),))), 0)
    assert isinstance(again, Penalize)
    assert again.offence is Offence.UNEXPECTED
    assert it.records() == [record(1)]


def test_a_link_that_replaces_another_may_bring_the_answers_to_both_questions() -> None:
    it = gossip()
    it.handle(PeerUp(PEER, outbound=True), 0)
    it.handle(PeerDown(PEER), 1)
    it.handle(PeerUp(PEER, outbound=False), 2)
    assert it.handle(MessageArrived(PEER, Addresses((record(1),))), 3) == []
    assert it.handle(MessageArrived(PEER, Addresses((record(2),))), 4) == [], "an answer goes to a key, not to a link"
    [again] = it.handle(MessageArrived(PEER, Addresses((record(3),))), 5)
    assert isinstance(again, Penalize)


def test_who_was_asked_on_a_link_of_long_ago_is_expected_no_more() -> None:
    it = gossip(exchange_ms=1_000)
    it.handle(PeerUp(PEER, outbound=True), 0)
    it.handle(PeerDown(PEER), 1)
    it.handle(TimerFired(HEARTBEAT), 2_000)
    it.handle(PeerUp(PEER, outbound=False), 2_001)
    assert it.handle(MessageArrived(PEER, Addresses((record(1),))), 2_002) == []
    [again] = it.handle(MessageArrived(PEER, Addresses((record(2),))), 2_003)
    assert isinstance(again, Penalize)


def test_a_forged_record_is_a_penalty() -> None:
    good = record(1)
    forged = AddressRecord(good.key, "9.9.9.9", 1, 2, good.signature)
    it = gossip()
    [effect] = told(it, forged)
    assert isinstance(effect, Penalize)
    assert effect.offence is Offence.FORGED
    assert it.records() == []


def test_the_newest_record_wins_whatever_the_order() -> None:
    for order in ((1, 2), (2, 1)):
        it = gossip()
        for time_ms in order:
            told(it, record(1, host=f"9.9.9.{time_ms}", time_ms=time_ms))
        assert [r.host for r in it.records()] == ["9.9.9.2"]


def test_own_address_comes_first_and_the_book_is_read_seldom() -> None:
    it = gossip()
    own = record(39)
    it.handle(Listening(own), 0)
    told(it, *(record(n) for n in range(1, 10)))
    [answer] = it.handle(MessageArrived(PEER, AddressesWanted()), 0)
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Addresses)
    assert answer.message.records[0] == own
    assert len(answer.message.records) == 10
    assert it.handle(MessageArrived(PEER, AddressesWanted()), 29_000) == []
    assert it.handle(MessageArrived(PEER, AddressesWanted()), 31_000) != []


def test_an_answer_never_exceeds_the_message() -> None:
    it = gossip()
    it.handle(Listening(record(39)), 0)
    it.handle(Remembered(tuple(record(n) for n in range(1, 39))), 0)
    it.handle(PeerUp(PEER, outbound=False), 0)
    [answer] = it.handle(MessageArrived(PEER, AddressesWanted()), 0)
    assert isinstance(answer, Send)
    assert isinstance(answer.message, Addresses)
    assert len(answer.message.records) == 32


def test_eight_outbound_links_are_sought_two_at_a_time() -> None:
    it = gossip()
    it.handle(Remembered(tuple(record(n) for n in range(1, 30))), 0)
    seen: list[Dial] = []
    for beat in range(10):
        fresh = dials(it, beat * 700)
        assert len(fresh) <= 2
        seen += fresh
    assert len(seen) == 8
    assert len({d.key for d in seen}) == 8
    for dial in seen:
        assert dial.key is not None
        it.handle(PeerUp(dial.key, outbound=True, address=(dial.host, dial.port)), 7_000)
    assert dials(it, 50_000) == []
    assert seen[0].key is not None
    it.handle(PeerDown(seen[0].key), 50_000)
    assert len(dials(it, 50_001)) == 1


def test_one_address_group_gets_two_outbound_links_but_a_home_network_is_exempt() -> None:
    it = gossip()
    it.handle(Remembered(tuple(record(n, host=f"9.9.{n}.1") for n in range(1, 30))), 0)
    assert len([d for beat in range(10) for d in dials(it, beat)]) == 2
    home = gossip()
    home.handle(Remembered(tuple(record(n, host="127.0.0.1") for n in range(1, 30))), 0)
    assert len([d for beat in range(10) for d in dials(home, beat)]) == 8
    assert group_of("9.9.1.1") == group_of("9.9.2.2") != group_of("9.8.1.1")
    assert group_of("2001:db8::1") == group_of("2001:db8:1::1")
    assert is_private("192.168.1.5")
    assert not is_private("9.9.9.9")
    assert not is_private("rig.example")


def test_failed_dials_wait_longer_and_hearsay_is_forgotten_in_the_end() -> None:
    it = gossip(dial_failures=4)
    it.handle(Remembered((record(1),)), 0)
    now, waits = 0, []
    while it.records():
        start = now
        while not dials(it, now):
            now += 100
        waits.append(now - start)
        it.handle(DialFailed("9.1.0.1", 4000), now)
    assert len(waits) == 4
    assert waits == sorted(waits)
    assert waits[-1] >= 8_000


def test_a_dial_that_nobody_reports_on_has_failed() -> None:
    it = gossip()
    it.handle(Introduce("10.0.0.1", 4000), 0)
    assert dials(it, 0) == [Dial("10.0.0.1", 4000, None)]
    assert dials(it, 29_000) == []
    assert dials(it, 30_000) == []
    assert dials(it, 34_000) == [Dial("10.0.0.1", 4000, None)]


def test_a_seed_is_never_forgotten_and_not_dialled_while_its_node_is_linked() -> None:
    it = gossip()
    it.handle(Introduce("10.0.0.1", 4000), 0)
    now = 0
    for _ in range(20):
        while not dials(it, now):
            now += 1_000
        it.handle(DialFailed("10.0.0.1", 4000), now)
    while not dials(it, now):
        now += 1_000
    it.handle(PeerUp(PEER, outbound=True, address=("10.0.0.1", 4000)), now)
    assert dials(it, now + 100_000) == []
    it.handle(PeerDown(PEER), now + 100_000)
    assert dials(it, now + 103_000) == [Dial("10.0.0.1", 4000, PEER)]


def test_sought_keys_are_dialled_beyond_the_usual_count() -> None:
    it = gossip(outbound=1)
    it.handle(Remembered(tuple(record(n) for n in range(1, 6))), 0)
    it.handle(Seek(frozenset(KEYS[n].public for n in range(1, 6))), 0)
    assert len([d for beat in range(10) for d in dials(it, beat)]) == 5


def test_a_lost_committee_is_dialled_at_once_and_every_few_seconds() -> None:
    it, members = gossip(), range(1, 31)
    it.handle(Remembered(tuple(record(n) for n in members)), 0)
    it.handle(Seek(frozenset(KEYS[n].public for n in members)), 0)
    beats = [dials(it, 700 * beat) for beat in range(4)]
    assert [len(beat) for beat in beats] == [8, 8, 8, 6]
    now = 10_000
    for _ in range(12):
        for each in (d for beat in beats for d in beat):
            it.handle(DialFailed(each.host, each.port), now)
        now += 60_000
        assert sum(len(dials(it, now + beat)) for beat in range(4)) == 30
    for each in (d for beat in beats for d in beat):
        it.handle(DialFailed(each.host, each.port), now)
    assert sum(len(dials(it, now + 7_500 + beat)) for beat in range(4)) == 30, "after 5 s and half as much chance"


def test_a_clock_that_is_set_back_an_hour_keeps_nobody_from_being_dialled() -> None:
    it, now = gossip(), 10**12
    it.handle(Remembered((record(1), record(2))), now)
    it.handle(Seek(frozenset((KEYS[1].public, KEYS[2].public))), now)
    first, _ = dials(it, now)
    it.handle(DialFailed(first.host, first.port), now)
    back = now - 3_600_000
    found = [d for ms in range(0, 40_000, 700) for d in dials(it, back + ms)]
    assert {d.key for d in found} == {KEYS[1].public, KEYS[2].public}, "who failed, and who was being dialled"


def test_the_banned_are_not_dialled() -> None:
    it = gossip()
    it.handle(Remembered((record(1),)), 0)
    for _ in range(2):
        it.handle(Offended(KEYS[1].public, Offence.FORGED), 0)
    assert dials(it, 0) == []
    assert len(dials(it, 600_001)) == 1


def test_the_book_is_bounded_in_all_per_source_and_per_group() -> None:
    it = gossip(addresses_new=10)
    it.handle(Remembered(tuple(record(n) for n in range(1, 39))), 0)
    assert len(it.records()) == 10
    one_source = gossip(addresses_per_source=5)
    told(one_source, *(record(n) for n in range(1, 30)))
    assert len(one_source.records()) == 5
    one_group = gossip(addresses_per_group=4)
    one_group.handle(Remembered(tuple(record(n, host=f"9.9.{n}.1") for n in range(1, 30))), 0)
    assert len(one_group.records()) == 4


def test_tried_addresses_survive_a_flood_of_hearsay() -> None:
    it = gossip(addresses_new=5, addresses_tried=2)
    it.handle(Remembered((record(1),)), 0)
    it.handle(PeerUp(KEYS[1].public, outbound=True, address=("9.1.0.1", 4000)), 0)
    it.handle(Remembered(tuple(record(n) for n in range(2, 39))), 0)
    assert it.records()[0] == record(1)
    assert len(it.records()) == 6
