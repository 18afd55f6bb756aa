"""Under load items share pushes: a link bears a hundred of them a second, and a promise must be kept."""

from __future__ import annotations

from potminer.core.gossip.events import Publish
from potminer.core.gossip.machine import FLUSH, Gossip
from potminer.core.gossip.parameters import Parameters
from potminer.core.gossip.pushes import Pushes
from potminer.core.gossip.spread import Held
from potminer.core.gossip.wanted import WantedList
from potminer.core.machine import PeerUp, Penalize, Send, SetTimer, TimerFired
from potminer.wire.gossip import Item, Push, Topic

A, B = bytes([1]) * 32, bytes([2]) * 32
ALONE = Parameters().push_alone_burst


def item(number: int) -> Item:
    return Item(Topic.TRANSACTION, number.to_bytes(8, "big"))


def held(number: int) -> Held:
    return Held(item(number), 0, 0)


def items_of(effects: list[object]) -> list[Item]:
    return [one for e in effects if isinstance(e, Send) and isinstance(e.message, Push) for one in e.message.items]


def test_few_items_go_at_once_and_many_wait_for_one_push() -> None:
    gossip = Gossip(b"self" * 8, bytes(32), b"seed")
    gossip.handle(PeerUp(A, outbound=False), 0)
    effects = [effect for n in range(ALONE + 100) for effect in gossip.handle(Publish((item(n),)), 0)]
    assert items_of(effects) == [item(n) for n in range(ALONE)]
    assert [e for e in effects if isinstance(e, SetTimer)] == [SetTimer(FLUSH, 50)]
    later = gossip.handle(TimerFired(FLUSH), 50)
    assert items_of(later) == [item(n) for n in range(ALONE, ALONE + 100)]
    assert len(later) == 2
    assert gossip.handle(TimerFired(FLUSH), 100) == []


def test_a_second_of_any_load_stays_within_the_rate_of_a_link() -> None:
    pushes, sent = Pushes(Parameters()), 0
    for now in range(ALONE * 50, ALONE * 50 + 1_000):
        for n in range(2):
            sent += len(pushes.offer(A, held(2 * now + n), now))
        if now % 50 == 0:
            sent += len(pushes.flush())
    assert sent - ALONE <= 100


def test_what_a_peer_got_meanwhile_or_a_lost_peer_is_not_pushed() -> None:
    pushes = Pushes(Parameters())
    for n in range(ALONE):
        pushes.offer(A, held(n), 0)
        pushes.offer(B, held(n), 0)
    late = held(ALONE)
    assert pushes.offer(A, late, 0) == pushes.offer(B, late, 0) == []
    late.holders[A] = None
    pushes.gone(B)
    assert pushes.flush() == []


def test_what_waits_is_bounded() -> None:
    parameters = Parameters(pushes_waiting=10)
    pushes = Pushes(parameters)
    for n in range(ALONE + 50):
        pushes.offer(A, held(n), 0)
    assert len(items_of([*pushes.flush()])) == 10


def test_items_that_are_late_together_are_one_offence() -> None:
    wanted = WantedList(Parameters())
    wanted.announced(A, Topic.TRANSACTION, [n.to_bytes(32, "big") for n in range(500)], 0)
    assert [type(effect) for effect in wanted.beat(2_000)] == [Penalize]
