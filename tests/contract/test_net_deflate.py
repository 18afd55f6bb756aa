"""A line that takes less than there is to say gets deflated frames, and everything arrives."""

from __future__ import annotations

import random
import socket

from potminer.wire import gossip
from potminer.wire.codec import Wire
from potminer.wire.deflate import TAG, Deflater, Inflater
from potminer.wire.frame import Fragment, Reassembler, decode_frame, encode_frame, fragments
from potminer.wire.registry import pack, unpack
from tests.contract.net_world import Raw, key, node, raw_peer


def pushes(count: int) -> list[Wire]:
    """Bodies of which half is noise, as of a signed transaction."""
    noise = random.Random(7)
    bodies = [bytes(96) + noise.randbytes(96) for _ in range(32 * count)]
    items = [gossip.Item(gossip.Topic.TRANSACTION, body) for body in bodies]
    return [gossip.Push(tuple(items[at : at + 32])) for at in range(0, len(items), 32)]


async def next_frame(raw: Raw) -> bytes:
    size = int.from_bytes(await raw.reader.readexactly(2), "big")
    return raw.greeted.receiving.open(await raw.reader.readexactly(size))


async def test_a_line_that_is_behind_is_told_the_same_in_fewer_bytes() -> None:
    async with node("a") as a, raw_peer("slow", a.port) as slow:
        await a.heard.until(lambda: a.network.linked(key("slow").public))
        slow.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        said = pushes(64)
        assert all(a.network.send(key("slow").public, push) for push in said)
        inflater, reassembler, heard, deflated = Inflater(), Reassembler(lambda row: None), list[Wire](), 0
        while len(heard) < len(said):
            data = await next_frame(slow)
            frame = decode_frame(inflater.frame(data))
            deflated += data[0] == TAG
            if isinstance(frame, Fragment) and (complete := reassembler.feed(frame)):
                heard.append(unpack(complete[0].number, complete[1]))
        assert heard == said
        assert deflated
        assert a.network.traffic().total_sent < 0.9 * sum(len(pack(push)[1]) for push in said)


async def test_a_node_hears_deflated_frames_and_ends_a_link_that_says_other_things_in_them() -> None:
    async with node("b") as b, raw_peer("peer", b.port) as peer:
        deflater = Deflater()
        said = pushes(3)
        for push in said:
            for fragment in fragments(*pack(push)):
                await peer.say(deflater.shell(encode_frame(fragment)))
        await b.heard.until(lambda: len(b.heard.messages) == len(said))
        assert [message for _, message in b.heard.messages] == said
        await peer.say(deflater.shell(deflater.shell(encode_frame(fragment))))
        await b.heard.until(lambda: bool(b.heard.offences))
        assert b.heard.offences[0][:2] == (key("peer").public, "malformed")
