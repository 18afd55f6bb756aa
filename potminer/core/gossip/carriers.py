"""Many items at once go by carriers: each member carries a slice of them to the others, so that no line carries all
of them as often as there are members.

Who brings many in sends each slice (a *lot*) to one member, which judges it and passes it on whole; whoever got a lot
whole says so to who brought it in. A lot that did not arrive is pushed directly to those who lack it: as soon as most
lots have arrived, or after some seconds at the latest. So a carrier that withholds costs a delay and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from potminer.base.digest import Domain, digest
from potminer.core.gossip.parameters import Parameters
from potminer.core.gossip.spread import PUSH_ITEMS, Held
from potminer.core.machine import Send
from potminer.wire.gossip import Carry, Item, item_digest

LEAST_MEMBERS: Final = 4
"""Other members that are linked: with fewer nothing is saved."""
BATCHES: Final = 64
"""Batches whose lots may be on their way; of older ones nothing is known any more, and announcements repair."""
LOADS: Final = 512
"""Lots that wait for their verdicts here, to be passed on."""


def lot_name(item_ids: Iterable[bytes]) -> bytes:
    """What stands for all these items, in their order."""
    return digest(Domain.MESSAGE, b"lot", *item_ids)


def size_of(items: Iterable[Held]) -> int:
    """Bytes of bodies."""
    return sum(len(held.item.body) for held in items)


@dataclass(slots=True)
class Lot:
    """*lacking* are the members that have not said yet that they got it whole."""

    items: list[Held]
    carrier: bytes
    lacking: dict[bytes, None]
    most: int
    """Members that lacked it at first."""

    @property
    def arrived(self) -> bool:
        """At more than two thirds: the others may be faulty."""
        return 3 * len(self.lacking) < self.most


@dataclass(slots=True)
class Batch:
    since_ms: int
    size: int
    lots: dict[bytes, Lot]
    ripe: bool = False
    """Most lots had arrived at the last beat."""


@dataclass(slots=True)
class Load:
    """A lot that we are to carry, once *waiting* are judged."""

    origin: bytes
    items: tuple[Item, ...]
    waiting: dict[bytes, None]
    since_ms: int
    fresh: bool = False


class Carriers:
    """Lots on their way from here, and loads to be passed on from here."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._batches: list[Batch] = []
        self._resting: dict[bytes, int] = {}
        """Members whose lots did not arrive, and until when none is given to them."""
        self._loads: dict[bytes, Load] = {}
        self._waits: dict[bytes, list[bytes]] = {}
        """By item: the loads that wait for its verdict."""
        self._turn = 0

    # ---- bringing in ---------------------------------------------------------------------

    def may_carry(self, items: Sequence[Held], members: Sequence[bytes], now: int) -> list[bytes]:
        """The members to give lots to; none where few items or members make it not worth a longer way."""
        size, under_way = size_of(items), sum(batch.size for batch in self._batches)
        if size < self._parameters.carry_bytes or size + under_way > self._parameters.cache_bytes:
            return []
        if len(self._batches) >= BATCHES:
            return []
        self._resting = {peer: until for peer, until in self._resting.items() if until > now}
        able = [peer for peer in members if peer not in self._resting]
        return able if len(able) >= max(LEAST_MEMBERS, len(members) // 2) else []

    def send(self, items: Sequence[Held], able: Sequence[bytes], members: Sequence[bytes], now: int) -> list[Send]:
        """*items* in lots of one size, each to one of *able* in turn."""
        rounds = -(-len(items) // (len(able) * PUSH_ITEMS))
        each = -(-len(items) // (len(able) * rounds))
        batch, sends = Batch(now, size_of(items), {}), list[Send]()
        for at in range(0, len(items), each):
            lot = list(items[at : at + each])
            carrier = able[self._turn % len(able)]
            self._turn += 1
            lacking = {peer: None for peer in members if peer != carrier}
            batch.lots[lot_name(item_digest(held.item) for held in lot)] = Lot(lot, carrier, lacking, len(lacking))
            sends.append(Send(carrier, Carry(tuple(held.item for held in lot))))
        self._batches.append(batch)
        return sends

    def got(self, peer: bytes, name: bytes) -> None:
        for batch in self._batches:
            lot = batch.lots.get(name)
            if lot is not None:
                lot.lacking.pop(peer, None)
                for held in lot.items:
                    held.holders[peer] = None
                return

    def late(self, now: int) -> list[tuple[bytes, list[Held]]]:
        """At each beat: what is to be pushed directly, and to whom. Their carriers rest for a while."""
        found: list[tuple[bytes, list[Held]]] = []
        kept: list[Batch] = []
        for batch in self._batches:
            arrived = sum(lot.arrived for lot in batch.lots.values())
            over = not 0 <= now - batch.since_ms < self._parameters.carry_ms
            if not over and not batch.ripe:
                batch.ripe = 3 * arrived >= 2 * len(batch.lots)
                kept.append(batch)
                continue
            for lot in batch.lots.values():
                found += [(peer, lot.items) for peer in lot.lacking]
                if not lot.arrived:
                    self._resting[lot.carrier] = now + self._parameters.carry_rest_ms
        self._batches = kept
        return found

    def gone(self, peer: bytes) -> None:
        """Whatever *peer* still lacked it hears of when its link is back."""
        for batch in self._batches:
            for lot in batch.lots.values():
                lot.lacking.pop(peer, None)

    # ---- carrying ------------------------------------------------------------------------

    def take(self, origin: bytes, items: tuple[Item, ...], unjudged: Sequence[bytes], now: int) -> None:
        """A lot to be passed on once *unjudged* of it are accepted. What is known already is not carried for its
        own sake: nobody makes members send each other the same again."""
        if not unjudged or len(self._loads) >= LOADS:
            return
        name = lot_name(unjudged)
        if name in self._loads:
            return
        self._loads[name] = Load(origin, items, dict.fromkeys(unjudged), now)
        for item_id in unjudged:
            self._waits.setdefault(item_id, []).append(name)

    def expire(self, now: int) -> None:
        """A verdict that never came: who brought the lot in sends it elsewhere."""
        old = [name for name, load in self._loads.items() if not 0 <= now - load.since_ms < self._parameters.pending_ms]
        for name in old:
            for item_id in self._loads.pop(name).waiting:
                self._waits.pop(item_id, None)

    def judged(self, item_id: bytes, *, accepted: bool, rejected: bool) -> list[Load]:
        """The loads that *item_id* was the last of, and that may be passed on."""
        whole: list[Load] = []
        for name in self._waits.pop(item_id, ()):
            load = self._loads.get(name)
            if load is None:
                continue
            load.waiting.pop(item_id, None)
            load.fresh = load.fresh or accepted
            if rejected:
                del self._loads[name]
            elif not load.waiting:
                del self._loads[name]
                if load.fresh:
                    whole.append(load)
        return whole

    def size(self) -> int:
        return len(self._loads) + len(self._waits) + sum(len(batch.lots) for batch in self._batches)
