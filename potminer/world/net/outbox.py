"""The outbox of a link: what waits to be sent, in strict order of channel, within credit."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from potminer.base.errors import Malformed
from potminer.wire.frame import WINDOW_BYTES, Fragment, Frame, Grant, Ping, Pong, fragments
from potminer.wire.registry import Channel, Row


class Bound(NamedTuple):
    messages: int
    size: int


MIB = 1024 * 1024
LONG_BYTES = 512
"""A replica says again once a second what others seem to lack: a proposal that is on its way for longer than that
would fill a slow line with itself. Votes are not worth the look."""
BOUNDS: dict[Channel, Bound] = {
    Channel.CONSENSUS: Bound(4_096, 8 * MIB),
    Channel.SYNC: Bound(256, 8 * MIB),
    Channel.GOSSIP: Bound(1_024, 4 * MIB),
    Channel.RPC: Bound(64, MIB // 4),
    Channel.BLOB: Bound(1_024, 8 * MIB),
}
"""What may wait for one slow peer; beyond it a message is dropped and the sender told so."""


@dataclass(slots=True)
class _Lane:
    """One channel: whole messages waiting, the one being cut, and the credit left."""

    credit: int
    waiting: deque[tuple[Row, bytes]]
    waiting_bytes: int
    cutting: Iterator[Fragment]
    ready: Fragment | None
    bodies: set[bytes]
    """Of the long messages that wait, and of the one being cut."""
    body: bytes
    """What is being cut."""


class Outbox:
    def __init__(self) -> None:
        self._lanes = {
            channel: _Lane(WINDOW_BYTES[channel], deque(), 0, iter(()), None, set(), b"")
            for channel in sorted(Channel)
        }
        self._grants = dict.fromkeys(Channel, 0)
        self._ping = self._pong = False

    @property
    def queued_bytes(self) -> int:
        return sum(lane.waiting_bytes for lane in self._lanes.values())

    def offer(self, row: Row, body: bytes) -> bool:
        """Queue a message; False where its channel is full. What consensus repeats is not queued while it waits."""
        lane, bound = self._lanes[row.channel], BOUNDS[row.channel]
        if lane.bodies and body in lane.bodies:
            return True
        full = len(lane.waiting) >= bound.messages or lane.waiting_bytes + len(body) > bound.size
        if full and lane.waiting:
            return False
        lane.waiting.append((row, body))
        lane.waiting_bytes += len(body)
        if row.channel is Channel.CONSENSUS and len(body) >= LONG_BYTES:
            lane.bodies.add(body)
        return True

    def credit(self, grant: Grant) -> None:
        """The other end may take more; Malformed where it grants what was never spent."""
        lane = self._lanes[grant.channel]
        if not 0 < grant.size <= WINDOW_BYTES[grant.channel] - lane.credit:
            raise Malformed("a grant of credit that was not spent")
        lane.credit += grant.size

    def grant(self, grant: Grant) -> None:
        """Tell the other end; grants of one channel that wait are summed."""
        self._grants[grant.channel] += grant.size

    def ping(self) -> None:
        self._ping = True

    def pong(self) -> None:
        self._pong = True

    def next(self) -> Frame | None:
        """The frame to send now, or None where nothing may be sent."""
        if control := self._next_control():
            return control
        for lane in self._lanes.values():
            fragment = self._peek(lane)
            if fragment is not None and len(fragment.data) <= lane.credit:
                lane.ready = None
                lane.credit -= len(fragment.data)
                if fragment.last:
                    lane.bodies.discard(lane.body)
                lane.waiting_bytes -= len(fragment.data)
                return fragment
        return None

    def _next_control(self) -> Frame | None:
        for channel, size in self._grants.items():
            if size:
                self._grants[channel] = 0
                return Grant(channel, size)
        if self._pong:
            self._pong = False
            return Pong()
        if self._ping:
            self._ping = False
            return Ping()
        return None

    @staticmethod
    def _peek(lane: _Lane) -> Fragment | None:
        if lane.ready is None:
            lane.ready = next(lane.cutting, None)
        if lane.ready is None and lane.waiting:
            row, lane.body = lane.waiting.popleft()
            lane.cutting = fragments(row, lane.body)
            lane.ready = next(lane.cutting, None)
        return lane.ready
