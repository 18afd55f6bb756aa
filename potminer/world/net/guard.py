"""The guard at the door: banned keys, and addresses that only waste handshakes.

Bans expire. A key is banned for what its holder did; an address is refused for a while for
handshakes that failed before anybody was authenticated. Loopback is spared the latter: the
nodes of one machine share it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from potminer.world.net.meter import Bucket

BANS = 4_096
HOSTS = 4_096
FAILURES_PER_MINUTE = 10
"""A misconfigured honest node retries a few times a minute."""


def host_group(host: str) -> str:
    """What is judged together: an IPv4 address, or the /64 that one IPv6 customer holds."""
    address = _parse(host)
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or address.exploded[:19])
    return host


def gives_way(greetings: Sequence[tuple[int, str]]) -> int:
    """Which of *greetings*, the oldest first, each with its ``host_group``, goes when there is no place for another.

    The oldest: an honest greeting takes milliseconds, a stalling one is the oldest. Of the group that has most of
    them: a flood from one place throws out its own.
    """
    (crowd, _), *_ = Counter(group for _, group in greetings).most_common(1)
    return next(at for at, group in greetings if group == crowd)


def gives_place(held: Sequence[str], newcomer: str) -> int | None:
    """Which of the places for strangers, *held* by these groups, a *newcomer* of its group gets where all are taken.

    None where nobody has to give way. The newest of the group that holds most, if that holds more than the newcomer's
    will with it: however many keys one address has, others find room.
    """
    counts = Counter(held)
    crowd, most = max(counts.items(), key=lambda each: each[1], default=("", 0))
    if most <= counts[newcomer] + 1:
        return None
    return max(at for at, group in enumerate(held) if group == crowd)


def is_loopback(host: str) -> bool:
    address = _parse(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_loopback
    return address is not None and address.is_loopback


def _parse(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


class Guard:
    """Who is not let in. Times are seconds of one monotonic clock."""

    def __init__(self, *, spare_loopback: bool) -> None:
        self._spare_loopback = spare_loopback
        self._bans: dict[bytes, float] = {}
        self._failures: OrderedDict[str, Bucket] = OrderedDict()

    def ban(self, peer: bytes, *, until: float) -> None:
        """The later of two bans holds; above the bound the one that ends first is forgotten."""
        self._bans[peer] = max(until, self._bans.get(peer, until))
        if len(self._bans) > BANS:
            del self._bans[min(self._bans, key=lambda key: self._bans[key])]

    def banned(self, peer: bytes, now: float) -> bool:
        until = self._bans.get(peer)
        if until is None:
            return False
        if until <= now:
            del self._bans[peer]
            return False
        return True

    def charge(self, host: str, now: float) -> None:
        """A handshake from *host* failed."""
        group = host_group(host)
        bucket = self._failures.pop(group, None)
        if bucket is None:
            bucket = Bucket(capacity=FAILURES_PER_MINUTE, per_minute=FAILURES_PER_MINUTE, now=now)
        bucket.take(now)
        self._failures[group] = bucket
        if len(self._failures) > HOSTS:
            self._failures.popitem(last=False)

    def refuses(self, host: str, now: float) -> bool:
        if self._spare_loopback and is_loopback(host):
            return False
        bucket = self._failures.get(host_group(host))
        return bucket is not None and bucket.level(now) < 1
