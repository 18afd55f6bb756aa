"""Hostile bytes against a listening node: typed refusals, bounded memory, honest peers still served."""

from __future__ import annotations

import asyncio
import random

import pytest

from potminer.base import limits
from potminer.base.errors import Malformed
from potminer.wire import blob, gossip, hello, pbft
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.frame import (
    FRAGMENT_BYTES,
    WINDOW_BYTES,
    Fragment,
    Grant,
    Opening,
    Ping,
    encode_frame,
    fragments,
)
from potminer.wire.hello import Identity
from potminer.wire.registry import Channel, pack
from potminer.world.net.greet import Greeter, Introduction, vouched_peer
from potminer.world.net.guard import Guard, gives_place, gives_way, host_group, is_loopback
from potminer.world.net.handshake import LinkKey
from potminer.world.net.network import NetworkLimits
from potminer.world.net.refusal import LinkRefused, Refusal
from tests.contract.net_world import CHAIN, HELLO, Node, Raw, join, key, node, raw_peer

VOTE = pbft.Vote(2, 0, 7, 0, b"d" * 32, 1, b"s" * 64)
ATTACKER = "attacker"


def frames(message: Wire) -> list[bytes]:
    return [encode_frame(fragment) for fragment in fragments(*pack(message))]


async def blamed(victim: Node, raw: Raw) -> tuple[str, str]:
    """Waits until the attacker is reported; the offence and its detail."""
    await victim.heard.until(lambda: bool(victim.heard.offences))
    assert await raw.hung_up()
    peer, offence, detail = victim.heard.offences[0]
    assert peer == key(ATTACKER).public
    assert not victim.network.linked(peer)
    assert victim.heard.down.count(peer) == victim.heard.up.count(peer) == 1
    return offence, detail


OVERSIZE = Fragment(Channel.GOSSIP, Opening(30, 64 * limits.TRANSACTION_BYTES + 1), False, bytes(FRAGMENT_BYTES))


@pytest.mark.parametrize(
    ("said", "offence"),
    [
        ([encode_frame(OVERSIZE)], "malformed"),
        ([b"\xff" * 40], "malformed"),
        ([b"\x00"], "malformed"),
        ([encode_frame(Grant(Channel.BLOB, 1))], "malformed"),
        ([encode_frame(Fragment(Channel.RPC, Opening(35, 3), True, b"???"))], "malformed"),
        (frames(hello.Hello("again", 0, 0)), "unexpected"),
        (frames(VOTE), "unexpected"),
        (frames(gossip.AddressesWanted()) * 40, "flood"),
        ([encode_frame(Ping())] * 100, "flood"),
    ],
)
async def test_a_wrong_word_ends_the_link_and_is_reported(said: list[bytes], offence: str) -> None:
    async with node("a", is_validator=lambda peer: False) as victim, raw_peer(ATTACKER, victim.port) as raw:
        for frame in said:
            raw.writer.write(len(sealed := raw.greeted.sending.seal(frame)).to_bytes(2, "big") + sealed)
        assert (await blamed(victim, raw))[0] == offence


async def test_an_announced_length_above_the_limit_is_refused_before_buffering() -> None:
    async with node("a") as victim, raw_peer(ATTACKER, victim.port) as raw:
        announced = Fragment(Channel.BLOB, Opening(44, 2**32 - 1), False, bytes(FRAGMENT_BYTES))
        await raw.say(encode_frame(announced))
        offence, detail = await blamed(victim, raw)
        assert offence == "malformed"
        assert "announced with 4294967295 bytes" in detail


async def test_sending_beyond_the_credit_is_a_flood() -> None:
    """The attacker's pieces are well formed, but it ignores that credit has run out."""
    async with node("a") as victim, raw_peer(ATTACKER, victim.port) as raw:
        await victim.heard.until(lambda: len(victim.heard.up) == 1)
        (link,) = victim.network._links.values()
        link._intake._credit[Channel.BLOB] = 0
        await raw.say(frames(blob.Piece(b"b" * 32, 0, bytes(FRAGMENT_BYTES), ()))[0])
        offence, detail = await blamed(victim, raw)
        assert offence == "flood"
        assert "credit" in detail


