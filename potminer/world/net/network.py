"""All links of a node: it listens, dials, says and hears; the handler decides.

Between two nodes stands one link. Where two would, both ends keep the same one: the newer where
the same side dialled twice or a peer restarted, otherwise the one that the smaller key dialled.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from potminer.base import limits
from potminer.wire.codec import Wire
from potminer.wire.hello import Hello
from potminer.wire.registry import Row, pack
from potminer.wire.seal import SigningKey
from potminer.world.net.greet import Greeted, Greeter, Introduction
from potminer.world.net.guard import Guard, gives_place, gives_way, host_group
from potminer.world.net.handshake import KEY_BYTES, LinkKey
from potminer.world.net.link import READ_BUFFER_BYTES, Ending, Link, Pulse, Socket, prefer_urgency
from potminer.world.net.meter import Traffic
from potminer.world.net.refusal import LinkRefused, OffenceWord, Refusal

BACKLOG = 64


class NetworkHandler(Protocol):
    """What a network reports to. Called from the event loop; must not block.

    For one peer the calls come as link_up, message ..., link_down, and offence after link_down.
    """

    def link_up(self, peer: bytes, hello: Hello, outbound: bool, address: tuple[str, int]) -> None: ...

    def link_down(self, peer: bytes) -> None: ...

    def message(self, peer: bytes, message: Wire) -> None: ...

    def offence(self, peer: bytes, offence: OffenceWord, detail: str) -> None: ...

    def other_version(self, host: str, detail: str) -> None: ...


@dataclass(frozen=True, slots=True)
class NetworkLimits:
    """Bounds of one node's network. *strangers* are inbound links of non-validators."""

    peers: int = limits.PEERS
    strangers: int = limits.PEERS // 2
    greetings: int = 32
    """Connections not yet authenticated; the oldest of whoever has most of them gives way to a new one."""
    dials: int = 16
    greeting_s: float = 10.0
    pulse: Pulse = field(default_factory=Pulse)
    spare_loopback: bool = True
    """Whether loopback is never refused for failed greetings: one machine's nodes share it."""


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """A photograph of one link. *since* is of the network's clock, in seconds."""

    key: bytes
    address: tuple[str, int]
    outbound: bool
    hello: Hello
    since: float
    sent_bytes: int
    received_bytes: int
    queued_bytes: int


