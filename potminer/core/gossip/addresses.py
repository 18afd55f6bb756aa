"""The address book: signed records of where nodes listen.

New records are hearsay, tried ones answered under their key. Both pools are bounded; in
the new pool a source and an address group may each hold only so many places, so that
one liar or one network cannot fill the book. The newest record of a key wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address

from potminer.base.draw import below, shuffled
from potminer.core.gossip.parameters import Parameters
from potminer.wire.gossip import AddressRecord, address_digest
from potminer.wire.seal import Purpose, SigningKey, statement, verify


def address_statement(record: AddressRecord, *, chain: bytes) -> bytes:
    """What an address record's signature signs."""
    return statement(Purpose.ADDRESS_RECORD, chain=chain, signer=record.key, digest=address_digest(record))


def sign_address(key: SigningKey, *, chain: bytes, host: str, port: int, time_ms: int) -> AddressRecord:
    unsigned = AddressRecord(key.public, host, port, time_ms, bytes(64))
    signature = key.sign(address_statement(unsigned, chain=chain))
    return AddressRecord(key.public, host, port, time_ms, signature)


def address_holds(record: AddressRecord, *, chain: bytes) -> bool:
    return record.port > 0 and verify(record.key, address_statement(record, chain=chain), record.signature)


def is_private(host: str) -> bool:
    """Addresses of a home, a lab or this machine: many nodes honestly share such a group."""
    try:
        return ip_address(host).is_private
    except ValueError:
        return False


def group_of(host: str) -> str:
    """What one operator likely controls as a whole: IPv4 /16, IPv6 /32, else the name."""
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower()
    return address.packed[:2].hex() if isinstance(address, IPv4Address) else address.packed[:4].hex()


@dataclass(slots=True)
class Entry:
    """One place to dial. A seed has no record, and a key only once somebody answered there."""

    host: str
    port: int
    key: bytes | None
    record: AddressRecord | None = None
    source: bytes = b""
    tried: bool = False
    failures: int = 0
    not_before_ms: int = 0
    dialling_until_ms: int = 0

    @property
    def is_seed(self) -> bool:
        return self.record is None


SEEDS = 64
"""An operator names a handful."""