async def test_damage_on_the_way_is_not_held_against_the_peer() -> None:
    async with node("a") as victim, raw_peer(ATTACKER, victim.port) as raw:
        await victim.heard.until(lambda: len(victim.heard.up) == 1)
        sealed = bytearray(raw.greeted.sending.seal(encode_frame(Ping())))
        sealed[3] ^= 1
        await raw.say_unsealed(bytes(sealed))
        assert await raw.hung_up()
        await victim.heard.until(lambda: len(victim.heard.down) == 1)
        assert not victim.heard.offences


class Impostor(Introduction):
    """Claims another's key with a signature of its own."""

    def identity(self) -> bytes:
        own = decode(Identity, super().identity(), max_bytes=200)
        return encode(Identity(key("honest").public, own.signature))


async def test_an_identity_that_nobody_signed_is_refused_on_both_sides() -> None:
    us = Impostor(key(ATTACKER), CHAIN, LinkKey(b"s" * 32))
    async with node("a") as victim:
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
        ephemeral = LinkKey(b"e" * 32)
        greeter = Greeter(reader, writer, us, ephemeral=ephemeral, hello=HELLO, admit=lambda peer, static: None)
        with pytest.raises(LinkRefused, match="closed"):
            await greeter.dialling()
        writer.transport.abort()
        assert not victim.heard.up
    with pytest.raises(Malformed, match="signature"):
        vouched_peer(us.identity(), static=us.static.public, chain=CHAIN)


def test_a_vouched_key_holds_for_its_chain_and_link_only() -> None:
    us = Introduction(key("honest"), CHAIN, LinkKey(b"s" * 32))
    assert vouched_peer(us.identity(), static=us.static.public, chain=CHAIN) == key("honest").public
    for static, chain in ((b"t" * 32, CHAIN), (us.static.public, b"x" * 32)):
        with pytest.raises(Malformed):
            vouched_peer(us.identity(), static=static, chain=chain)


def mangled(chance: random.Random) -> bytes:
    """A frame that is random, cut off or has bits flipped."""
    honest = chance.choice(frames(chance.choice((VOTE, gossip.AddressesWanted(), blob.BlobWanted(b"b" * 32)))))
    match chance.randrange(3):
        case 0:
            return chance.randbytes(chance.randrange(1, 200))
        case 1:
            return honest[: chance.randrange(1, len(honest))]
        case _:
            flipped = bytearray(honest)
            flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
            return bytes(flipped)


async def throw_frames(victim: Node, chance: random.Random, *, links: int, frames_each: int) -> None:
    """Mangled frames over many links; each ends with one that is surely wrong."""
    for turn in range(links):
        async with raw_peer(f"{ATTACKER} {turn}", victim.port) as raw:
            for frame in [*(mangled(chance) for _ in range(frames_each)), b"\xff"]:
                sealed = raw.greeted.sending.seal(frame)
                raw.writer.write(len(sealed).to_bytes(2, "big") + sealed)
            assert await raw.hung_up()
        assert sum(link.held_bytes for link in victim.network._links.values()) == 0


async def test_ten_thousand_mangled_frames_harm_nobody_else() -> None:
    chance = random.Random(7)
    async with node("a") as victim, node("honest") as honest:
        await join(honest, victim)
        victim.heard.on_offence = lambda peer: victim.network.ban(peer, 3600)
        await throw_frames(victim, chance, links=2_000, frames_each=5)
        assert len(victim.heard.offences) == 2_000
        assert {offence for _, offence, _ in victim.heard.offences} <= {"malformed", "unexpected", "flood"}
        assert all(peer != honest.key for peer, _, _ in victim.heard.offences)
        assert not await gets_in(f"{ATTACKER} 0", victim)
        spoken = len(victim.heard.messages)
        assert honest.network.send(victim.key, VOTE)
        await victim.heard.until(lambda: (honest.key, VOTE) in victim.heard.messages[spoken:])


async def gets_in(name: str, victim: Node) -> bool:
    async with node(name, listens=False) as again:
        try:
            await again.network.dial("127.0.0.1", victim.port)
        except LinkRefused as refused:
            return refused.reason is not Refusal.CLOSED
    return True


