"""The greeting: a Noise handshake over a socket, identities proven, and a Hello each way.

The static keys are fresh per process; each side's Ed25519 node key vouches for its own inside
the handshake. The prologue binds chain and version: peers of two chains never understand each other. The version is
said in the clear as well, first of all: two ends that differ in it can tell each other so, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from potminer.base.digest import Domain, digest
from potminer.base.errors import Malformed
from potminer.wire.codec import decode, encode
from potminer.wire.deflate import SHELL_BYTES
from potminer.wire.frame import FRAME_BYTES, Fragment, Reassembler, decode_frame, encode_frame, fragments
from potminer.wire.hello import PROTOCOL_VERSION, Hello, Identity
from potminer.wire.registry import Row, pack, unpack
from potminer.wire.seal import Purpose, SigningKey, statement, verify
from potminer.world.net.handshake import KEY_BYTES, TAG_BYTES, CipherState, Handshake, LinkKey, Unauthentic
from potminer.world.net.refusal import LinkRefused, Refusal

SEALED_BYTES = FRAME_BYTES + SHELL_BYTES + TAG_BYTES
_IDENTITY_BYTES = len(encode(Identity(bytes(32), bytes(64))))
_VERSION_BYTES = 2
_FIRST_BYTES = KEY_BYTES + _VERSION_BYTES
_SILENT_BYTES = KEY_BYTES
"""The first message of version 1, which did not say its version."""
_SECOND_BYTES = KEY_BYTES + (KEY_BYTES + TAG_BYTES) + (_IDENTITY_BYTES + TAG_BYTES)
_THIRD_BYTES = (KEY_BYTES + TAG_BYTES) + (_IDENTITY_BYTES + TAG_BYTES)

_VERSION = PROTOCOL_VERSION.to_bytes(_VERSION_BYTES, "big")

Admit = Callable[[bytes, bytes], None]
"""Sees (peer key, peer static key) as soon as they are proven; raises LinkRefused to go no further."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """Who we are on every link of this process."""

    key: SigningKey
    chain: bytes
    static: LinkKey

    @property
    def prologue(self) -> bytes:
        return b"potminer/link" + _VERSION + self.chain

    def identity(self) -> bytes:
        """Handshake payload: the node key's signature over the static key."""
        vouching = _vouching(self.chain, self.key.public, self.static.public)
        return encode(Identity(self.key.public, self.key.sign(vouching)))


@dataclass(frozen=True, slots=True)
class Greeted:
    """An authenticated other end, ready to talk."""

    peer: bytes
    static: bytes
    hello: Hello
    sending: CipherState
    receiving: CipherState


def _vouching(chain: bytes, key: bytes, static: bytes) -> bytes:
    return statement(Purpose.LINK_KEY, chain=chain, signer=key, digest=digest(Domain.LINK_KEY, static))


def vouched_peer(payload: bytes, *, static: bytes, chain: bytes) -> bytes:
    """The node key that vouches for *static*; Malformed where none does."""
    identity = decode(Identity, payload, max_bytes=_IDENTITY_BYTES)
    if not verify(identity.key, _vouching(chain, identity.key, static), identity.signature):
        raise Malformed("an identity whose signature does not hold")
    return identity.key


