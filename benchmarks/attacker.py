"""The other side of attacks.py: one attack on running validators, for some seconds, by a process of its own.

It speaks potminer's own wire as a stranger, as a key that holds money, or as a committee member whose key it took,
and says at the end in one line of JSON what it did.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from chains import FEE, key

from potminer.base import limits
from potminer.base.address import encode_address
from potminer.base.errors import Malformed
from potminer.wire import blob, deflate, gossip, leap, sync
from potminer.wire.codec import Wire, encode
from potminer.wire.frame import FRAGMENT_BYTES, Fragment, Opening, Ping, encode_frame, fragments
from potminer.wire.gossip import Item, Push, Topic
from potminer.wire.hello import Hello
from potminer.wire.registry import Channel, pack
from potminer.wire.seal import SigningKey
from potminer.wire.tx import Bond, SignedTransaction, Transaction, Transfer, sign_transaction
from potminer.world.net.greet import Greeted, Greeter, Introduction
from potminer.world.net.handshake import LinkKey
from potminer.world.net.refusal import LinkRefused

HOST = "127.0.0.1"
HELLO = Hello("attacker", 0, 0)
MANY = 2_000
"""Connections of one kind that one attack holds at a time."""
FAR = 2**40
AT_ONCE = 16


@dataclass(frozen=True)
class Target:
    name: str
    port: int
    key: bytes
    socket: str
    api_port: int


@dataclass(eq=False)
class Scene:
    """Whom to attack, with what, until when; *did* is what the record says of it."""

    chain: bytes
    targets: list[Target]
    taken: SigningKey
    seat: int
    """Of the taken key in the committee."""
    ends: float
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    did: Counter[str] = field(default_factory=Counter)
    serial: int = 0

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends

    def target(self) -> Target:
        return self.chance.choice(self.targets)

    def stranger(self) -> SigningKey:
        self.serial += 1
        return SigningKey(os.urandom(32))

    def hashes(self, count: int) -> tuple[bytes, ...]:
        return tuple(self.chance.randbytes(32) for _ in range(count))


Attack = Callable[[Scene], Awaitable[None]]
ATTACKS: dict[str, Attack] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    def note(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return note


# ---- bytes before anybody is authenticated -------------------------------------------------


@attack("junk")
async def junk(scene: Scene) -> None:
    """Random bytes, lengths that lie, handshakes cut off at every place."""

    async def one() -> None:
        while scene.goes_on:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(HOST, scene.target().port)
                size = scene.chance.choice((0, 1, 32, 33, 160, 65_535))
                said = scene.chance.choice((32, size, 0, 7))
                writer.write(size.to_bytes(2, "big") + scene.chance.randbytes(said))
                scene.did["connections"] += 1
                if scene.chance.random() < 0.5:
                    async with asyncio.timeout(0.5):
                        with suppress(TimeoutError):
                            await reader.read(1)
                writer.transport.abort()

    await asyncio.gather(*(one() for _ in range(16)), return_exceptions=True)


@attack("slow-loris")
async def slow_loris(scene: Scene) -> None:
    """Handshakes that say a byte a second."""

    async def one(at: int) -> None:
        while scene.goes_on:
            try:
                _, writer = await asyncio.open_connection(HOST, scene.targets[at % len(scene.targets)].port)
                scene.did["connections"] += 1
                for byte in (32).to_bytes(2, "big") + bytes(range(32)):
                    writer.write(bytes([byte]))
                    await asyncio.sleep(1)
                    if not scene.goes_on or writer.transport.is_closing():
                        break
                writer.transport.abort()
            except OSError:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(one(at) for at in range(600)))


@attack("half-open")
async def half_open(scene: Scene) -> None:
    """Thousands of connections that never say anything; whoever is thrown out comes back."""
    held: list[asyncio.StreamWriter] = []
    while scene.goes_on:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, scene.target().port)
            scene.did["connections"] += 1
            held.append(writer)
        if len(held) > MANY:
            for writer in held[: MANY // 2]:
                writer.transport.abort()
            del held[: MANY // 2]
    scene.did["held"] = len(held)


@attack("replay-handshake")
async def replay_handshake(scene: Scene) -> None:
    """The bytes of a handshake that succeeded, said again."""
    while scene.goes_on:
        target, said = scene.target(), list[bytes]()
        raw = await Raw.dial(scene, target, scene.stranger(), said)
        raw.close()
        reader, writer = await asyncio.open_connection(HOST, target.port)
        writer.write(b"".join(said))
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                while await reader.read(4_096):
                    pass
        scene.did["replayed"] += 1
        writer.transport.abort()


@attack("foreign-genesis")
async def foreign_genesis(scene: Scene) -> None:
    async def one() -> None:
        while scene.goes_on:
            with suppress(LinkRefused, OSError):
                await Raw.dial(scene, scene.target(), scene.stranger(), chain=b"another".ljust(32))
                scene.did["believed"] += 1
            scene.did["dialled"] += 1

    await asyncio.gather(*(one() for _ in range(4)))


# ---- an authenticated peer that says what it likes ------------------------------------------


class Raw:
    """A link without any of our own bounds on what is said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeted: Greeted) -> None:
        self.reader, self.writer, self.greeted = reader, writer, greeted

    @classmethod
    async def dial(
        cls, scene: Scene, target: Target, own: SigningKey, said: list[bytes] | None = None, *, chain: bytes = b""
    ) -> Raw:
        reader, writer = await asyncio.open_connection(HOST, target.port)
        if said is not None:
            write = writer.write
            writer.write = lambda data: (said.append(bytes(data)), write(data))[1]  # type: ignore[method-assign]
        us = Introduction(own, chain or scene.chain, LinkKey(os.urandom(32)))
        greeter = Greeter(reader, writer, us, ephemeral=LinkKey(os.urandom(32)), hello=HELLO, admit=lambda *_: None)
        try:
            async with asyncio.timeout(10):
                return cls(reader, writer, await greeter.dialling())
        except BaseException:
            writer.transport.abort()
            raise

    def say_frame(self, frame: bytes) -> None:
        sealed = self.greeted.sending.seal(frame)
        self.writer.write(len(sealed).to_bytes(2, "big") + sealed)

    async def say(self, *messages: Wire) -> None:
        for message in messages:
            for fragment in fragments(*pack(message)):
                self.say_frame(encode_frame(fragment))
        await self.writer.drain()
        await asyncio.sleep(0)

    async def drink(self) -> None:
        """Read what is answered, until the other end hangs up."""
        while await self.reader.read(65_536):
            pass

    @property
    def gone(self) -> bool:
        return self.writer.transport.is_closing() or self.reader.at_eof()

    def close(self) -> None:
        self.writer.transport.abort()


