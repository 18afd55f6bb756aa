"""Who is dialled next, and who is asked for addresses.

Outbound links are the ones an attacker cannot choose for us: eight of them, at most two
in one address group, half from addresses that answered before and half from hearsay.
Sought keys (the committee) are dialled beyond that count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from potminer.base import limits
from potminer.base.draw import below, shuffled
from potminer.core.gossip.addresses import AddressBook, Entry, Refused, dialable, group_of, is_private
from potminer.core.gossip.events import Dial
from potminer.core.gossip.parameters import Parameters
from potminer.core.machine import Offence, Penalize, Send
from potminer.wire.gossip import Addresses, AddressesWanted, AddressRecord

_LINKS: Final = 2
"""An answer goes to a key. Where both ends dialled, the link that stays brings what was asked on the other one too."""
_REMEMBERED: Final = 4 * limits.PEERS
"""Of those that were asked, and perhaps left: a flood of links must not fill memory."""


class Dialling:
    def __init__(self, book: AddressBook, parameters: Parameters, chance: Iterator[int]) -> None:
        self.sought: frozenset[bytes] = frozenset()
        self.own: AddressRecord | None = None
        self._book, self._parameters, self._chance = book, parameters, chance
        self._hosts: dict[bytes, str] = {}
        self._asked: dict[bytes, tuple[int, int]] = {}
        """How many answers may still come from whom, and when it was asked last."""
        self._answered: dict[bytes, int] = {}
        self._next_exchange_ms = 0

    def up(self, peer: bytes, address: tuple[str, int] | None, now: int) -> list[Send]:
        self._book.answered(peer, address)
        if address is not None:
            self._hosts[peer] = address[0]
        return [self._ask(peer, now)]

    def down(self, peer: bytes, now: int) -> None:
        self._book.left(peer, now)
        for table in (self._hosts, self._answered):
            table.pop(peer, None)
        if len(self._asked) > _REMEMBERED:
            self._asked.pop(peer, None)

    def wanted(self, peer: bytes, now: int) -> list[Send]:
        """Answer, but seldom: a peer must not read the whole book at will."""
        if self._answered.get(peer, -self._parameters.exchange_ms) + self._parameters.exchange_ms // 2 > now:
            return []
        self._answered[peer] = now
        own = [self.own] if self.own is not None else []
        return [Send(peer, Addresses((*own, *self._book.sample(limits.ADDRESSES_PER_EXCHANGE - len(own)))))]

    def told(self, peer: bytes, records: tuple[AddressRecord, ...]) -> list[Penalize]:
        awaited, asked_ms = self._asked.pop(peer, (0, 0))
        if not awaited:
            return [Penalize(peer, Offence.UNEXPECTED, "addresses nobody asked for")]
        if awaited > 1:
            self._asked[peer] = (awaited - 1, asked_ms)
        for record in records:
            if not self._book.add(record, source=peer):
                return [Penalize(peer, Offence.FORGED, "an address record without its key's signature")]
        return []

    def beat(self, peers: Mapping[bytes, bool], refused: Refused, now: int) -> list[Dial | Send]:
        self._book.expire_dials(now, self.sought)
        self._forget(peers, now)
        effects: list[Dial | Send] = []
        sought, others = self._parameters.sought_per_beat, self._parameters.dials_per_beat
        while sought and others and (entry := self._choose(peers, refused, now)) is not None:
            if entry.key in self.sought:
                sought -= 1
            else:
                others -= 1
            entry.dialling_until_ms = now + self._parameters.dial_timeout_ms
            effects.append(Dial(entry.host, entry.port, entry.key))
        if peers and now >= self._next_exchange_ms:
            self._next_exchange_ms = now + self._parameters.exchange_ms
            effects.append(self._ask(shuffled(self._chance, sorted(peers))[0], now))
        return effects

    def _ask(self, peer: bytes, now: int) -> Send:
        awaited, _ = self._asked.get(peer, (0, 0))
        self._asked[peer] = (min(awaited + 1, _LINKS), now)
        return Send(peer, AddressesWanted())

    def _forget(self, peers: Mapping[bytes, bool], now: int) -> None:
        """Whoever left is not awaited for ever; one that is back at once may still answer what its last link asked."""
        before = now - self._parameters.exchange_ms
        left = [peer for peer, (_, at) in self._asked.items() if peer not in peers and at <= before]
        for peer in left:
            del self._asked[peer]

    def _choose(self, peers: Mapping[bytes, bool], refused: Refused, now: int) -> Entry | None:
        if len(peers) >= limits.PEERS:
            return None
        able = dialable(self._book.entries(), connected=peers, refused=refused, now=now)
        sought = [entry for entry in able if entry.key in self.sought]
        if sought:
            return sought[below(self._chance, len(sought))]
        dialling = [entry for entry in self._book.entries() if entry.dialling_until_ms]
        if sum(peers.values()) + len(dialling) >= self._parameters.outbound:
            return None
        hosts = [*(self._hosts[p] for p in peers if p in self._hosts), *(entry.host for entry in dialling)]
        able = [entry for entry in able if self._group_open(entry, hosts)]
        trusted = [entry for entry in able if entry.tried or entry.is_seed]
        hearsay = [entry for entry in able if not entry.tried and not entry.is_seed]
        pool = (trusted or hearsay) if below(self._chance, 2) else (hearsay or trusted)
        return pool[below(self._chance, len(pool))] if pool else None

    def _group_open(self, entry: Entry, hosts: list[str]) -> bool:
        if entry.is_seed or is_private(entry.host):
            return True
        group = group_of(entry.host)
        return sum(group_of(host) == group for host in hosts) < self._parameters.outbound_per_group
