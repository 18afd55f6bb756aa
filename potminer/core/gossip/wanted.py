"""Items that were announced and have not come: whom we asked, and whom to ask next.

Each peer may have so many requests open; an id that nobody delivers is forgotten when its
announcers are used up. So invented ids cost a liar its own quota and nobody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from potminer.core.gossip.parameters import Parameters
from potminer.core.machine import Offence, Penalize, Send
from potminer.wire.gossip import Topic, Want

WANT_ITEMS = 512
"""``wire.gossip.Want`` carries no more."""


@dataclass(slots=True)
class _Wanted:
    topic: Topic
    asked: bytes
    until_ms: int
    others: dict[bytes, None] = field(default_factory=dict)


class WantedList:
    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._items: dict[bytes, _Wanted] = {}
        self._open: dict[bytes, int] = {}
        self._broken: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def announced(self, peer: bytes, topic: Topic, item_ids: Iterable[bytes], now: int) -> list[Send]:
        """Ask *peer* for those of *item_ids* that nobody was asked for yet."""
        fresh: list[bytes] = []
        for item_id in item_ids:
            wanted = self._items.get(item_id)
            if wanted is None:
                if self._open.get(peer, 0) < self._parameters.wants_per_peer:
                    self._items[item_id] = self._ask(peer, topic, now)
                    fresh.append(item_id)
            elif peer != wanted.asked and len(wanted.others) < self._parameters.announcers:
                wanted.others[peer] = None
        return self._say({(peer, topic): fresh})

    def came(self, item_id: bytes) -> None:
        wanted = self._items.pop(item_id, None)
        if wanted is not None:
            self._close(wanted.asked)

    def gone(self, peer: bytes, now: int) -> list[Send]:
        """*peer*'s link is gone: ask somebody else at once."""
        self._broken.pop(peer, None)
        for wanted in self._items.values():
            wanted.others.pop(peer, None)
        return self._ask_others([i for i, wanted in self._items.items() if wanted.asked == peer], now)

    def beat(self, now: int) -> list[Send | Penalize]:
        """Give up on whoever did not answer in time, and ask the next announcer."""
        late = [item_id for item_id, wanted in self._items.items() if wanted.until_ms <= now]
        effects: list[Send | Penalize] = []
        for peer, items in Counter(self._items[item_id].asked for item_id in late).items():
            effects += self._promises_broken(peer, items)
        return effects + self._ask_others(late, now)

    def _promises_broken(self, peer: bytes, items: int) -> list[Send | Penalize]:
        """One item may have expired on its way; many have not. However many, a beat is one offence: they
        were late together, for one reason, and a peer under load is slow and no liar."""
        broken = self._broken.get(peer, 0) + items
        if broken < self._parameters.broken_promises:
            self._broken[peer] = broken
            return []
        self._broken.pop(peer, None)
        return [Penalize(peer, Offence.WITHHELD, "announced items and did not send them")]

    def _ask_others(self, item_ids: list[bytes], now: int) -> list[Send]:
        questions: dict[tuple[bytes, Topic], list[bytes]] = {}
        for item_id in item_ids:
            wanted = self._items.pop(item_id)
            self._close(wanted.asked)
            successor = self._successor(wanted)
            if successor is not None:
                again = self._items[item_id] = self._ask(successor, wanted.topic, now)
                again.others = {peer: None for peer in wanted.others if peer != successor}
                questions.setdefault((successor, wanted.topic), []).append(item_id)
        return self._say(questions)

    def _successor(self, wanted: _Wanted) -> bytes | None:
        limit = self._parameters.wants_per_peer
        return next((peer for peer in wanted.others if self._open.get(peer, 0) < limit), None)

    def _ask(self, peer: bytes, topic: Topic, now: int) -> _Wanted:
        self._open[peer] = self._open.get(peer, 0) + 1
        return _Wanted(topic, peer, now + self._parameters.want_timeout_ms)

    def _close(self, peer: bytes) -> None:
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]

    def _say(self, questions: dict[tuple[bytes, Topic], list[bytes]]) -> list[Send]:
        return [
            Send(peer, Want(topic, tuple(item_ids[at : at + WANT_ITEMS])))
            for (peer, topic), item_ids in questions.items()
            for at in range(0, len(item_ids), WANT_ITEMS)
        ]
