"""The outbox alone: strict order, credit and bounds, without a socket."""

from __future__ import annotations

import pytest

from potminer.base.errors import Malformed
from potminer.wire.frame import FRAGMENT_BYTES, WINDOW_BYTES, Fragment, Grant, Ping, Pong
from potminer.wire.registry import BY_NUMBER, Channel
from potminer.world.net.outbox import BOUNDS, Outbox

VOTE, HEAD, PUSH, PIECE, PROPOSAL = (BY_NUMBER[number] for number in (11, 20, 30, 44, 10))


def spoken(outbox: Outbox) -> list[Channel]:
    """Channels of the fragments that may go now, in order."""
    channels = []
    while (frame := outbox.next()) is not None:
        assert isinstance(frame, Fragment)
        channels.append(frame.channel)
    return channels


def test_the_more_urgent_channel_always_goes_first_even_between_fragments() -> None:
    outbox = Outbox()
    assert outbox.offer(PIECE, bytes(4 * FRAGMENT_BYTES))
    first = outbox.next()
    assert isinstance(first, Fragment)
    assert first.channel is Channel.BLOB
    for row in (PUSH, HEAD, VOTE):
        assert outbox.offer(row, b"body")
    assert spoken(outbox) == [Channel.CONSENSUS, Channel.SYNC, Channel.GOSSIP, *[Channel.BLOB] * 3]
    assert outbox.queued_bytes == 0


def test_a_channel_without_credit_waits_and_the_others_do_not() -> None:
    outbox, window = Outbox(), WINDOW_BYTES[Channel.BLOB]
    outbox.offer(PIECE, bytes(2 * window))
    assert len(spoken(outbox)) == window // FRAGMENT_BYTES
    outbox.offer(VOTE, b"vote")
    assert spoken(outbox) == [Channel.CONSENSUS]
    outbox.credit(Grant(Channel.BLOB, FRAGMENT_BYTES))
    assert spoken(outbox) == [Channel.BLOB]


@pytest.mark.parametrize("size", [0, 11, 2**32 - 1])
def test_credit_that_was_not_spent_cannot_be_granted(size: int) -> None:
    outbox = Outbox()
    outbox.offer(PIECE, bytes(10))
    assert spoken(outbox) == [Channel.BLOB]
    with pytest.raises(Malformed):
        outbox.credit(Grant(Channel.BLOB, size))


def test_control_goes_before_everything_and_never_piles_up() -> None:
    outbox = Outbox()
    outbox.offer(VOTE, b"vote")
    for _ in range(3):
        outbox.ping()
        outbox.pong()
        outbox.grant(Grant(Channel.SYNC, 5))
    assert [outbox.next() for _ in range(3)] == [Grant(Channel.SYNC, 15), Pong(), Ping()]
    assert spoken(outbox) == [Channel.CONSENSUS]


def test_every_queue_is_bounded_by_count_and_by_bytes() -> None:
    outbox = Outbox()
    assert sum(outbox.offer(HEAD, b"h") for _ in range(10_000)) == BOUNDS[Channel.SYNC].messages
    assert sum(outbox.offer(PIECE, bytes(2**20)) for _ in range(100)) == 8
    assert outbox.offer(VOTE, b"vote")


def test_a_proposal_is_not_queued_again_before_it_is_gone() -> None:
    outbox, proposal = Outbox(), b"p" * (2 * FRAGMENT_BYTES + 1)
    for _ in range(3):
        assert outbox.offer(PROPOSAL, proposal)
        outbox.next()
    outbox.offer(PROPOSAL, proposal + b"another")
    assert outbox.queued_bytes == len(proposal) + len(b"another")
    assert len(spoken(outbox)) == 3
    assert outbox.offer(PROPOSAL, proposal)
    assert len(spoken(outbox)) == 3


def test_what_is_short_or_no_business_of_consensus_may_be_said_twice() -> None:
    outbox = Outbox()
    for row, body in ((VOTE, b"v" * 200), (PUSH, b"p" * 2_000)):
        assert outbox.offer(row, body)
        assert outbox.offer(row, body)
        assert len(spoken(outbox)) == 2
