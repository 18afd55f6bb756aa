"""Leaps among many who want none: liars who are asked first, who offer what nobody sends, who send it slowly."""

from __future__ import annotations

from potminer.core.leap.events import Hold
from potminer.core.leap.machine import HOLD_MS, REST_MS, Stage
from potminer.core.leap.need import FAR_BYTES, STUCK_MS
from potminer.core.machine import Executed, Send, TimerFired
from potminer.wire.codec import Wire
from potminer.wire.leap import Chunk, Manifest, Pruned, SnapshotOffer, SnapshotWanted
from potminer.wire.sync import Head
from tests.unit.test_leap_machine import AT, LENGTH, SERVERS, Liar, Node, Server, bent, world

LIARS = [bytes([n]) * 32 for n in range(1, 25)]
HONEST = bytes([200]) * 32


def silent_offer(told: Wire) -> Wire | None:
    return SnapshotOffer((), None) if isinstance(told, SnapshotOffer) else None


def test_a_crowd_that_claims_most_and_offers_nothing_is_not_asked_for_ever() -> None:
    """Two dozen keys cost nothing. They claim more than anybody, so they are asked first, and answer in time."""
    of = world()
    node = Node(of)
    for liar in LIARS:
        node.meets(liar, Liar(of, silent_offer), height=10**9)
    node.meets(HONEST, SERVERS(of))
    for _ in range(len(LIARS)):
        node.waits(REST_MS)
        if node.leap.stage is Stage.INSTALLING:
            break
    node.landed()


def test_a_crowd_that_offers_what_it_does_not_send_is_not_asked_for_ever() -> None:
    of = world()
    node = Node(of)
    for liar in LIARS:
        node.meets(liar, Liar(of, bent(Manifest, lambda m: Manifest(m.height, b"", b"")), at=AT - 4), height=10**9)
    node.meets(HONEST, Server(of))
    for _ in range(3 * len(LIARS)):
        node.waits(REST_MS // 10)
        if node.leap.stage is Stage.INSTALLING:
            break
    assert node.landed().certified == of.headers[AT]


def test_one_that_claims_to_have_all_blocks_keeps_nobody_from_leaping_where_the_others_let_them_go() -> None:
    """It need not even lie about snapshots: as long as it says nothing of what it pruned, nobody was stuck."""
    of = world()
    node = Node(of, far=10**6)
    node.meets(LIARS[0], Liar(of, silent_offer))
    node.meets(HONEST, SERVERS(of))
    node.hears(HONEST, Pruned(5))
    node.waits(STUCK_MS - 1)
    assert node.leap.stage is Stage.RESTING
    node.waits(1)
    for _ in range(4):
        node.waits(REST_MS)
    node.landed()


def test_who_comes_on_by_blocks_is_not_stuck() -> None:
    of = world()
    node = Node(of, far=10**6)
    node.meets(LIARS[0], Liar(of, silent_offer))
    node.meets(HONEST, SERVERS(of))
    node.hears(HONEST, Pruned(LENGTH - 1))
    for height in range(1, 8):
        node.now += STUCK_MS - 1
        node.does(Executed(height, bytes(32), bytes(32), node.now))
        node.does(TimerFired("sync/leap"))
    assert node.leap.stage is Stage.RESTING
    assert not any(isinstance(effect.message, SnapshotWanted) for effect in node.said(Send))


def test_blocks_go_on_while_a_leap_takes_its_time() -> None:
    """Or who sends each chunk just before its time runs out would keep us where we are for a day."""
    of = world()
    node = Node(of)
    node.meets(HONEST, Liar(of, bent(Chunk, lambda c: None)))
    assert node.leap.stage is Stage.FETCHING
    node.waits(HOLD_MS)
    assert [effect.on for effect in node.said(Hold)] == [True, False]
    assert node.leap.stage is Stage.FETCHING


def test_who_had_no_snapshot_is_asked_again_once_it_says_that_it_went_on() -> None:
    """It makes the same one as everybody, a moment later."""
    of = world()
    node = Node(of)
    late = Liar(of, bent(Chunk, lambda c: Chunk(c.height, c.index, ())))
    node.meets(LIARS[0], Liar(of, bent(Chunk, lambda c: None)))
    node.meets(HONEST, late)
    late.lie = lambda told: told
    node.hears(HONEST, Head(LENGTH + 1, bytes(32)))
    for _ in range(3):
        node.waits()
    node.landed()


def test_far_is_measured_in_bytes_too() -> None:
    """A thousand blocks of ten thousand transactions each are gigabytes: nobody fetches and executes that first."""
    of = world()
    node = Node(of, far=1_000)
    node.meets(HONEST, SERVERS(of))
    assert node.leap.stage is Stage.RESTING
    size = 2 * FAR_BYTES // LENGTH
    for height in (1, 2):
        node.does(Executed(height, bytes(32), bytes(32), node.now, size))
    assert node.landed().certified == of.headers[AT]
    small = Node(of, far=1_000)
    small.meets(HONEST, SERVERS(of))
    for height in (1, 2):
        small.does(Executed(height, bytes(32), bytes(32), small.now, FAR_BYTES // LENGTH // 2))
    assert small.leap.stage is Stage.RESTING
