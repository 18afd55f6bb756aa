"""What this node has seen, what it still holds, and what waits to be judged.

The seen-cache answers "new?"; the message cache serves ``Want``; the waiting room holds
items between ``Validate`` and ``Validated``. Each is bounded in count, bytes or time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from potminer.core.gossip.parameters import Parameters
from potminer.wire.gossip import Item, Topic

PUSH_ITEMS = 64
"""``wire.gossip.Push`` carries no more."""


class _Generation:
    """Ids that came in the same while, and which of them were rejected."""

    __slots__ = ("ids", "rejected", "since_ms")

    def __init__(self, since_ms: int = 0) -> None:
        self.ids: set[bytes] = set()
        self.rejected: set[bytes] = set()
        self.since_ms = since_ms


class Seen:
    """Item ids of the last while; knows which of them were rejected.

    Two generations, of which the older is let go whole: an id is remembered for half of *keep_ms* at least, or until
    half of *size* others came, and never longer than *keep_ms*. Ids are never let go one by one: a dict that loses
    its first entry again and again walks over the holes each time, and at thousands a second that is dearer than
    checking signatures.
    """

    def __init__(self, *, keep_ms: int, size: int) -> None:
        self._half_ms, self._half_size = keep_ms // 2, max(1, size // 2)
        self._young, self._old = _Generation(), _Generation()

    def add(self, item_id: bytes, now: int, *, rejected: bool = False) -> None:
        if len(self._young.ids) >= self._half_size:
            self._turn(now)
        self._young.ids.add(item_id)
        if rejected:
            self._young.rejected.add(item_id)
        else:
            self._young.rejected.discard(item_id)

    def __contains__(self, item_id: bytes) -> bool:
        return item_id in self._young.ids or item_id in self._old.ids

    def __len__(self) -> int:
        """Places taken: an id that came again later may take two."""
        return len(self._young.ids) + len(self._old.ids)

    def rejected(self, item_id: bytes) -> bool:
        """By its newest word."""
        newest = self._young if item_id in self._young.ids else self._old
        return item_id in newest.rejected

    def expire(self, now: int) -> None:
        if now - self._young.since_ms >= self._half_ms:
            self._turn(now)

    def _turn(self, now: int) -> None:
        self._old, self._young = self._young, _Generation(now)


@dataclass(slots=True)
class Held:
    """An accepted item. *holders* are peers known to have it: they need neither push nor announcement."""

    item: Item
    since_ms: int
    announce_until_ms: int
    holders: dict[bytes, None] = field(default_factory=dict)
    settled: bool = False
    """It stands in a block."""


class Cache:
    """Accepted items in full, oldest out first: for *keep_ms*, at most *size* bytes of bodies and *count* items."""

    def __init__(self, *, keep_ms: int, size: int, count: int) -> None:
        self._keep_ms, self._size, self._count = keep_ms, size, count
        self._items: dict[bytes, Held] = {}
        self._order: deque[tuple[bytes, Held]] = deque()
        """As they came; an item that came again stands here twice, and only the later one is held."""
        self._bytes = 0
        self._by_body: dict[bytes, Held] = {}

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item_id: bytes, held: Held) -> None:
        self._drop(item_id)
        self._items[item_id] = self._by_body[held.item.body] = held
        self._order.append((item_id, held))
        self._bytes += len(held.item.body)
        while self._bytes > self._size or len(self._order) > self._count:
            self._drop_oldest()

    def get(self, item_id: bytes) -> Held | None:
        return self._items.get(item_id)

    def settle(self, bodies: Iterable[bytes]) -> None:
        """Still served, and announced no more."""
        for body in bodies:
            held = self._by_body.get(body)
            if held is not None:
                held.settled = True

    def oldest(self, topic: Topic, until_ms: int) -> Iterator[tuple[bytes, Held]]:
        """What came until then and stands in no block, the oldest first."""
        for item_id, held in self._items.items():
            if held.since_ms > until_ms:
                return
            if not held.settled and held.item.topic == topic:
                yield item_id, held

    def expire(self, now: int) -> None:
        while self._order and self._order[0][1].since_ms + self._keep_ms <= now:
            self._drop_oldest()

    def forget_peer(self, peer: bytes) -> None:
        for held in self._items.values():
            held.holders.pop(peer, None)

    def newest(self, topic: Topic) -> Iterator[tuple[bytes, Held]]:
        return ((item_id, held) for item_id, held in reversed(self._items.items()) if held.item.topic == topic)

    def _drop_oldest(self) -> None:
        item_id, held = self._order.popleft()
        if self._items.get(item_id) is held:
            self._drop(item_id)

    def _drop(self, item_id: bytes) -> None:
        held = self._items.pop(item_id, None)
        if held is not None:
            self._bytes -= len(held.item.body)
            if self._by_body.get(held.item.body) is held:
                del self._by_body[held.item.body]


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
