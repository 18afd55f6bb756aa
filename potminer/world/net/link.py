"""One link: an authenticated peer, a reader, a writer, and the rules of talking.

Votes overtake blobs: the writer asks the outbox for the most urgent frame each time, and keeps
the kernel's buffer short, so what was decided last goes out first. A link ends once, with an
Ending that says why and whom to blame.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from potminer.base.errors import Malformed
from potminer.wire.codec import Wire
from potminer.wire.deflate import DEFLATED_CHANNELS, LEAST_BYTES, Deflater, Inflater
from potminer.wire.frame import (
    FRAGMENT_BYTES,
    Fragment,
    Frame,
    Grant,
    Ping,
    Pong,
    decode_frame,
    encode_frame,
)
from potminer.wire.registry import Channel, Row, unpack
from potminer.world.net.greet import SEALED_BYTES, Greeted
from potminer.world.net.handshake import TAG_BYTES, Unauthentic
from potminer.world.net.intake import Intake
from potminer.world.net.meter import KindMeter, Traffic
from potminer.world.net.outbox import Outbox
from potminer.world.net.refusal import Misbehaviour, OffenceWord

READ_BUFFER_BYTES = 64 * 1024
_UNSENT_BYTES = 32 * 1024
"""What the kernel may hold unsent: more of it is blob in front of a vote."""
_PREFIX_BYTES = 2
BEHIND_S = 10.0
"""A line that was behind is expected to be so again."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """When a silent peer is asked whether it lives, and when it is given up. Seconds."""

    ping_s: float = 10.0
    idle_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a link ended; *offence* where its peer is to blame."""

    why: str
    offence: OffenceWord | None = None