@lru_cache
def lies(scene: Scene) -> list[list[bytes]]:
    """What is wrong in a frame's own way: lengths, kinds, order, number, and what it inflates to."""
    whole = bytes(FRAGMENT_BYTES)
    bomb = zlib.compress(bytes(60_000_000), 9, wbits=-zlib.MAX_WBITS)
    shells = [struct.pack(">BH", deflate.TAG, size) + bomb[:16_000] for size in (1, 0, 16_000, 65_535)]
    return [
        *([shell] for shell in shells),
        [encode_frame(Fragment(Channel.BLOB, Opening(44, 2**32 - 1), False, whole))],
        [encode_frame(Fragment(Channel.GOSSIP, Opening(30, 64 * limits.TRANSACTION_BYTES), False, whole))] * 2,
        [encode_frame(Fragment(Channel.GOSSIP, Opening(30, 64 * limits.TRANSACTION_BYTES), False, whole))],
        [encode_frame(Fragment(Channel.RPC, Opening(35, 3), True, b"???"))],
        [encode_frame(Fragment(Channel.GOSSIP, None, True, b"x"))],
        [encode_frame(Ping())] * 200,
        [scene.chance.randbytes(scene.chance.randrange(1, 2_000))],
        [],
    ]


@attack("frames")
async def frames(scene: Scene) -> None:
    """Lengths that lie, fragments of nothing, messages never finished, pings without end; a new key for each."""

    async def one() -> None:
        while scene.goes_on:
            with suppress(LinkRefused, OSError, TimeoutError):
                raw = await Raw.dial(scene, scene.target(), scene.stranger())
                for frame in scene.chance.choice(lies(scene)):
                    raw.say_frame(frame)
                scene.did["links"] += 1
                await asyncio.sleep(0.05)
                raw.close()

    await asyncio.gather(*(one() for _ in range(8)))


@attack("links")
async def links(scene: Scene) -> None:
    """Hundreds of keys take every place for strangers, and hold it."""
    held: list[Raw] = []
    while scene.goes_on:
        for target in scene.targets:
            with suppress(LinkRefused, OSError, TimeoutError):
                held.append(await Raw.dial(scene, target, scene.stranger()))
                scene.did["dialled"] += 1
        await asyncio.sleep(0.01)
    scene.did["held"] = sum(not raw.gone for raw in held)


async def saying(
    scene: Scene, what: Callable[[], Wire], *, own: Callable[[], SigningKey], lanes: int = 1, deaf: bool = False
) -> None:
    """*lanes* links to every target that say *what* as fast as they are read, with another key once they are cut. The
    *deaf* read no answer."""

    async def one(target: Target) -> None:
        while scene.goes_on:
            try:
                raw = await Raw.dial(scene, target, own())
            except (LinkRefused, OSError, TimeoutError):
                scene.did["refused"] += 1
                await asyncio.sleep(0.1)
                continue
            hearing = asyncio.create_task(asyncio.sleep(3_600) if deaf else raw.drink())
            with suppress(OSError, TimeoutError, Malformed):
                while scene.goes_on and not raw.gone and not hearing.done():
                    async with asyncio.timeout(2):
                        await raw.say(*(what() for _ in range(AT_ONCE)))
                    scene.did["said"] += AT_ONCE
            scene.did["links"] += 1
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            raw.close()

    await asyncio.gather(*(one(target) for target in scene.targets for _ in range(lanes)))


