"""Real networks on loopback for the net tests: recorded handlers and raw, badly behaved dialers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from potminer.wire.codec import Wire
from potminer.wire.hello import Hello
from potminer.wire.seal import SigningKey
from potminer.world.net.greet import SEALED_BYTES, Greeted, Greeter, Introduction
from potminer.world.net.handshake import LinkKey
from potminer.world.net.network import Network, NetworkLimits

CHAIN = b"c" * 32
HELLO = Hello("tests/1", 0, 0)


def key(name: str) -> SigningKey:
    return SigningKey(name.encode().ljust(32, b"."))


@dataclass
class Recorder:
    """A handler that writes everything down; ``until`` waits for something to be there."""

    up: list[bytes] = field(default_factory=list)
    down: list[bytes] = field(default_factory=list)
    messages: list[tuple[bytes, Wire]] = field(default_factory=list)
    offences: list[tuple[bytes, str, str]] = field(default_factory=list)
    versions: list[tuple[str, str]] = field(default_factory=list)
    on_message: Callable[[bytes, Wire], None] | None = None
    on_offence: Callable[[bytes], None] | None = None
    on_down: Callable[[bytes], None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def link_up(self, peer: bytes, hello: Hello, outbound: bool, address: tuple[str, int]) -> None:
        self.up.append(peer)
        self.changed.set()

    def link_down(self, peer: bytes) -> None:
        self.down.append(peer)
        if self.on_down:
            self.on_down(peer)
        self.changed.set()

    def message(self, peer: bytes, message: Wire) -> None:
        self.messages.append((peer, message))
        if self.on_message:
            self.on_message(peer, message)
        self.changed.set()

    def offence(self, peer: bytes, offence: str, detail: str) -> None:
        self.offences.append((peer, offence, detail))
        if self.on_offence:
            self.on_offence(peer)
        self.changed.set()

    def other_version(self, host: str, detail: str) -> None:
        self.versions.append((host, detail))
        self.changed.set()

    async def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Node:
    network: Network
    heard: Recorder

    @property
    def key(self) -> bytes:
        return self.network.key

    @property
    def port(self) -> int:
        assert self.network.listening is not None
        return self.network.listening[1]


@asynccontextmanager
async def node(
    name: str,
    *,
    chain: bytes = CHAIN,
    listens: bool = True,
    limits: NetworkLimits | None = None,
    is_validator: Callable[[bytes], bool] = lambda peer: True,
) -> AsyncIterator[Node]:
    heard = Recorder()
    listen = ("127.0.0.1", 0) if listens else None
    async with Network(key(name), chain, listen, lambda: HELLO, heard, is_validator, limits) as network:
        yield Node(network, heard)


async def join(first: Node, second: Node) -> None:
    """Links *first* to *second* and waits until both know."""
    await first.network.dial("127.0.0.1", second.port, second.key)
    await second.heard.until(lambda: second.network.linked(first.key))


@dataclass
class Raw:
    """An authenticated peer that then says whatever bytes it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    greeted: Greeted

    async def say(self, frame: bytes) -> None:
        await self.say_unsealed(self.greeted.sending.seal(frame))

    async def say_unsealed(self, sealed: bytes) -> None:
        self.writer.write(len(sealed).to_bytes(2, "big") + sealed)
        await self.writer.drain()

    async def hung_up(self) -> bool:
        """Waits for the other end to close."""
        try:
            async with asyncio.timeout(10):
                while await self.reader.read(SEALED_BYTES):
                    pass
        except ConnectionError:
            pass
        return True


@asynccontextmanager
async def raw_peer(name: str, port: int, *, chain: bytes = CHAIN) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        us = Introduction(key(name), chain, LinkKey(os.urandom(32)))
        greeter = Greeter(
            reader, writer, us, ephemeral=LinkKey(os.urandom(32)), hello=HELLO, admit=lambda peer, static: None
        )
        yield Raw(reader, writer, await greeter.dialling())
    finally:
        writer.transport.abort()
