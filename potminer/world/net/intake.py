"""The intake of a link: what the peer may send, checked before it is kept."""

from __future__ import annotations

from collections.abc import Callable

from potminer.wire.frame import WINDOW_BYTES, Fragment, Grant, Reassembler
from potminer.wire.hello import Hello
from potminer.wire.registry import Channel, Row, Speaker
from potminer.world.net.meter import Bucket, KindMeter
from potminer.world.net.refusal import Misbehaviour

PINGS_PER_MINUTE = 60


class Intake:
    """Rates, speakers, credit and reassembly of one link's incoming messages.

    Every method raises Misbehaviour, or Malformed, for what the peer must not do.
    """

    def __init__(self, *, clock: Callable[[], float], is_validator: Callable[[], bool]) -> None:
        self._clock = clock
        self._is_validator = is_validator
        self._kinds = KindMeter(sending=False)
        self._pings = Bucket(capacity=PINGS_PER_MINUTE, per_minute=PINGS_PER_MINUTE, now=clock())
        self._credit = dict(WINDOW_BYTES)
        self._reassembler = Reassembler(self._admit)

    @property
    def held_bytes(self) -> int:
        return self._reassembler.held_bytes

    def fragment(self, fragment: Fragment) -> tuple[Row, bytes] | None:
        """Row and body of the message that *fragment* completes."""
        self._credit[fragment.channel] -= len(fragment.data)
        if self._credit[fragment.channel] < 0:
            raise Misbehaviour("flood", f"sent beyond its credit on channel {fragment.channel.name}")
        return self._reassembler.feed(fragment)

    def grant(self, channel: Channel) -> Grant | None:
        """Credit to give back: by half windows, so that grants stay few."""
        spent = WINDOW_BYTES[channel] - self._credit[channel]
        if 2 * spent < WINDOW_BYTES[channel]:
            return None
        self._credit[channel] += spent
        return Grant(channel, spent)

    def ping(self) -> None:
        if not self._pings.take(self._clock()):
            raise Misbehaviour("flood", "too many pings")

    def _admit(self, row: Row) -> None:
        if row.type is Hello:
            raise Misbehaviour("unexpected", "a second Hello")
        if row.speaker is Speaker.VALIDATOR and not self._is_validator():
            raise Misbehaviour("unexpected", f"{row.type.__name__} is for validators to say")
        if not self._kinds.allows(row, self._clock()):
            raise Misbehaviour("flood", f"more than {row.per_minute} {row.type.__name__} in a minute")
