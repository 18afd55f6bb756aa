"""Gossip as one machine: events in, effects out.

An item's way: Push -> new? -> ``Validate`` -> ``Validated(ACCEPT)`` -> ``Deliver`` and Push to the
mesh; at the next heartbeats ``Have`` to peers that may lack it, which answer ``Want``.
Nothing is forwarded, cached or announced before its verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from itertools import islice, takewhile

from potminer.base import draw
from potminer.core.gossip.addresses import AddressBook
from potminer.core.gossip.carriers import Carriers, Load, lot_name, size_of
from potminer.core.gossip.dialling import Dialling
from potminer.core.gossip.events import (
    Ban,
    Deliver,
    DialFailed,
    Effect,
    Event,
    Follow,
    Introduce,
    Listening,
    Offended,
    Publish,
    Remembered,
    Seek,
    Settled,
    Started,
    Validate,
    Validated,
    Verdict,
)
from potminer.core.gossip.mesh import Mesh, Score
from potminer.core.gossip.parameters import Parameters
from potminer.core.gossip.pushes import Pushes
from potminer.core.gossip.quota import Quota
from potminer.core.gossip.spread import Cache, Held, Seen, WaitingRoom, batches
from potminer.core.gossip.standing import Standing
from potminer.core.gossip.wanted import WANT_ITEMS, WantedList
from potminer.core.machine import (
    MessageArrived,
    Offence,
    PeerDown,
    PeerUp,
    Penalize,
    Send,
    SetTimer,
    TimerFired,
)
from potminer.wire.codec import Wire
from potminer.wire.gossip import (
    Addresses,
    AddressesWanted,
    AddressRecord,
    Carried,
    Carry,
    Got,
    Graft,
    Have,
    Item,
    Prune,
    Push,
    Topic,
    Want,
    item_digest,
)

HEARTBEAT = "gossip/heartbeat"
FIRST_BEAT_MS = 50
"""A node that starts dials at once."""
FLUSH = "gossip/flush"
DEFAULTS = Parameters()


class Gossip:
    """One node's view of the overlay. *seed* makes its chance its own and repeatable."""

    def __init__(self, self_key: bytes, chain: bytes, seed: bytes, parameters: Parameters = DEFAULTS) -> None:
        self._parameters = parameters
        self._chance = draw.words(seed, b"gossip", self_key)
        self._peers: dict[bytes, bool] = {}
        self._incoming: dict[bytes, Quota] = {}
        self._outgoing: dict[bytes, Quota] = {}
        self._meshes = {topic: Mesh(topic, parameters, self._chance) for topic in Topic}
        self._seen = Seen(keep_ms=parameters.seen_ms, size=parameters.seen_items)
        self._cache = Cache(
            keep_ms=parameters.cache_ms, size=parameters.cache_bytes, count=parameters.cache_items
        )
        self._waiting = WaitingRoom(parameters)
        self._pushes = Pushes(parameters)
        self._carriers = Carriers(parameters)
        self._bulk: list[Held] = []
        """What came to us in large company, for all other members, until the next flush."""
        self._wanted = WantedList(parameters)
        self._standing = Standing()
        self._book = AddressBook(chain, self_key, parameters, self._chance)
        self._dialling = Dialling(self._book, parameters, self._chance)
        self._above: frozenset[bytes] = frozenset()
        """The committee, where we only follow it."""

    def handle(self, event: Event, now: int) -> list[Effect]:
        match event:
            case Started():
                return [SetTimer(HEARTBEAT, FIRST_BEAT_MS)]
            case TimerFired():
                return self._rung(event.name, now)
            case PeerUp():
                return self._up(event, now)
            case PeerDown():
                return self._down(event.peer, now)
            case MessageArrived():
                return self._message(event.peer, event.message, now) if event.peer in self._peers else []
            case Publish():
                return self._publish(event.items, now)
            case Validated():
                return self._validated(event.verdicts, now)
            case Settled():
                self._cache.settle(event.bodies)
                return []
            case Offended():
                return self._offended(event, now)
            case _:
                return self._addresses(event, now)

    def mesh(self, topic: Topic) -> tuple[bytes, ...]:
        return tuple(self._meshes[topic].members)

    def peers(self) -> tuple[bytes, ...]:
        return tuple(self._peers)

    def records(self) -> list[AddressRecord]:
        """The address book, best first: what a node keeps over a restart."""
        return self._book.records()

    # ---- peers ---------------------------------------------------------------------------

    def _up(self, event: PeerUp, now: int) -> list[Effect]:
        peer = event.peer
        if self._standing.banned(peer, now):
            return []
        new_peer = peer not in self._peers
        self._peers[peer] = event.outbound or self._peers.get(peer, False)
        effects: list[Effect] = [*self._dialling.up(peer, event.address, now)]
        if new_peer:
            quota = partial(
                Quota,
                window_ms=self._parameters.window_ms,
                items=self._parameters.window_items,
                size=self._parameters.window_bytes,
            )
            self._incoming[peer], self._outgoing[peer] = quota(), quota()
            effects += self._tell_all(peer)
        return effects

    def _down(self, peer: bytes, now: int) -> list[Effect]:
        if self._peers.pop(peer, None) is None:
            return []
        del self._incoming[peer], self._outgoing[peer]
        self._dialling.down(peer, now)
        self._cache.forget_peer(peer)
        self._pushes.gone(peer)
        self._carriers.gone(peer)
        for mesh in self._meshes.values():
            mesh.gone(peer)
        return [*self._wanted.gone(peer, now)]

    def _offended(self, event: Offended, now: int) -> list[Effect]:
        seconds = self._standing.offended(event.peer, event.offence, now)
        if seconds is None:
            return []
        return [Ban(event.peer, seconds), *self._down(event.peer, now)]

    def _addresses(
        self, event: DialFailed | Listening | Remembered | Introduce | Seek | Follow, now: int
    ) -> list[Effect]:
        match event:
            case DialFailed():
                self._book.failed(event.host, event.port, now, self._dialling.sought)
            case Listening():
                self._dialling.own = event.record
            case Remembered():
                for record in event.records:
                    self._book.add(record, source=record.key)
            case Introduce():
                self._book.introduce(event.host, event.port, event.key)
            case Seek():
                self._dialling.sought = event.keys
            case Follow():
                self._above = event.keys
        return []

    # ---- messages ------------------------------------------------------------------------

    def _message(self, peer: bytes, message: Wire, now: int) -> list[Effect]:
        match message:
            case Push():
                return self._pushed(peer, message.items, now)
            case Carry():
                return self._to_carry(peer, message.items, now)
            case Carried():
                return self._carried(peer, message, now)
            case Got():
                self._carriers.got(peer, message.lot)
                return []
            case Have():
                return self._announced(peer, message, now)
            case Want():
                return self._asked(peer, message, now)
            case Graft():
                mesh, outbound = self._meshes[message.topic], self._peers[peer]
                return [*mesh.asked_in(peer, self._score(now), now, outbound=outbound)]
            case Prune():
                self._meshes[message.topic].asked_out(peer, message.backoff_ms, now)
                return []
            case AddressesWanted():
                return [*self._dialling.wanted(peer, now)]
            case Addresses():
                return [*self._dialling.told(peer, message.records)]
            case _:
                return []

    def _pushed(self, peer: bytes, items: tuple[Item, ...], now: int) -> list[Effect]:
        incoming, effects = self._incoming[peer], list[Effect]()
        fresh: list[tuple[bytes, Item]] = []
        for item in items:
            if not incoming.take(now, size=len(item.body)):
                if incoming.first_excess():
                    effects.append(Penalize(peer, Offence.FLOOD, "more items than its quota"))
                continue
            item_id = item_digest(item)
            self._wanted.came(item_id)
            if item_id in self._seen:
                effects += self._seen_before(peer, item_id)
            elif item_id in self._waiting:
                self._waiting.also_from(item_id, peer)
            elif self._waiting.admit(item_id, item, peer, now):
                fresh.append((item_id, item))
        if fresh:
            effects.append(Validate(tuple(fresh), peer))
        return effects

    def _to_carry(self, peer: bytes, items: tuple[Item, ...], now: int) -> list[Effect]:
        """Pushed, and to be passed on once it is judged: members do that for each other."""
        effects = self._pushed(peer, items, now)
        if peer in self._dialling.sought:
            fresh = [item_id for effect in effects if isinstance(effect, Validate) for item_id, _ in effect.items]
            self._carriers.take(peer, items, fresh, now)
        return effects

    def _carried(self, peer: bytes, message: Carried, now: int) -> list[Effect]:
        """Pushed; who brought it in hears of it where nothing was left out on the way."""
        effects = self._pushed(peer, message.items, now)
        ids = [item_digest(item) for item in message.items]
        origin, sought = message.origin, self._dialling.sought
        known = all(each in self._seen or each in self._waiting for each in ids)
        if known and peer in sought and origin in sought and origin in self._peers:
            effects.append(Send(origin, Got(lot_name(ids))))
        return effects

    def _pass_on(self, load: Load) -> list[Effect]:
        others = [peer for peer in self._uppermost() if peer != load.origin]
        return [Send(peer, Carried(load.origin, load.items)) for peer in others]

    def _seen_before(self, peer: bytes, item_id: bytes) -> list[Effect]:
        if self._seen.rejected(item_id):
            return [Penalize(peer, Offence.FORGED, "an item known to be invalid")]
        held = self._cache.get(item_id)
        if held is not None:
            held.holders[peer] = None
        return []

    def _announced(self, peer: bytes, have: Have, now: int) -> list[Effect]:
        unknown: list[bytes] = []
        for item_id in have.items:
            held = self._cache.get(item_id)
            if held is not None:
                held.holders[peer] = None
            elif item_id not in self._seen and item_id not in self._waiting:
                unknown.append(item_id)
        return [*self._wanted.announced(peer, have.topic, unknown, now)]

    def _asked(self, peer: bytes, want: Want, now: int) -> list[Effect]:
        """Serve what is still held, within the peer's quota; it asks others for the rest."""
        items: list[Item] = []
        for item_id in dict.fromkeys(want.items):
            held = self._cache.get(item_id)
            if held is not None and self._outgoing[peer].take(now, size=len(held.item.body)):
                items.append(held.item)
        return self._push(peer, items)

    # ---- items ---------------------------------------------------------------------------

    def _publish(self, items: tuple[Item, ...], now: int) -> list[Effect]:
        published: list[tuple[Held, Collection[bytes]]] = []
        loads: list[Load] = []
        for item in items:
            item_id = item_digest(item)
            waiting = self._waiting.take(item_id)
            self._wanted.came(item_id)
            held = self._hold(item_id, item, waiting.pushers if waiting else {}, now)
            published.append((held, self._first_targets(item)))
            loads += self._carriers.judged(item_id, accepted=True, rejected=False)
        return [*(send for load in loads for send in self._pass_on(load)), *self._forward(published, now)]

    def _validated(self, verdicts: tuple[tuple[bytes, Verdict], ...], now: int) -> list[Effect]:
        effects: list[Effect] = []
        accepted: list[tuple[Held, Collection[bytes]]] = []
        delivered: dict[bytes, list[Item]] = {}
        targets: dict[tuple[Topic, bytes], Collection[bytes]] = {}
        for item_id, verdict in verdicts:
            accept, reject = verdict is Verdict.ACCEPT, verdict is Verdict.REJECT
            for load in self._carriers.judged(item_id, accepted=accept, rejected=reject):
                effects += self._pass_on(load)
            waiting = self._waiting.take(item_id)
            if waiting is None:
                continue
            if accept:
                first = next(iter(waiting.pushers))
                held = self._hold(item_id, waiting.item, waiting.pushers, now)
                way = (waiting.item.topic, first)
                if way not in targets:
                    targets[way] = self._targets(*way)
                accepted.append((held, targets[way]))
                delivered.setdefault(first, []).append(waiting.item)
                continue
            self._seen.add(item_id, now, rejected=reject)
            pushers = waiting.pushers if reject else {}
            effects += [Penalize(peer, Offence.FORGED, "an invalid item") for peer in pushers]
        effects += [Deliver(tuple(items), peer) for peer, items in delivered.items()]
        return [*effects, *self._forward(accepted, now)]

    def _targets(self, topic: Topic, first: bytes | None) -> Collection[bytes]:
        """Whom to push an item to that came from *first* (None: from here). The committee is fully linked: who brings
        something in sends it to all of it, and nobody in it passes on what another of it brought. Who follows passes
        up what others bring; nothing goes down, for there it comes in a block."""
        if first in self._dialling.sought:
            return ()
        return self._uppermost() or self._meshes[topic].members

    def _first_targets(self, item: Item) -> Collection[bytes]:
        """For an item of our own. Who has no seat trusts no single member with it."""
        if self._dialling.sought:
            return self._targets(item.topic, None)
        if len(item.body) <= self._parameters.flood_bytes:
            return self._peers
        return dict.fromkeys((*self._uppermost(), *self._meshes[item.topic].members))

    def _uppermost(self) -> list[bytes]:
        """Linked peers of the committee."""
        committee = self._dialling.sought or self._above
        return [peer for peer in self._peers if peer in committee]

    def _hold(self, item_id: bytes, item: Item, holders: dict[bytes, None], now: int) -> Held:
        self._seen.add(item_id, now)
        announce_until = now + self._parameters.announce_beats * self._parameters.heartbeat_ms
        held = Held(item, now, announce_until, {peer: None for peer in holders if peer in self._peers})
        self._cache.add(item_id, held)
        return held

    def _forward(self, items: Sequence[tuple[Held, Collection[bytes]]], now: int) -> list[Effect]:
        resting = not (self._pushes.waiting or self._bulk)
        effects: list[Effect] = []
        if self._dialling.sought and sum(bool(targets) for _, targets in items) > self._parameters.alone_most:
            room = self._parameters.bulk_items - len(self._bulk)
            if size_of(self._bulk) < self._parameters.cache_bytes:
                self._bulk += [held for held, targets in items if targets][:room]
        else:
            effects += [
                send
                for held, targets in items
                for peer in targets
                if peer not in held.holders
                for send in self._pushes.offer(peer, held, now)
            ]
        if resting and (self._pushes.waiting or self._bulk):
            effects.append(SetTimer(FLUSH, self._parameters.push_flush_ms))
        return effects

    def _flush(self, now: int) -> list[Effect]:
        """What waited for company. Much for all members goes by carriers."""
        effects: list[Effect] = [*self._pushes.flush()]
        bulk, members = self._bulk, self._uppermost()
        self._bulk = []
        able = self._carriers.may_carry(bulk, members, now)
        if able:
            return [*effects, *self._carriers.send(bulk, able, members, now)]
        for peer in members:
            effects += self._push(peer, [held.item for held in bulk if peer not in held.holders])
        return effects

    def _push(self, peer: bytes, items: list[Item]) -> list[Effect]:
        return [Send(peer, Push(batch)) for batch in batches(items, size=self._parameters.push_bytes)]

    # ---- heartbeat -----------------------------------------------------------------------

    def _rung(self, name: str, now: int) -> list[Effect]:
        if name == FLUSH:
            return self._flush(now)
        return [*self._beat(now), self._timer()] if name == HEARTBEAT else []

    def _timer(self) -> SetTimer:
        return SetTimer(HEARTBEAT, self._parameters.heartbeat_ms)

    def _score(self, now: int) -> Score:
        return partial(self._standing.score, now=now)

    def _beat(self, now: int) -> list[Effect]:
        self._seen.expire(now)
        self._cache.expire(now)
        self._waiting.expire(now)
        self._carriers.expire(now)
        effects: list[Effect] = [*self._wanted.beat(now)]
        for peer, lot in self._carriers.late(now):
            effects += self._push(peer, [held.item for held in lot if peer not in held.holders])
        for topic, mesh in self._meshes.items():
            effects += mesh.beat(self._peers, self._score(now), now)
            effects += self._announce(topic, now)
        effects += self._dialling.beat(self._peers, partial(self._standing.banned, now=now), now)
        return effects

    def _announce(self, topic: Topic, now: int) -> list[Effect]:
        """Recent ids to linked members of the committee; without any to some peers outside the mesh, in a small
        network to those inside."""
        if self._dialling.sought:
            return self._announce_late(topic, now)
        newest = list(takewhile(lambda entry: entry[1].announce_until_ms > now, self._cache.newest(topic)))
        if not newest:
            return []
        most = self._parameters.announce_items
        members = self._meshes[topic].members
        able = sorted(self._uppermost() or self._peers)
        outside = draw.shuffled(self._chance, [peer for peer in able if peer not in members])
        inside = draw.shuffled(self._chance, [peer for peer in able if peer in members])
        effects: list[Effect] = []
        for peer in [*outside, *inside][: self._parameters.lazy]:
            ids = islice((each for each, held in newest if peer not in held.holders and not held.settled), most)
            effects += self._have(peer, topic, list(ids))
        return effects

    def _announce_late(self, topic: Topic, now: int) -> list[Effect]:
        """Among members, who were sent everything: what should be in a block by now, and is in none."""
        few = self._parameters.announce_few
        late = list(islice(self._cache.oldest(topic, now - self._parameters.announce_late_ms), 4 * few))
        if not late:
            return []
        effects: list[Effect] = []
        for peer in draw.shuffled(self._chance, sorted(self._uppermost()))[: self._parameters.lazy]:
            ids = islice((item_id for item_id, held in late if peer not in held.holders), few)
            effects += self._have(peer, topic, list(ids))
        return effects

    def _tell_all(self, peer: bytes) -> list[Effect]:
        """A new link hears of everything still held: an item published alone must not stay alone. But nothing goes
        down from who is linked with the committee."""
        upper, effects = self._uppermost(), list[Effect]()
        if upper and peer not in upper:
            return []
        for topic in Topic:
            ids = [item_id for item_id, held in self._cache.newest(topic) if not held.settled]
            effects += self._have(peer, topic, ids[: self._parameters.announce_items])
        return effects

    def _have(self, peer: bytes, topic: Topic, ids: list[bytes]) -> list[Effect]:
        return [Send(peer, Have(topic, tuple(ids[at : at + WANT_ITEMS]))) for at in range(0, len(ids), WANT_ITEMS)]