class Greeter:
    """One greeting over one socket. Raises LinkRefused; the caller sets the deadline."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        introduction: Introduction,
        *,
        ephemeral: LinkKey,
        hello: Hello,
        admit: Admit,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._us = introduction
        self._ephemeral = ephemeral
        self._hello = hello
        self._admit = admit

    async def dialling(self) -> Greeted:
        noise = self._noise(initiator=True)
        await self._send(noise.write(_VERSION))
        second = await self._receive(_SECOND_BYTES, _VERSION_BYTES)  # version 1 hangs up instead
        if len(second) == _VERSION_BYTES:
            raise _other_version(second)
        payload = self._read_noise(noise, second)
        peer = self._identify(payload, noise.remote_static)
        await self._send(noise.write(self._us.identity()))
        return await self._exchange_hellos(peer, noise)

    async def listening(self) -> Greeted:
        noise = self._noise(initiator=False)
        first = await self._receive(_FIRST_BYTES, _SILENT_BYTES)
        spoken = first[KEY_BYTES:] or (1).to_bytes(_VERSION_BYTES, "big")
        if spoken != _VERSION:
            await self._send(_VERSION)
            raise _other_version(spoken)
        self._read_noise(noise, first)
        await self._send(noise.write(self._us.identity()))
        payload = self._read_noise(noise, await self._receive(_THIRD_BYTES))
        peer = self._identify(payload, noise.remote_static)
        return await self._exchange_hellos(peer, noise)

    def _noise(self, *, initiator: bool) -> Handshake:
        return Handshake(
            initiator=initiator, prologue=self._us.prologue, static=self._us.static, ephemeral=self._ephemeral
        )

    @staticmethod
    def _read_noise(noise: Handshake, message: bytes) -> bytes:
        try:
            return noise.read(message)
        except Malformed as error:
            raise LinkRefused(Refusal.BAD_HANDSHAKE, f"another chain, or damaged: {error}") from error

    def _identify(self, payload: bytes, static: bytes) -> bytes:
        try:
            peer = vouched_peer(payload, static=static, chain=self._us.chain)
        except Malformed as error:
            raise LinkRefused(Refusal.BAD_HANDSHAKE, str(error)) from error
        if peer == self._us.key.public:
            raise LinkRefused(Refusal.OURSELVES, "our own key", peer)
        self._admit(peer, static)
        return peer

    async def _exchange_hellos(self, peer: bytes, noise: Handshake) -> Greeted:
        sending, receiving = noise.split()
        for fragment in fragments(*pack(self._hello)):
            await self._send(sending.seal(encode_frame(fragment)))
        sealed = await self._receive(at_most=SEALED_BYTES)
        try:
            hello = _decode_hello(receiving.open(sealed))
        except Unauthentic as error:
            raise LinkRefused(Refusal.BAD_HANDSHAKE, str(error)) from error
        except Malformed as error:
            raise LinkRefused(Refusal.MISBEHAVED, str(error), peer) from error
        return Greeted(peer, noise.remote_static, hello, sending, receiving)

    async def _send(self, message: bytes) -> None:
        try:
            self._writer.write(len(message).to_bytes(2, "big") + message)
            await self._writer.drain()
        except OSError as error:
            raise LinkRefused(Refusal.CLOSED, str(error)) from error

    async def _receive(self, *sizes: int, at_most: int = 0) -> bytes:
        """A message of one of *sizes*, or of *at_most* so many bytes."""
        try:
            size = int.from_bytes(await self._reader.readexactly(2), "big")
            if size > at_most if at_most else size not in sizes:
                raise LinkRefused(Refusal.BAD_HANDSHAKE, "a message of impossible length")
            return await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise LinkRefused(Refusal.CLOSED, "the other end hung up") from error


def _other_version(said: bytes) -> LinkRefused:
    theirs = int.from_bytes(said, "big")
    older = "it" if theirs < PROTOCOL_VERSION else "this node"
    detail = f"it speaks version {theirs} of the protocol, this node {PROTOCOL_VERSION}: {older} has to be updated"
    return LinkRefused(Refusal.OTHER_VERSION, detail)


def _decode_hello(data: bytes) -> Hello:
    """The first words on a link are one Hello; it fits one frame."""
    frame = decode_frame(data)
    if not isinstance(frame, Fragment):
        raise Malformed("no Hello")
    complete = Reassembler(_only_hello).feed(frame)
    if complete is None:
        raise Malformed("a Hello in several fragments")
    message = unpack(complete[0].number, complete[1])
    if not isinstance(message, Hello):
        raise Malformed("no Hello")
    return message


def _only_hello(row: Row) -> None:
    if row.type is not Hello:
        raise Malformed(f"{row.type.__name__} before Hello")
