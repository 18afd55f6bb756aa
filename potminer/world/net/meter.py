"""Meters: how much of everything may pass, and how much did. Time is passed in, in seconds."""

from __future__ import annotations

from potminer.wire.registry import Channel, Row

MINUTE_S = 60.0


class Bucket:
    """A token bucket that starts full: at most *capacity* at once, *per_minute* in the long run."""

    __slots__ = ("_at", "_capacity", "_rate", "_tokens")

    def __init__(self, *, capacity: float, per_minute: float, now: float) -> None:
        self._capacity = capacity
        self._rate = per_minute / MINUTE_S
        self._tokens = capacity
        self._at = now

    def level(self, now: float) -> float:
        self._tokens = min(self._capacity, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self._tokens

    def take(self, now: float) -> bool:
        """Whether one more may pass; it is counted if so."""
        if self.level(now) < 1:
            return False
        self._tokens -= 1
        return True


class KindMeter:
    """One bucket per kind of message, by the registry's rates.

    A receiver allows a burst of a whole minute. A sender keeps to half of that: what it sends in
    time may arrive bunched after a stall of up to half a minute, and is still no flood.
    """

    def __init__(self, *, sending: bool) -> None:
        self._divisor = 2 if sending else 1
        self._buckets: dict[int, Bucket] = {}

    def allows(self, row: Row, now: float) -> bool:
        bucket = self._buckets.get(row.number)
        if bucket is None:
            capacity = max(1.0, row.per_minute / self._divisor)
            bucket = self._buckets[row.number] = Bucket(capacity=capacity, per_minute=row.per_minute, now=now)
        return bucket.take(now)


class Traffic:
    """Bytes on the wire per channel, frames and tags included; keepalives count as RPC."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.sent = dict.fromkeys(Channel, 0)
        self.received = dict.fromkeys(Channel, 0)

    def add(self, other: Traffic) -> None:
        for channel in Channel:
            self.sent[channel] += other.sent[channel]
            self.received[channel] += other.received[channel]

    @property
    def total_sent(self) -> int:
        return sum(self.sent.values())

    @property
    def total_received(self) -> int:
        return sum(self.received.values())