async def throw_garbage(port: int, garbage: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(garbage)
        writer.write_eof()
        while await reader.read(4096):
            pass
    except OSError:
        pass
    finally:
        writer.transport.abort()


async def test_raw_garbage_against_the_port() -> None:
    chance = random.Random(8)
    async with node("a") as victim, node("honest") as honest:
        for _ in range(100):
            garbage = [chance.randbytes(chance.randrange(300)) for _ in range(5)]
            garbage.append(b"\0\x20" + chance.randbytes(32 + chance.randrange(200)))
            await asyncio.gather(*(throw_garbage(victim.port, part) for part in garbage))
        assert not victim.heard.up
        assert not victim.heard.offences
        await join(honest, victim)
        assert victim.network.greetings == 0


async def test_an_address_that_flings_garbage_is_refused_for_a_while() -> None:
    async with node("a", limits=NetworkLimits(spare_loopback=False)) as victim, node("honest") as honest:
        for _ in range(12):
            await throw_garbage(victim.port, b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(LinkRefused, match="closed"):
            await honest.network.dial("127.0.0.1", victim.port)


def test_the_guard_forgets_in_time_and_judges_customers_not_addresses() -> None:
    guard = Guard(spare_loopback=True)
    guard.ban(b"k", until=10)
    assert guard.banned(b"k", 9)
    assert not guard.banned(b"k", 10)
    for _ in range(20):
        guard.charge("2001:db8:1:2::1", 0)
        guard.charge("127.0.0.1", 0)
    assert guard.refuses("2001:db8:1:2::ffff", 0)
    assert not guard.refuses("2001:db8:1:3::1", 0)
    assert not guard.refuses("127.0.0.1", 0)
    assert not guard.refuses("2001:db8:1:2::1", 60)
    assert host_group("::ffff:10.0.0.1") == host_group("10.0.0.1")
    assert is_loopback("::ffff:127.0.0.1")


def test_a_flood_of_greetings_from_one_address_throws_out_its_own() -> None:
    greetings = [(1, "10.0.0.9"), (2, "10.0.0.1"), (3, "10.0.0.2"), (4, "10.0.0.1")]
    for newcomer in range(5, 100):
        greetings = [each for each in greetings if each[0] != gives_way(greetings)]
        greetings.append((newcomer, "10.0.0.1"))
    assert greetings == [(1, "10.0.0.9"), (3, "10.0.0.2"), (98, "10.0.0.1"), (99, "10.0.0.1")]
    assert gives_way([(7, "a"), (8, "b")]) == 7, "among equals the oldest"


def test_the_keys_of_one_address_leave_room_for_others() -> None:
    """However many links an address asks for, and however often: each of the others finds a place, and keeps it."""
    held: list[str] = []
    for newcomer in [*["10.0.0.1"] * 100, "10.0.0.2", *["10.0.0.1"] * 100, "10.0.0.3", "10.0.0.2", *["10.0.0.1"] * 9]:
        if len(held) < 8:
            held.append(newcomer)
        elif (at := gives_place(held, newcomer)) is not None:
            del held[at]
            held.append(newcomer)
    assert sorted(held) == [*["10.0.0.1"] * 5, *["10.0.0.2"] * 2, "10.0.0.3"]
    assert gives_place(["a", "b"], "c") is None, "who has one gives it to nobody"


async def test_a_stranger_of_a_crowded_address_gives_its_place_up() -> None:
    """All here are of one address, so the table of places is asked as for a newcomer from elsewhere."""
    limited = node("a", limits=NetworkLimits(strangers=2), is_validator=lambda peer: False)
    async with limited as victim, raw_peer("one", victim.port) as first, raw_peer("two", victim.port) as second:
        await victim.heard.until(lambda: len(victim.heard.up) == 2)
        yielding = victim.network._yielding(key("three").public, "10.9.8.7")
        assert yielding is not None
        assert yielding.peer == key("two").public
        with pytest.raises(LinkRefused, match="taken"):
            victim.network._yielding(key("three").public, "127.0.0.1")
        assert not first.reader.at_eof()
        assert not second.reader.at_eof()


def test_the_guard_is_bounded() -> None:
    guard = Guard(spare_loopback=True)
    for number in range(5_000):
        guard.charge(f"10.0.{number // 256}.{number % 256}", 0)
    for number in range(4_200):
        guard.ban(number.to_bytes(4, "big"), until=number + 1)
    assert len(guard._failures) == len(guard._bans) == 4_096
    assert guard.banned((4_199).to_bytes(4, "big"), 0)
    assert not guard.banned(bytes(4), 0)


def test_windows_hold_at_least_two_fragments() -> None:
    """Else a link could stall: half a window must come back before a fragment fits again."""
    assert all(window >= 4 * FRAGMENT_BYTES for window in WINDOW_BYTES.values())
