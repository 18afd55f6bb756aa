"""Networks over real sockets: who is let in, what is carried, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from potminer.wire import blob, gossip, pbft, sync
from potminer.wire.codec import Wire
from potminer.wire.frame import FRAGMENT_BYTES
from potminer.wire.hello import PROTOCOL_VERSION
from potminer.world.net.link import Pulse
from potminer.world.net.network import NetworkLimits
from potminer.world.net.refusal import LinkRefused, Refusal
from tests.contract.net_world import HELLO, Node, join, key, node, raw_peer

VOTE = pbft.Vote(2, 0, 7, 0, b"d" * 32, 1, b"s" * 64)
MESSAGES: list[Wire] = [
    VOTE,
    pbft.Status(3, 0, 1),
    sync.Head(9, b"h" * 32),
    sync.BlocksWanted(1, 64),
    gossip.Push((gossip.Item(gossip.Topic.TRANSACTION, b"t" * 20_000),) * 3),
    gossip.AddressesWanted(),
    blob.BlobWanted(b"b" * 32),
    blob.Piece(b"b" * 32, 0, bytes(3 * FRAGMENT_BYTES + 5), (b"x" * 32,)),
]


async def refusal(first: Node, second: Node, expected: bytes | None = None) -> Refusal:
    with pytest.raises(LinkRefused) as refused:
        await first.network.dial("127.0.0.1", second.port, expected)
    return refused.value.reason


async def test_two_nodes_find_each_other_by_key() -> None:
    async with node("a") as a, node("b") as b:
        assert await a.network.dial("127.0.0.1", b.port) == b.key
        await b.heard.until(lambda: b.heard.up == [a.key])
        (info,) = a.network.peers()
        assert (info.key, info.outbound, info.hello, info.address) == (b.key, True, HELLO, ("127.0.0.1", b.port))
        assert not b.network.peers()[0].outbound
    assert a.heard.down == [b.key]
    assert b.heard.down == [a.key]


@pytest.mark.parametrize(
    ("first", "word"),
    [(bytes(32), "version 1 of"), (bytes(32) + b"\x00\x01", "version 1 of"), (bytes(32) + b"\x00\x03", "version 3 of")],
)
async def test_a_peer_of_another_version_is_told_so_and_so_are_we(first: bytes, word: str) -> None:
    """The first message of version 1 says no version. Before, all of this ended as a handshake that failed."""
    async with node("a") as a:
        reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
        writer.write(len(first).to_bytes(2, "big") + first)
        assert await reader.read() == b"\x00\x02" + PROTOCOL_VERSION.to_bytes(2, "big"), "and it hangs up"
        writer.close()
        await a.heard.until(lambda: len(a.heard.versions) == 1)
        assert word in a.heard.versions[0][1]
        older = "it has to be updated" if "1" in word else "this node has to be updated"
        assert older in a.heard.versions[0][1]
        assert not a.heard.offences


async def test_who_dials_a_newer_node_learns_that_it_is_old() -> None:
    async def newer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(2 + 34)
        writer.write(b"\x00\x02\x00\x09")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(newer, "127.0.0.1", 0)
    async with node("a") as a, server:
        with pytest.raises(LinkRefused, match="version 9 of the protocol, this node 2: this node has") as refused:
            await a.network.dial("127.0.0.1", server.sockets[0].getsockname()[1])
        assert refused.value.reason is Refusal.OTHER_VERSION
        assert [host for host, _ in a.heard.versions] == ["127.0.0.1"]


async def test_every_kind_of_message_arrives_as_it_was_said() -> None:
    async with node("a") as a, node("b") as b:
        await join(a, b)
        for message in MESSAGES:
            assert a.network.send(b.key, message)
            assert b.network.send(a.key, message)
        await b.heard.until(lambda: len(b.heard.messages) == len(MESSAGES))
        await a.heard.until(lambda: len(a.heard.messages) == len(MESSAGES))
        for heard, speaker in ((a.heard, b.key), (b.heard, a.key)):
            assert all(peer == speaker for peer, _ in heard.messages)
            assert {m for _, m in heard.messages} == set(MESSAGES)
        assert a.network.traffic().total_sent == b.network.traffic().total_received > 100_000


async def test_another_chain_is_refused() -> None:
    async with node("a") as a, node("b", chain=b"x" * 32) as b:
        assert await refusal(a, b) is Refusal.BAD_HANDSHAKE
        assert not b.heard.up


async def test_another_node_than_expected_is_refused() -> None:
    async with node("a") as a, node("b") as b:
        assert await refusal(a, b, key("c").public) is Refusal.WRONG_PEER
        assert not a.heard.up


async def test_our_own_key_is_refused() -> None:
    async with node("a") as a, node("a") as again:
        assert await refusal(a, a) is Refusal.OURSELVES
        assert await refusal(a, again) is Refusal.OURSELVES


async def test_nobody_there() -> None:
    async with node("a") as a:
        async with node("b") as b:
            port = b.port
        with pytest.raises(LinkRefused) as refused:
            await a.network.dial("127.0.0.1", port)
        assert refused.value.reason is Refusal.UNREACHABLE


async def test_a_ban_closes_refuses_and_ends() -> None:
    async with node("a") as a, node("b") as b:
        await join(a, b)
        b.network.ban(a.key, 3600)
        await a.heard.until(lambda: a.heard.down == [b.key])
        assert await refusal(a, b) is Refusal.CLOSED
        assert await refusal(b, a, a.key) is Refusal.BANNED
        async with node("c") as c:
            await join(c, b)
    async with node("a") as a, node("b") as b:
        b.network.ban(a.key, 0)
        await join(a, b)


async def test_links_are_bounded() -> None:
    limits = NetworkLimits(peers=2, strangers=1)
    async with (
        node("hub", limits=limits, is_validator=lambda peer: peer == key("v").public) as hub,
        node("s") as stranger,
        node("t") as another,
        node("v") as validator,
        node("w") as late,
    ):
        await join(stranger, hub)
        assert await refusal(another, hub) is Refusal.CLOSED
        await join(validator, hub)
        assert await refusal(late, hub) is Refusal.CLOSED
        assert await refusal(hub, late) is Refusal.FULL


async def test_dials_across_each_other_leave_one_link_that_both_agree_on() -> None:
    for _ in range(5):
        async with node("a") as a, node("b") as b:
            await asyncio.gather(
                a.network.dial("127.0.0.1", b.port),
                b.network.dial("127.0.0.1", a.port),
                return_exceptions=True,
            )
            settled = lambda: (  # noqa: E731
                len(a.network.peers()) == 1
                and len(b.network.peers()) == 1
                and a.network.peers()[0].outbound != b.network.peers()[0].outbound
            )
            await a.heard.until(settled)
            a.network.send(b.key, VOTE)
            await b.heard.until(lambda: len(b.heard.messages) == 1)
            assert len(a.heard.up) - len(a.heard.down) == 1


async def test_dialling_again_uses_the_link_that_stands() -> None:
    async with node("a") as a, node("b") as b:
        await join(a, b)
        assert await a.network.dial("127.0.0.1", b.port) == b.key
        assert await b.network.dial("127.0.0.1", a.port, a.key) == a.key
        assert (a.heard.up, a.heard.down) == ([b.key], [])


async def test_a_restarted_peer_takes_the_place_of_its_dead_link() -> None:
    async with node("a") as hub, raw_peer("b", hub.port):
        await hub.heard.until(lambda: len(hub.heard.up) == 1)
        async with raw_peer("b", hub.port):
            await hub.heard.until(lambda: len(hub.heard.up) == 2)
            assert len(hub.heard.down) == 1
            assert len(hub.network.peers()) == 1


async def test_a_restarted_peer_gets_in_also_where_its_dead_link_would_win() -> None:
    async with node("a") as dead, node("b") as hub, node("a") as again:
        assert hub.key < again.key
        await join(hub, dead)
        await join(again, hub)
        assert hub.heard.up == [again.key] * 2
        assert not hub.network.peers()[0].outbound


async def test_a_vote_overtakes_the_blob_queued_before_it() -> None:
    async with node("a") as a, node("b") as b:
        await join(a, b)
        pieces = [blob.Piece(b"b" * 32, index, bytes(2**20), ()) for index in range(4)]

        def first_piece_is_here(_peer: bytes, message: Wire) -> None:
            if message == pieces[0]:
                assert a.network.send(b.key, VOTE)

        b.heard.on_message = first_piece_is_here
        assert all(a.network.send(b.key, piece) for piece in pieces)
        await b.heard.until(lambda: len(b.heard.messages) == 5)
        assert [message for _, message in b.heard.messages] == [pieces[0], VOTE, *pieces[1:]]


async def test_what_waits_for_a_peer_that_does_not_read_is_bounded() -> None:
    async with node("a") as a, raw_peer("b", a.port) as raw:
        await a.heard.until(lambda: len(a.heard.up) == 1)
        peer = a.heard.up[0]
        piece = blob.Piece(b"b" * 32, 0, bytes(2**20), ())
        taken = sum(a.network.send(peer, piece) for _ in range(50))
        assert taken <= 8
        assert a.network.peers()[0].queued_bytes <= 8 * 2**20
        assert a.network.send(peer, VOTE)
        assert raw.greeted.peer == a.key


async def test_our_own_sender_keeps_to_the_rates_that_peers_enforce() -> None:
    async with node("a") as a, node("b") as b:
        await join(a, b)
        taken = sum(a.network.send(b.key, gossip.AddressesWanted()) for _ in range(100))
        assert taken == 15
        await b.heard.until(lambda: len(b.heard.messages) == taken)
        assert not b.heard.offences


async def test_a_silent_peer_is_given_up_and_a_quiet_one_is_kept() -> None:
    limits = NetworkLimits(pulse=Pulse(ping_s=0.05, idle_s=0.4))
    async with node("a", limits=limits) as a, node("b") as quiet, raw_peer("c", a.port):
        await join(quiet, a)
        await a.heard.until(lambda: a.heard.down == [key("c").public])
        assert a.network.linked(quiet.key)
        assert not a.heard.offences


async def test_a_greeting_that_stalls_is_ended() -> None:
    async with node("a", limits=NetworkLimits(greeting_s=0.2)) as a:
        reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
        writer.write(b"\0\x20half")
        assert await reader.read() == b""
        assert not a.heard.up
        writer.close()


async def test_stalling_greetings_do_not_lock_honest_peers_out() -> None:
    async with node("a", limits=NetworkLimits(greetings=4)) as a, node("b") as b:
        stalling = [await asyncio.open_connection("127.0.0.1", a.port) for _ in range(12)]
        await join(b, a)
        assert a.network.greetings <= 4
        for _, writer in stalling:
            writer.transport.abort()


async def test_a_fault_of_our_own_is_not_swallowed() -> None:
    def broken(_peer: bytes, _message: Wire) -> None:
        raise AssertionError("our bug")

    async def talk() -> None:
        async with node("a") as a, node("b") as b:
            await join(a, b)
            b.heard.on_message = broken
            a.network.send(b.key, VOTE)
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup, match="TaskGroup"):
        await talk()
