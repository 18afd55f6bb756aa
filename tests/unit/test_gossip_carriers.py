"""Many items at once are carried: no line carries all of them for everybody, and no carrier can keep them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from potminer.core.gossip.carriers import LOADS, Carriers, lot_name
from potminer.core.gossip.events import Deliver, Event, Publish, Seek, Settled, Started, Validate, Validated, Verdict
from potminer.core.gossip.machine import FLUSH, Gossip
from potminer.core.gossip.parameters import Parameters
from potminer.core.gossip.spread import Held
from potminer.core.machine import MessageArrived, PeerUp, Send, SetTimer, TimerFired
from potminer.wire.codec import Wire, encode
from potminer.wire.gossip import Carried, Carry, Got, Have, Item, Push, Topic, item_digest

CHAIN = bytes(32)
MEMBERS = [bytes([n]) * 32 for n in range(1, 11)]
DOOR, OTHERS = MEMBERS[0], MEMBERS[1:]


def item(number: int) -> Item:
    return Item(Topic.TRANSACTION, number.to_bytes(4, "big") * 50)


MANY = tuple(item(number) for number in range(900))


class Committee:
    """Ten members, all linked, each with the gossip that ships; *mute* ones take what they are to carry and keep it."""

    def __init__(self, mute: frozenset[bytes] = frozenset(), deaf: frozenset[bytes] = frozenset()) -> None:
        self.now, self.order, self.mute, self.deaf = 0, 0, mute, deaf
        self.nodes = {key: Gossip(key, CHAIN, b"seed") for key in MEMBERS}
        self.queue: list[tuple[int, int, bytes, Event]] = []
        self.got = {key: Counter[bytes]() for key in MEMBERS}
        self.last_ms = 0
        self.sent: Counter[tuple[bytes, bytes]] = Counter()
        """Bytes by line."""
        for key in MEMBERS:
            self.later(key, Seek(frozenset(MEMBERS) - {key}), 0)
            for other in MEMBERS:
                if other != key:
                    self.later(key, PeerUp(other, outbound=other < key), 0)
            self.later(key, Started(), 1)

    def later(self, node: bytes, event: Event, delay: int) -> None:
        self.order += 1
        heapq.heappush(self.queue, (self.now + delay, self.order, node, event))

    def run(self, milliseconds: int) -> None:
        until = self.now + milliseconds
        while self.queue and self.queue[0][0] <= until:
            self.now, _, node, event = heapq.heappop(self.queue)
            for effect in self.nodes[node].handle(event, self.now):
                match effect:
                    case Send(peer, message):
                        self.say(node, peer, message)
                    case SetTimer(name, delay):
                        self.later(node, TimerFired(name), delay)
                    case Validate(items):
                        self.later(node, Validated(tuple((each, Verdict.ACCEPT) for each, _ in items)), 1)
                    case Deliver(items):
                        self.got[node].update(one.body for one in items)
                        self.last_ms = self.now
        self.now = until

    def say(self, sender: bytes, receiver: bytes, message: Wire) -> None:
        if isinstance(message, Carried) and sender in self.mute:
            return
        if isinstance(message, Got) and sender in self.deaf:
            return
        self.sent[sender, receiver] += len(encode(message))
        self.later(receiver, MessageArrived(sender, message), 50)

    def publish(self) -> None:
        self.run(10)
        self.later(DOOR, Publish(MANY), 0)

    def all_have_all(self) -> bool:
        bodies = {one.body for one in MANY}
        return all(set(self.got[key]) == bodies for key in OTHERS)


def test_every_line_carries_a_slice_and_everybody_gets_everything_once() -> None:
    town = Committee()
    town.publish()
    town.run(600)
    assert town.all_have_all()
    assert all(set(town.got[key].values()) == {1} for key in OTHERS)
    whole = sum(len(encode(one)) for one in MANY)
    assert max(town.sent.values()) < whole // 4, "pushed directly each line of the door carries the whole"


def test_what_carriers_withhold_is_pushed_directly_as_soon_as_most_has_arrived() -> None:
    town = Committee(mute=frozenset(OTHERS[:3]))
    town.publish()
    town.run(2_500)
    assert town.all_have_all()
    town.later(DOOR, Publish(tuple(item(number) for number in range(2_000, 2_900))), 0)
    before = town.sent.copy()
    town.run(600)
    assert sum(town.got[OTHERS[5]].values()) == 1_800, "they rest: nothing is given to them, so nothing is late"
    carried = {key: (town.sent - before)[DOOR, key] for key in OTHERS}
    assert max(carried[key] for key in OTHERS[:3]) < min(carried[key] for key in OTHERS[3:])


def test_where_all_carriers_withhold_everything_is_pushed_after_ten_seconds() -> None:
    town = Committee(mute=frozenset(OTHERS))
    town.publish()
    town.run(Parameters().carry_ms + 1_500)
    assert town.all_have_all()


def test_who_says_that_nothing_came_is_pushed_everything_once_more_and_nobody_else_is() -> None:
    town = Committee(deaf=frozenset({OTHERS[0]}))
    town.publish()
    town.run(600)
    before = town.sent.copy()
    town.run(Parameters().carry_ms + 5_000)
    again = {key: (town.sent - before)[DOOR, key] for key in OTHERS}
    assert again[OTHERS[0]] > 100_000
    assert max(size for key, size in again.items() if key != OTHERS[0]) < 50_000, "announcements"


def node_at(key: bytes) -> Gossip:
    gossip = Gossip(key, CHAIN, b"seed")
    gossip.handle(Seek(frozenset(MEMBERS) - {key}), 0)
    for other in MEMBERS:
        if other != key:
            gossip.handle(PeerUp(other, outbound=False), 0)
    return gossip


def messages(effects: Sequence[object], kind: type[Wire]) -> list[tuple[bytes, Wire]]:
    return [(e.peer, e.message) for e in effects if isinstance(e, Send) and isinstance(e.message, kind)]


def test_a_lot_is_judged_before_it_is_passed_on_and_one_invalid_item_stops_it() -> None:
    lot = MANY[:5]
    for bad in (False, True):
        gossip = node_at(OTHERS[0])
        effects = gossip.handle(MessageArrived(DOOR, Carry(lot)), 0)
        assert not messages(effects, Carried)
        verdicts = [(item_digest(one), Verdict.ACCEPT) for one in lot]
        if bad:
            verdicts[3] = (verdicts[3][0], Verdict.REJECT)
        passed = messages(gossip.handle(Validated(tuple(verdicts)), 1), Carried)
        wanted = [] if bad else [(key, Carried(DOOR, lot)) for key in OTHERS[1:]]
        assert sorted(passed, key=lambda each: each[0]) == wanted


def test_nothing_is_carried_for_outsiders_or_twice() -> None:
    gossip, lot, rig = node_at(OTHERS[0]), MANY[:5], b"r" * 32
    gossip.handle(PeerUp(rig, outbound=False), 0)
    verdicts = Validated(tuple((item_digest(one), Verdict.ACCEPT) for one in lot))
    gossip.handle(MessageArrived(rig, Carry(lot)), 0)
    assert not messages(gossip.handle(verdicts, 1), Carried), "pushed on as by anybody"
    gossip.handle(MessageArrived(DOOR, Carry(lot)), 2)
    assert not messages(gossip.handle(verdicts, 3), Carried), "known already"


def test_only_a_lot_that_came_whole_is_acknowledged() -> None:
    gossip, lot = node_at(OTHERS[1]), MANY[:5]
    names = [item_digest(one) for one in lot]
    (said,) = messages(gossip.handle(MessageArrived(OTHERS[0], Carried(DOOR, lot[:4])), 0), Got)
    assert said == (DOOR, Got(lot_name(names[:4]))), "not the name of the lot"
    (said,) = messages(gossip.handle(MessageArrived(OTHERS[0], Carried(DOOR, lot)), 0), Got)
    assert said == (DOOR, Got(lot_name(names)))
    assert not messages(gossip.handle(MessageArrived(OTHERS[0], Carried(b"?" * 32, lot)), 0), Got)
    rig = b"r" * 32
    gossip.handle(PeerUp(rig, outbound=False), 0)
    assert not messages(gossip.handle(MessageArrived(OTHERS[0], Carried(rig, lot)), 0), Got), "members alone bring lots"
    assert not messages(gossip.handle(MessageArrived(rig, Carried(DOOR, lot)), 0), Got)


def test_loads_are_bounded_and_forgotten() -> None:
    carriers = Carriers(Parameters())
    for number in range(LOADS + 10):
        carriers.take(DOOR, (item(number),), [item_digest(item(number))], 0)
    assert carriers.size() == 2 * LOADS
    carriers.expire(Parameters().pending_ms)
    assert carriers.size() == 0


def test_lots_on_their_way_weigh_no_more_than_what_is_held() -> None:
    carriers, large = Carriers(Parameters()), Item(Topic.TRANSACTION, bytes(32_768))
    items = [Held(large, 0, 0)] * 300
    assert carriers.may_carry(items, OTHERS, 0) == OTHERS
    carriers.send(items, OTHERS, OTHERS, 0)
    assert carriers.may_carry(items, OTHERS, 1) == [], "16 MiB: the next ones are pushed"
    carriers.late(Parameters().carry_ms)
    assert set(carriers.may_carry(items, OTHERS, 100_000)) == set(OTHERS)


def test_few_items_or_few_members_go_directly() -> None:
    gossip = node_at(DOOR)
    gossip.handle(Publish(MANY[:100]), 0)
    pushed = messages(gossip.handle(TimerFired(FLUSH), 50), Push)
    assert Counter(key for key, _ in pushed) == dict.fromkeys(OTHERS, 2), "of 64 and of 36"
    gossip = Gossip(DOOR, CHAIN, b"seed")
    gossip.handle(Seek(frozenset(OTHERS[:3])), 0)
    for other in OTHERS[:3]:
        gossip.handle(PeerUp(other, outbound=False), 0)
    gossip.handle(Publish(MANY), 0)
    effects = gossip.handle(TimerFired(FLUSH), 50)
    assert {key for key, _ in messages(effects, Push)} == set(OTHERS[:3])
    assert not messages(effects, Carry)


def test_what_stands_in_a_block_is_announced_to_nobody() -> None:
    for settled in (False, True):
        gossip = node_at(OTHERS[0])
        one = MANY[0]
        gossip.handle(MessageArrived(DOOR, Push((one,))), 0)
        gossip.handle(Validated(((item_digest(one), Verdict.ACCEPT),)), 1)
        if settled:
            gossip.handle(Settled((one.body,)), 500)
        effects = gossip.handle(TimerFired("gossip/heartbeat"), 2_000)
        assert bool(messages(effects, Have)) is not settled
