"""What this node has seen, what it still holds, and what waits to be judged.

The seen-cache answers "new?"; the message cache serves ``Want``; the waiting room holds
items between ``Validate`` and ``Validated``. Each is bounded in count, bytes or time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from potminer.core.gossip.parameters import Parameters
from potminer.wire.gossip import Item, Topic

PUSH_ITEMS = 64
"""``wire.gossip.Push`` carries no more."""


class Seen:
    """Item ids of the last while; knows which of them were rejected."""

    def __init__(self, *, keep_ms: int, size: int) -> None:
        self._keep_ms, self._size = keep_ms, size
        self._items: dict[bytes, tuple[int, bool]] = {}

    def add(self, item_id: bytes, now: int, *, rejected: bool = False) -> None:
        self._items.pop(item_id, None)
        self._items[item_id] = (now + self._keep_ms, rejected)
        while len(self._items) > self._size:
            del self._items[next(iter(self._items))]

    def __contains__(self, item_id: bytes) -> bool:
        return item_id in self._items

    def __len__(self) -> int:
        return len(self._items)

    def rejected(self, item_id: bytes) -> bool:
        return self._items.get(item_id, (0, False))[1]

    def expire(self, now: int) -> None:
        """Insertion order is expiry order: stop at the first that stays."""
        while self._items:
            first = next(iter(self._items))
            if self._items[first][0] > now:
                return
            del self._items[first]


@dataclass(slots=True)
class Held:
    """An accepted item. *holders* are peers known to have it: they need neither push nor announcement."""

    item: Item
    since_ms: int
    announce_until_ms: int
    holders: dict[bytes, None] = field(default_factory=dict)


class Cache:
    """Accepted items in full, oldest out first."""

    def __init__(self, *, keep_ms: int, size: int) -> None:
        self._keep_ms, self._size = keep_ms, size
        self._items: dict[bytes, Held] = {}
        self._bytes = 0

    def add(self, item_id: bytes, held: Held) -> None:
        self.drop(item_id)
        self._items[item_id] = held
        self._bytes += len(held.item.body)
        while self._bytes > self._size:
            self.drop(next(iter(self._items)))

    def get(self, item_id: bytes) -> Held | None:
        return self._items.get(item_id)

    def drop(self, item_id: bytes) -> None:
        held = self._items.pop(item_id, None)
        if held is not None:
            self._bytes -= len(held.item.body)

    def expire(self, now: int) -> None:
        while self._items:
            first = next(iter(self._items))
            if self._items[first].since_ms + self._keep_ms > now:
                return
            self.drop(first)

    def forget_peer(self, peer: bytes) -> None:
        for held in self._items.values():
            held.holders.pop(peer, None)

    def newest(self, topic: Topic) -> Iterator[tuple[bytes, Held]]:
        return ((item_id, held) for item_id, held in reversed(self._items.items()) if held.item.topic == topic)


@dataclass(slots=True)
class Waiting:
    """An item between Validate and Validated; *pushers* sent it meanwhile, the first one first."""

    item: Item
    until_ms: int
    pushers: dict[bytes, None]


class WaitingRoom:
    """Bounded in all and per peer, so that one flooder cannot fill it."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._items: dict[bytes, Waiting] = {}
        self._of_peer: dict[bytes, int] = {}

    def __contains__(self, item_id: bytes) -> bool:
        return item_id in self._items

    def also_from(self, item_id: bytes, peer: bytes) -> None:
        self._items[item_id].pushers[peer] = None

    def admit(self, item_id: bytes, item: Item, peer: bytes, now: int) -> bool:
        """False where there is no room: the item is dropped, and may come again."""
        of_peer = self._of_peer.get(peer, 0)
        if len(self._items) >= self._parameters.pending_items or of_peer >= self._parameters.pending_per_peer:
            return False
        self._items[item_id] = Waiting(item, now + self._parameters.pending_ms, {peer: None})
        self._of_peer[peer] = of_peer + 1
        return True

    def take(self, item_id: bytes) -> Waiting | None:
        waiting = self._items.pop(item_id, None)
        if waiting is not None:
            first = next(iter(waiting.pushers))
            self._of_peer[first] -= 1
            if not self._of_peer[first]:
                del self._of_peer[first]
        return waiting

    def expire(self, now: int) -> None:
        """An answer that never came: forget the question."""
        for item_id in [i for i, waiting in self._items.items() if waiting.until_ms <= now]:
            self.take(item_id)


def batches(items: Sequence[Item], *, size: int) -> Iterator[tuple[Item, ...]]:
    """*items* in groups that fit one Push and about *size* bytes."""
    group: list[Item] = []
    used = 0
    for item in items:
        if group and (len(group) == PUSH_ITEMS or used + len(item.body) > size):
            yield tuple(group)
            group, used = [], 0
        group.append(item)
        used += len(item.body)
    if group:
        yield tuple(group)