class AddressBook:
    """Entries by key, and the operator's seeds by place."""

    def __init__(self, chain: bytes, self_key: bytes, parameters: Parameters, chance: Iterator[int]) -> None:
        self._chain, self._self_key = chain, self_key
        self._parameters, self._chance = parameters, chance
        self._entries: dict[bytes, Entry] = {}
        self._seeds: dict[tuple[str, int], Entry] = {}

    def add(self, record: AddressRecord, *, source: bytes) -> bool:
        """Whether the record is genuine; it is kept if it is also news and there is room."""
        known = self._entries.get(record.key)
        if record.key == self._self_key or (known and known.record and known.record.time_ms >= record.time_ms):
            return True
        if not address_holds(record, chain=self._chain):
            return False
        if known is not None and (known.host, known.port) == (record.host, record.port):
            known.record = record
        elif self._room_for(record, source):
            self._entries[record.key] = Entry(record.host, record.port, record.key, record, source)
        return True

    def introduce(self, host: str, port: int, key: bytes | None) -> None:
        if len(self._seeds) < SEEDS:
            self._seeds.setdefault((host, port), Entry(host, port, key))

    def answered(self, peer: bytes, address: tuple[str, int] | None) -> None:
        """*peer* proved its key, at *address* where we dialled it."""
        for entry in self._at(address):
            if entry.is_seed:
                entry.key = peer
        for entry in self._of(peer):
            entry.failures = entry.not_before_ms = entry.dialling_until_ms = 0
            if address is not None and not entry.is_seed and (entry.host, entry.port) == address:
                self._promote(entry)

    def left(self, peer: bytes, now: int) -> None:
        """A link ended: not redialled in the same breath."""
        for entry in self._of(peer):
            entry.not_before_ms = now + self._parameters.dial_backoff_ms

    def failed(self, host: str, port: int, now: int, sought: frozenset[bytes]) -> None:
        for entry in self._at((host, port)):
            self._failed(entry, now, sought)

    def expire_dials(self, now: int, sought: frozenset[bytes]) -> None:
        """A dial that nobody reported on has failed. Where the clock was set back, a wait is as long as a new one."""
        longest = now + self._parameters.dial_timeout_ms
        for entry in self.entries():
            entry.not_before_ms = min(entry.not_before_ms, now + 3 * self._cap_ms(entry, sought) // 2)
            if entry.dialling_until_ms and not now < entry.dialling_until_ms <= longest:
                self._failed(entry, now, sought)

    def entries(self) -> list[Entry]:
        return [*self._seeds.values(), *self._entries.values()]

    def sample(self, count: int) -> list[AddressRecord]:
        return shuffled(self._chance, self.records())[:count]

    def records(self) -> list[AddressRecord]:
        """Tried ones last to be lost: they come first."""
        ordered = sorted(self._entries.values(), key=lambda entry: not entry.tried)
        return [entry.record for entry in ordered if entry.record is not None]

    def __len__(self) -> int:
        return len(self._entries)

    def _at(self, address: tuple[str, int] | None) -> list[Entry]:
        return [entry for entry in self.entries() if (entry.host, entry.port) == address]

    def _of(self, peer: bytes) -> list[Entry]:
        return [entry for entry in self.entries() if entry.key == peer]

    def _failed(self, entry: Entry, now: int, sought: frozenset[bytes]) -> None:
        entry.failures += 1
        entry.dialling_until_ms = 0
        known = entry.is_seed or entry.key in sought
        delay = min(self._parameters.dial_backoff_ms * 2 ** min(entry.failures - 1, 20), self._cap_ms(entry, sought))
        entry.not_before_ms = now + delay + below(self._chance, delay // 2 + 1)
        if not known and not entry.tried and entry.failures >= self._parameters.dial_failures and entry.key:
            self._entries.pop(entry.key, None)

    def _cap_ms(self, entry: Entry, sought: frozenset[bytes]) -> int:
        if entry.key in sought:
            return self._parameters.dial_backoff_sought_cap_ms
        return self._parameters.dial_backoff_known_cap_ms if entry.is_seed else self._parameters.dial_backoff_cap_ms

    def _room_for(self, record: AddressRecord, source: bytes) -> bool:
        known = self._entries.get(record.key)
        fresh = [entry for entry in self._entries.values() if not entry.tried and entry is not known]
        of_source = sum(entry.source == source for entry in fresh)
        of_group = sum(group_of(entry.host) == group_of(record.host) for entry in fresh)
        if of_source >= self._parameters.addresses_per_source or of_group >= self._parameters.addresses_per_group:
            return False
        if len(fresh) >= self._parameters.addresses_new:
            self._evict(fresh)
        return True

    def _promote(self, entry: Entry) -> None:
        if entry.tried:
            return
        tried = [other for other in self._entries.values() if other.tried]
        if len(tried) >= self._parameters.addresses_tried:
            self._evict(tried)
        entry.tried = True

    def _evict(self, pool: list[Entry]) -> None:
        key = pool[below(self._chance, len(pool))].key
        if key is not None:
            del self._entries[key]


Refused = Callable[[bytes], bool]


def dialable(entries: Iterable[Entry], *, connected: Iterable[bytes], refused: Refused, now: int) -> list[Entry]:
    """Entries that may be dialled now: not linked, not refused, not being dialled, backoff over."""
    linked = set(connected)
    return [
        entry
        for entry in entries
        if entry.not_before_ms <= now
        and not entry.dialling_until_ms
        and (entry.key is None or (entry.key not in linked and not refused(entry.key)))
    ]
