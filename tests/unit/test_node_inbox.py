"""What waits in front of the engine: urgent before the rest, bounded in number and in weight."""

from __future__ import annotations

import asyncio

from potminer.core import machine as words
from potminer.node import inbox
from potminer.node.inbox import Inbox, To
from potminer.wire.codec import Wire, encode
from potminer.wire.gossip import Graft, Item, Push, Topic
from potminer.wire.pbft import Status
from potminer.wire.sync import BlocksWanted

PEER = b"p" * 32


def fresh() -> Inbox:
    return Inbox(on_blob=lambda peer, message: None, on_link_down=lambda peer: None, note=lambda level, line: None)


async def taken(waiting: Inbox, count: int) -> list[tuple[To, object]]:
    return [await waiting.take() for _ in range(count)]


async def test_consensus_comes_first_and_the_rest_in_the_order_it_came() -> None:
    waiting = fresh()
    said: list[Wire] = [Graft(Topic.TRANSACTION), BlocksWanted(1, 2), Status(1, 2, 3), Graft(Topic.TRANSACTION)]
    for message in said:
        waiting.message(PEER, message)
    waiting.post(To.ROUNDS, "ours")
    assert await taken(waiting, 5) == [
        (To.REPLICA, words.MessageArrived(PEER, said[2])),
        (To.SYNC, words.MessageArrived(PEER, said[1])),
        (To.ROUNDS, "ours"),
        (To.GOSSIP, words.MessageArrived(PEER, said[0])),
        (To.GOSSIP, words.MessageArrived(PEER, said[3])),
    ]


async def test_a_vote_that_comes_while_gossip_is_judged_is_next() -> None:
    waiting = fresh()
    for _ in range(50):
        waiting.message(PEER, Graft(Topic.TRANSACTION))
    begun = asyncio.Event()

    async def link() -> None:
        await begun.wait()
        waiting.message(PEER, Status(1, 2, 3))

    reading = asyncio.create_task(link())
    await asyncio.sleep(0)
    order = []
    for _ in range(10):
        to, _ = await waiting.take()
        begun.set()
        order.append(to)
    assert To.REPLICA in order[:4], "whoever takes must let the links read"
    await reading


async def test_large_messages_weigh_no_more_than_they_may_and_keep_no_vote_out() -> None:
    waiting = fresh()
    push = Push(tuple(Item(Topic.TRANSACTION, bytes(32_000)) for _ in range(64)))
    fit = inbox.BYTES_FROM_PEERS // len(encode(push))
    for _ in range(fit + 5):
        waiting.message(PEER, push)
    assert waiting.dropped == 5
    waiting.message(PEER, Status(1, 2, 3))
    waiting.message(PEER, Graft(Topic.TRANSACTION))
    waiting.post(To.GOSSIP, "ours")
    assert waiting.dropped == 5
    assert [to for to, _ in await taken(waiting, 2)] == [To.REPLICA, To.GOSSIP]
    waiting.message(PEER, push)
    assert waiting.dropped == 5, "what was taken makes room"
    assert len(await taken(waiting, fit + 2)) == fit + 2


async def test_messages_are_bounded_in_number_and_our_own_events_are_not_dropped() -> None:
    waiting = fresh()
    for _ in range(inbox.FROM_PEERS + 3):
        waiting.message(PEER, Graft(Topic.TRANSACTION))
    assert waiting.dropped == 3
    waiting.post(To.ROUNDS, "ours")
    assert await waiting.take() == (To.ROUNDS, "ours")