@attack("have")
async def have(scene: Scene) -> None:
    """Unique hashes of items that nobody has, and never an item."""
    await saying(scene, lambda: gossip.Have(Topic.TRANSACTION, scene.hashes(512)), own=scene.stranger, lanes=2)


@attack("push-junk")
async def push_junk(scene: Scene) -> None:
    """Unique items that are nothing, or transactions that nobody signed."""

    def what() -> Wire:
        if scene.chance.random() < 0.5:
            return Push((Item(Topic.TRANSACTION, scene.chance.randbytes(500)),))
        body = Transfer(to=scene.chance.randbytes(32), amount=1)
        unsigned = Transaction(scene.chain, key("sender", 7).public, 9, FEE, 2**32, body)
        return Push((Item(Topic.TRANSACTION, encode(SignedTransaction(unsigned, bytes(64)))),))

    await saying(scene, what, own=scene.stranger, lanes=2)


def bounds(scene: Scene) -> Iterator[SignedTransaction]:
    """Duplicates, nonces far ahead, every field at its bound: well signed, by accounts that exist."""
    at = 0
    while True:
        own = key("rich", at % 50)
        at += 1
        for nonce, fee, expiry, amount in (
            (0, FEE, 2**32, 1), (0, FEE, 2**32, 1), (5_000 + at, FEE, 2**32, 1), (2**63 - 1, FEE, 2**32, 1),
            (0, 2**63 - 1, 2**63 - 1, 2**63 - 1), (0, 0, 0, 0), (at, FEE + at, 2**63 - 1, 2**63 - 1),
        ):  # fmt: skip
            with suppress(Exception):
                body = Transfer(to=own.public, amount=amount) if at % 3 else Bond(amount)
                yield sign_transaction(Transaction(scene.chain, own.public, nonce, fee, expiry, body), own)


@attack("transactions")
async def transactions(scene: Scene) -> None:
    """By an account that holds money: duplicates, nonces far ahead, every field at its bound."""
    made = [next(source) for source in [bounds(scene)] for _ in range(2_000)]

    def what() -> Wire:
        chosen = scene.chance.choices(made, k=16)
        return Push(tuple(Item(Topic.TRANSACTION, signed.encoded) for signed in chosen))

    await saying(scene, what, own=lambda: key("rich", scene.chance.randrange(50)), lanes=1)


@attack("questions")
async def questions(scene: Scene) -> None:
    """Blocks, blobs, pieces, snapshots, chunks, addresses: as many questions as a link takes, no answer read slowly."""

    def what() -> Wire:
        return scene.chance.choice(
            (
                sync.BlocksWanted(1, 64), sync.BlocksWanted(FAR, 64), leap.SnapshotWanted(0),
                leap.ManifestWanted(100), leap.ChunkWanted(100, 0), leap.ChunkWanted(FAR, 9),
                blob.BlobWanted(scene.chance.randbytes(32)), blob.PieceWanted(scene.chance.randbytes(32), 5),
                gossip.Want(Topic.TRANSACTION, scene.hashes(256)),
            )
        )  # fmt: skip

    await saying(scene, what, own=scene.stranger, lanes=3)


@attack("deaf")
async def deaf(scene: Scene) -> None:
    """Thirty links to each that ask for as many blocks as an answer holds, and read none of them."""
    await saying(scene, lambda: sync.BlocksWanted(1, 64), own=scene.stranger, lanes=30, deaf=True)


@attack("head-lies")
async def head_lies(scene: Scene) -> None:
    """Chains that are a million blocks longer, answered with blocks, offers and chunks that prove nothing."""

    def what() -> Wire:
        return scene.chance.choice(
            (
                sync.Head(scene.chance.randrange(FAR), scene.chance.randbytes(32)), sync.Blocks(()),
                leap.SnapshotOffer((), None), leap.Manifest(100, b"\0", scene.chance.randbytes(32)),
                leap.Chunk(100, 0, ((b"C", b"nothing"),)), leap.Pruned(FAR), sync.Busy(sync.Asked.BLOCKS, 10_000),
            )
        )  # fmt: skip

    await saying(scene, what, own=scene.stranger, lanes=2)


def main() -> None:
    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    told: dict[str, Any] = json.loads((folder / "attack.json").read_text())
    targets = [
        Target(each["name"], each["port"], bytes.fromhex(each["key"]), each["socket"], each["api_port"])
        for each in told["targets"]
    ]
    taken = SigningKey(bytes.fromhex(Path(told["taken"]).read_text().strip()))
    own = encode_address(taken.public)
    seat = told["seats"].index(own) if own in told["seats"] else 0
    scene = Scene(bytes.fromhex(told["chain"]), targets, taken, seat, time.monotonic() + seconds)
    for room in ("attacks_api", "attacks_member"):
        importlib.import_module(room)  # their attacks register themselves

    asyncio.run(ATTACKS[name](scene))
    sys.stdout.write(json.dumps(dict(scene.did)) + "\n")


if __name__ == "__main__":
    sys.modules["attacker"] = sys.modules["__main__"]
    main()