class Network:
    """Use as ``async with``: leaving closes every link. A fault of our own inside ends the body."""

    def __init__(
        self,
        key: SigningKey,
        chain: bytes,
        listen: tuple[str, int] | None,
        hello: Callable[[], Hello],
        handler: NetworkHandler,
        is_validator: Callable[[bytes], bool],
        limits: NetworkLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._us = Introduction(key, chain, LinkKey(entropy(KEY_BYTES)))
        self._listen = listen
        self._hello = hello
        self._handler = handler
        self._is_validator = is_validator
        self._limits = limits or NetworkLimits()
        self._clock = clock
        self._entropy = entropy
        self._guard = Guard(spare_loopback=self._limits.spare_loopback)
        self._links: dict[bytes, Link] = {}
        self._greetings: dict[int, tuple[str, Socket]] = {}
        """By who is judged together (``host_group``), the oldest first."""
        self._dialling: set[bytes] = set()
        self._dials = 0
        self._past = Traffic()
        self._last_packed: tuple[Wire, Row, bytes] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._group = asyncio.TaskGroup()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Network:
        await self._group.__aenter__()
        if self._listen is not None:
            host, port = self._listen
            self._server = await asyncio.start_server(
                self._accept, host, port, limit=READ_BUFFER_BYTES, backlog=BACKLOG
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for link in list(self._links.values()):
            self._retire(link, Ending("shut down"))
            link.stream.abort()
        for _, greeting in self._greetings.values():
            greeting.abort()
        for task in self._tasks:
            task.cancel()
        if isinstance(error, asyncio.CancelledError):
            await self._group.__aexit__(kind, error, trace)
        else:
            # The body's own exception passes through as it is, not inside a group.
            await self._group.__aexit__(None, None, None)

    # ---- what the node asks --------------------------------------------------------------

    @property
    def key(self) -> bytes:
        return self._us.key.public

    @property
    def listening(self) -> tuple[str, int] | None:
        """Where peers can dial; None where the node only dials out."""
        if self._server is None or not self._server.sockets:
            return None
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    @property
    def greetings(self) -> int:
        """Connections that are not authenticated yet."""
        return len(self._greetings)

    @property
    def now(self) -> float:
        """The network's clock, in seconds: ``PeerInfo.since`` is of it."""
        return self._clock()

    def peers(self) -> tuple[PeerInfo, ...]:
        return tuple(
            PeerInfo(
                key=link.peer,
                address=(link.stream.host, link.stream.port),
                outbound=link.stream.outbound,
                hello=link.hello,
                since=link.since,
                sent_bytes=link.traffic.total_sent,
                received_bytes=link.traffic.total_received,
                queued_bytes=link.queued_bytes,
            )
            for link in self._links.values()
        )

    def linked(self, peer: bytes) -> bool:
        return peer in self._links

    def traffic(self) -> Traffic:
        """Bytes of all links since the start."""
        total = Traffic()
        total.add(self._past)
        for link in self._links.values():
            total.add(link.traffic)
        return total

    def send(self, peer: bytes, message: Wire) -> bool:
        """Queue *message*; False where it was dropped: no link, a full queue, or our own rate spent."""
        link = self._links.get(peer)
        return link is not None and link.offer(*self._pack(message))

    def is_behind(self, peer: bytes) -> bool:
        """Whether anything waits for the line to *peer*."""
        link = self._links.get(peer)
        return link is not None and link.queued_bytes > 0

    def close_peer(self, peer: bytes) -> None:
        link = self._links.get(peer)
        if link is not None:
            self._retire(link, Ending("closed by us"))

    def ban(self, peer: bytes, seconds: float) -> None:
        """Close and refuse *peer* for a while."""
        self._guard.ban(peer, until=self._clock() + seconds)
        self.close_peer(peer)

    async def dial(self, host: str, port: int, expected: bytes | None = None) -> bytes:
        """Link to the node at *host*; its key. Where a link to it stands already, that one serves.

        Raises LinkRefused.
        """
        if expected is not None and expected in self._links:
            return expected
        if expected is not None and self._guard.banned(expected, self._clock()):
            raise LinkRefused(Refusal.BANNED, "banned", expected)
        if self._dials >= self._limits.dials:
            raise LinkRefused(Refusal.FULL, "too many dials at once")
        self._dials += 1
        try:
            return await self._dial(host, port, expected)
        except LinkRefused as refused:
            if refused.peer is not None and refused.peer in self._links:
                return refused.peer
            raise
        finally:
            self._dials -= 1

    # ---- dialling and listening ----------------------------------------------------------

    async def _dial(self, host: str, port: int, expected: bytes | None) -> bytes:
        claimed: list[bytes] = []

        def admit(peer: bytes, static: bytes) -> None:
            if expected is not None and peer != expected:
                raise LinkRefused(Refusal.WRONG_PEER, "another node answers there")
            if peer in self._dialling:
                raise LinkRefused(Refusal.DUPLICATE, "being dialled already", peer)
            self._admit(peer, static, host, outbound=True)
            self._dialling.add(peer)
            claimed.append(peer)

        stream: Socket | None = None
        kept = False
        try:
            async with asyncio.timeout(self._limits.greeting_s):
                stream = await _connect(host, port)
                greeted = await self._greeter(stream, admit).dialling()
            self._open(stream, greeted)
            kept = True
            return greeted.peer
        except TimeoutError as error:
            raise LinkRefused(Refusal.TIMEOUT, f"{host} did not answer in time") from error
        except LinkRefused as refused:
            if refused.reason is Refusal.OTHER_VERSION:
                self._handler.other_version(host, refused.detail)
            raise self._blame(refused, claimed) from refused
        finally:
            self._dialling.difference_update(claimed)
            if stream is not None and not kept:
                stream.abort()

    def _blame(self, refused: LinkRefused, claimed: list[bytes]) -> LinkRefused:
        """The same refusal with the peer it concerns, where that is known; reports misbehaviour."""
        if refused.reason is Refusal.MISBEHAVED and refused.peer is not None:
            self._handler.offence(refused.peer, "malformed", refused.detail)
        return LinkRefused(refused.reason, refused.detail, refused.peer or (claimed[0] if claimed else None))

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("peername") or ("", 0)
        stream = Socket(reader, writer, False, str(address[0]), int(address[1]))
        if self._guard.refuses(stream.host, self._clock()):
            stream.abort()
            return
        if len(self._greetings) >= self._limits.greetings:
            at = gives_way([(at, group) for at, (group, _) in self._greetings.items()])
            self._greetings.pop(at)[1].abort()
        self._greetings[id(stream)] = host_group(stream.host), stream
        self._spawn(self._welcome(stream))

    async def _welcome(self, stream: Socket) -> None:
        def admit(peer: bytes, static: bytes) -> None:
            self._admit(peer, static, stream.host, outbound=False)

        try:
            async with asyncio.timeout(self._limits.greeting_s):
                greeted = await self._greeter(stream, admit).listening()
            self._open(stream, greeted)
        except (LinkRefused, TimeoutError) as refused:
            stream.abort()
            self._turned_away(stream.host, refused)
        finally:
            self._greetings.pop(id(stream), None)

    def _turned_away(self, host: str, refused: LinkRefused | TimeoutError) -> None:
        """Failures before authentication are held against the address, later ones against the key."""
        if isinstance(refused, TimeoutError) or refused.peer is None:
            self._guard.charge(host, self._clock())
            if isinstance(refused, LinkRefused) and refused.reason is Refusal.OTHER_VERSION:
                self._handler.other_version(host, refused.detail)
        elif refused.reason is Refusal.MISBEHAVED:
            self._guard.charge(host, self._clock())
            self._handler.offence(refused.peer, "malformed", refused.detail)

    def _greeter(self, stream: Socket, admit: Callable[[bytes, bytes], None]) -> Greeter:
        prefer_urgency(stream.writer)
        return Greeter(
            stream.reader,
            stream.writer,
            self._us,
            ephemeral=LinkKey(self._entropy(KEY_BYTES)),
            hello=self._hello(),
            admit=admit,
        )

    # ---- one link per peer ---------------------------------------------------------------

    def _admit(self, peer: bytes, static: bytes, host: str, *, outbound: bool) -> None:
        """Raises LinkRefused where a link to *peer* would not be kept."""
        if self._guard.banned(peer, self._clock()):
            raise LinkRefused(Refusal.BANNED, "banned", peer)
        standing = self._links.get(peer)
        if standing is not None:
            if not self._supersedes(standing, static, outbound=outbound):
                raise LinkRefused(Refusal.DUPLICATE, "a link to it stands", peer)
            return
        if len(self._links) >= self._limits.peers:
            raise LinkRefused(Refusal.FULL, "all links are taken", peer)
        if not outbound and not self._is_validator(peer):
            self._yielding(peer, host)

    def _yielding(self, peer: bytes, host: str) -> Link | None:
        """Who gives its place for strangers to *peer* at *host*; None: one is free. LinkRefused: nobody does."""
        held = [link for link in self._links.values() if not (link.stream.outbound or self._is_validator(link.peer))]
        if len(held) < self._limits.strangers:
            return None
        at = gives_place([host_group(link.stream.host) for link in held], host_group(host))
        if at is None:
            raise LinkRefused(Refusal.FULL, "all inbound links are taken", peer)
        return held[at]

    def _supersedes(self, standing: Link, static: bytes, *, outbound: bool) -> bool:
        """Whether a new link takes the place of *standing*; both ends find the same."""
        if static != standing.static:
            return True
        if outbound == standing.stream.outbound:
            # Only the side that lost a link dials again: the other end takes the new one.
            return not outbound
        return outbound == (self.key < standing.peer)

    def _open(self, stream: Socket, greeted: Greeted) -> None:
        peer = greeted.peer
        self._admit(peer, greeted.static, stream.host, outbound=stream.outbound)
        if (standing := self._links.get(peer)) is not None:
            self._retire(standing, Ending("replaced by another link"))
        elif not stream.outbound and not self._is_validator(peer):
            crowding = self._yielding(peer, stream.host)
            if crowding is not None:
                self._retire(crowding, Ending("its address holds more links than others"))
        link = Link(
            stream,
            greeted,
            deliver=lambda message: self._handler.message(peer, message),
            is_validator=lambda: self._is_validator(peer),
            clock=self._clock,
            pulse=self._limits.pulse,
        )
        self._links[peer] = link
        self._spawn(self._carry(link))
        self._handler.link_up(peer, greeted.hello, stream.outbound, (stream.host, stream.port))

    async def _carry(self, link: Link) -> None:
        ending = await link.run()
        self._retire(link, ending)
        if ending.offence is not None:
            self._guard.charge(link.stream.host, self._clock())
            self._handler.offence(link.peer, ending.offence, ending.why)

    def _retire(self, link: Link, ending: Ending) -> None:
        """Forget *link* now, whatever its tasks still do; the handler hears of it once."""
        link.end(ending)
        if self._links.get(link.peer) is not link:
            return
        del self._links[link.peer]
        self._past.add(link.traffic)
        self._handler.link_down(link.peer)

    def _pack(self, message: Wire) -> tuple[Row, bytes]:
        """A broadcast is encoded once, and its bytes are shared by every queue."""
        if self._last_packed is None or self._last_packed[0] is not message:
            self._last_packed = (message, *pack(message))
        return self._last_packed[1], self._last_packed[2]

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._group.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _connect(host: str, port: int) -> Socket:
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=READ_BUFFER_BYTES)
    except OSError as error:
        raise LinkRefused(Refusal.UNREACHABLE, str(error)) from error
    address = writer.get_extra_info("peername") or (host, port)
    return Socket(reader, writer, True, str(address[0]), int(address[1]))
