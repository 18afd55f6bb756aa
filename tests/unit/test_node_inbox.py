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
    for _ in range(inbox.FROM_PEERS):
        waiting.message(PEER, Graft(Topic.TRANSACTION))
    assert waiting.dropped == inbox.FROM_PEERS // 2, "one peer has half of the places"
    waiting.post(To.ROUNDS, "ours")
    assert await waiting.take() == (To.ROUNDS, "ours")


async def test_a_crowd_of_strangers_keeps_out_no_vote_and_no_honest_stranger() -> None:
    """Forty of them, each within the rates of its link, say more than an engine reads: what was full for one was full
    for all, members' votes included."""
    waiting = fresh()
    for _ in range(1_000):
        for stranger in range(40):
            waiting.message(bytes([stranger]) * 32, BlocksWanted(1, 2))
    before = waiting.dropped
    assert before > 0
    for vote in range(inbox.FROM_PEERS // 4):
        waiting.message(b"m" * 32, Status(vote, 2, 3))
    waiting.message(b"h" * 32, BlocksWanted(7, 7))
    assert waiting.dropped == before
    told = [event for to, event in await taken(waiting, inbox.FROM_PEERS // 4) if to is To.REPLICA]
    assert len(told) == inbox.FROM_PEERS // 4, "and they come first"


async def test_a_crowd_of_questions_does_not_stop_transactions_and_rounds() -> None:
    waiting = fresh()
    for _ in range(100):
        for stranger in range(40):
            waiting.message(bytes([stranger]) * 32, BlocksWanted(1, 2))
    waiting.post(To.GOSSIP, "our transaction")
    waiting.post(To.ROUNDS, "our unit")
    order = await taken(waiting, 2 * inbox.SYNC_RUN + 2)
    assert [event for _, event in order if isinstance(event, str)] == ["our unit", "our transaction"]
    assert order[0][0] is To.SYNC


async def test_one_member_s_flood_of_votes_keeps_out_nobody_s() -> None:
    waiting = fresh()
    for view in range(2 * inbox.FROM_PEERS):
        waiting.message(b"f" * 32, Status(1, view, 3))
    waiting.message(b"m" * 32, Status(1, 1, 1))
    order = await taken(waiting, inbox.FROM_PEERS // 2 + 1)
    assert order[-1] == (To.REPLICA, words.MessageArrived(b"m" * 32, Status(1, 1, 1)))