@dataclass(frozen=True, slots=True)
class Socket:
    """A connected stream and whom it reaches; *host* and *port* are of the other end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    outbound: bool
    host: str
    port: int

    def abort(self) -> None:
        """Closes at once; what was not sent is lost."""
        self.writer.transport.abort()


def prefer_urgency(writer: asyncio.StreamWriter) -> None:
    """Keeps buffers below the link short, so that the outbox decides what goes first."""
    writer.transport.set_write_buffer_limits(high=FRAGMENT_BYTES)
    raw = writer.get_extra_info("socket")
    if raw is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)


class Link:
    """An open link. ``run`` carries it until it ends; ``offer`` and ``end`` never block."""

    def __init__(
        self,
        stream: Socket,
        greeted: Greeted,
        *,
        deliver: Callable[[Wire], None],
        is_validator: Callable[[], bool],
        clock: Callable[[], float],
        pulse: Pulse,
    ) -> None:
        self.peer = greeted.peer
        self.static = greeted.static
        self.hello = greeted.hello
        self.stream = stream
        self.since = clock()
        self.traffic = Traffic()
        self._sending = greeted.sending
        self._receiving = greeted.receiving
        self._deliver = deliver
        self._clock = clock
        self._pulse = pulse
        self._intake = Intake(clock=clock, is_validator=is_validator)
        self._own_rates = KindMeter(sending=True)
        self._outbox = Outbox()
        self._deflater: Deflater | None = None
        self._inflater = Inflater()
        self._behind_until = -BEHIND_S
        """The kernel did not take all of what was written: the line, not this machine, is what limits, and will be
        for a while."""
        self._work = asyncio.Event()
        self._ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._heard = clock()

    @property
    def queued_bytes(self) -> int:
        return self._outbox.queued_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of messages not yet complete."""
        return self._intake.held_bytes

    def offer(self, row: Row, body: bytes) -> bool:
        """Queue a message; False where the queue is full, our own rate is spent, or the link has ended."""
        if self._ended.done() or not self._own_rates.allows(row, self._clock()):
            return False
        accepted = self._outbox.offer(row, body)
        self._work.set()
        return accepted

    def end(self, ending: Ending) -> None:
        """The first ending holds."""
        if not self._ended.done():
            self._ended.set_result(ending)

    async def run(self) -> Ending:
        """Carries the link until it ends; the stream is closed then."""
        tasks = [asyncio.create_task(part()) for part in (self._read, self._write, self._keep_alive)]
        try:
            parts: list[asyncio.Future[Any]] = [*tasks, self._ended]
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            return self._ended.result()
        finally:
            self.end(Ending("shut down"))
            for task in tasks:
                task.cancel()
            self.stream.abort()
            await asyncio.gather(*tasks, return_exceptions=True)

    # ---- reading -------------------------------------------------------------------------

    async def _read(self) -> None:
        while not self._ended.done():
            message = await self._next_message()
            if message is not None and not self._ended.done():
                self._deliver(message)

    async def _next_message(self) -> Wire | None:
        """The message that the next frame completes, if it does; ends the link where it must not."""
        try:
            sealed = await self._receive()
            frame = decode_frame(self._inflater.frame(self._receiving.open(sealed)))
            return self._take(frame, _PREFIX_BYTES + len(sealed))
        except Unauthentic:
            # Anybody on the path can damage bytes: the peer is not to blame.
            self.end(Ending("bytes that the peer did not seal"))
        except Misbehaviour as fault:
            self.end(Ending(fault.detail, fault.offence))
        except Malformed as error:
            self.end(Ending(str(error), "malformed"))
        except (asyncio.IncompleteReadError, OSError):
            self.end(Ending("the peer hung up"))
        return None

    async def _receive(self) -> bytes:
        reader = self.stream.reader
        size = int.from_bytes(await reader.readexactly(_PREFIX_BYTES), "big")
        if not TAG_BYTES < size <= SEALED_BYTES:
            raise Unauthentic("a frame of impossible length")
        sealed = await reader.readexactly(size)
        self._heard = self._clock()
        return sealed

    def _take(self, frame: Frame, size: int) -> Wire | None:
        channel = frame.channel if isinstance(frame, Fragment | Grant) else Channel.RPC
        self.traffic.received[channel] += size
        match frame:
            case Fragment():
                return self._take_fragment(frame)
            case Grant():
                self._outbox.credit(frame)
            case Ping():
                self._intake.ping()
                self._outbox.pong()
            case Pong():
                self._intake.ping()
        self._work.set()
        return None

    def _take_fragment(self, fragment: Fragment) -> Wire | None:
        complete = self._intake.fragment(fragment)
        if grant := self._intake.grant(fragment.channel):
            self._outbox.grant(grant)
            self._work.set()
        return unpack(complete[0].number, complete[1]) if complete else None

    # ---- writing -------------------------------------------------------------------------

    async def _write(self) -> None:
        writer = self.stream.writer
        try:
            while True:
                await self._work.wait()
                self._work.clear()
                while batch := self._seal_batch():
                    writer.write(batch)
                    if writer.transport.get_write_buffer_size() > 0:
                        self._behind_until = self._clock() + BEHIND_S
                    await writer.drain()
        except OSError:
            self.end(Ending("the peer hung up"))

    def _seal_batch(self) -> bytes:
        """Frames to write at once: several small ones, or one large."""
        batch = bytearray()
        while len(batch) < FRAGMENT_BYTES and (frame := self._outbox.next()) is not None:
            sealed = self._sending.seal(self._shortened(frame))
            batch += len(sealed).to_bytes(_PREFIX_BYTES, "big") + sealed
            channel = frame.channel if isinstance(frame, Fragment | Grant) else Channel.RPC
            self.traffic.sent[channel] += _PREFIX_BYTES + len(sealed)
        return bytes(batch)

    def _shortened(self, frame: Frame) -> bytes:
        """*frame* as bytes, deflated where the line is behind and it may help."""
        encoded = encode_frame(frame)
        if len(encoded) < LEAST_BYTES or self._clock() >= self._behind_until:
            return encoded
        if not isinstance(frame, Fragment) or frame.channel not in DEFLATED_CHANNELS:
            return encoded
        self._deflater = self._deflater or Deflater()
        return self._deflater.shell(encoded)

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self._pulse.ping_s)
            silent_s = self._clock() - self._heard
            if silent_s >= self._pulse.idle_s:
                self.end(Ending("the peer fell silent"))
                return
            if silent_s >= self._pulse.ping_s:
                self._outbox.ping()
                self._work.set()
