"""The ledger's state and a block's draft of the next one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from potminer.core import trie
from potminer.wire import record as records
from potminer.wire.codec import Wire, decode, encode
from potminer.wire.genesis import Genesis, Parameters, genesis_supply
from potminer.wire.proof import StateProof
from potminer.wire.record import Account, ChainRecord, CommitteeRecord, Record, Roster, Validator

R = TypeVar("R", bound=Wire)

_RECORD_BYTES = 1 << 24
_READ = 65_536
"""Records remembered as they were read: some 20 MiB."""
_UNKNOWN: Any = object()
"""Stands for what was not looked up yet: None is an answer."""


class Read:
    """Records that were read from a state, decoded. A memory of pure answers: it changes none of them."""

    __slots__ = ("records",)

    def __init__(self, records: dict[bytes, Any] | None = None) -> None:
        self.records = {} if records is None else records


@dataclass(frozen=True, slots=True)
class State:
    """Everything the ledger knows after a block. Immutable; shares structure with its predecessor."""

    chain: bytes
    parameters: Parameters
    tree: trie.Node
    read: Read = field(default_factory=Read, repr=False, compare=False)

    @property
    def root(self) -> bytes:
        return trie.root(self.tree)

    def get(self, kind: type[R], key: bytes) -> R | None:
        found: R | None = self.read.records.get(key, _UNKNOWN)
        return self._look_up(kind, key) if found is _UNKNOWN else found

    def _look_up(self, kind: type[R], key: bytes) -> R | None:
        known, value = self.read.records, trie.get(self.tree, key)
        if len(known) >= _READ:
            known.clear()
        found = None if value is None else decode(kind, value, max_bytes=_RECORD_BYTES)
        known[key] = found
        return found

    def follow(self, before: State, changed: Iterable[bytes]) -> None:
        """Takes over what was read from *before*, but for the records under *changed* keys, which differ here."""
        known, before.read.records = before.read.records, {}
        for key in changed:
            known.pop(key, None)
        known.update(self.read.records)
        self.read.records = known

    def need(self, kind: type[R], key: bytes) -> R:
        """A record that the ledger's own invariants say exists."""
        found = self.get(kind, key)
        if found is None:
            raise AssertionError(f"no {kind.__name__} under {key.hex()}")
        return found

    @property
    def head(self) -> ChainRecord:
        return self.need(ChainRecord, records.CHAIN)

    @property
    def committee(self) -> CommitteeRecord:
        return self.need(CommitteeRecord, records.COMMITTEE)

    @property
    def following(self) -> CommitteeRecord:
        """The committee of the epoch after the next block's."""
        return self.need(CommitteeRecord, records.FOLLOWING)

    def account(self, key: bytes) -> Account:
        return self.get(Account, records.account_key(key)) or _UNUSED

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return trie.items(self.tree)

    def prove(self, key: bytes) -> StateProof:
        return trie.prove(self.tree, key)


_UNUSED = Account()


class Draft:
    """Changes of one block on top of a state. Nothing of the state itself is touched."""

    __slots__ = ("_written", "base", "chain", "parameters")

    def __init__(self, base: State) -> None:
        self.base = base
        self.chain = base.chain
        self.parameters = base.parameters
        self._written: dict[bytes, Any] = {}
        """Records by key: a key's first byte says of which type."""

    def get(self, kind: type[R], key: bytes) -> R | None:
        found: R | None = self._written.get(key, _UNKNOWN)
        return self.base.get(kind, key) if found is _UNKNOWN else found

    def need(self, kind: type[R], key: bytes) -> R:
        found = self.get(kind, key)
        if found is None:
            raise AssertionError(f"no {kind.__name__} under {key.hex()}")
        return found

    def put(self, key: bytes, value: Record | None) -> None:
        if value is None and key.startswith(records.TASKS):
            raise AssertionError("a task's record outlives it: what was hidden in it is judged by its order")
        self._written[key] = value

    @property
    def head(self) -> ChainRecord:
        return self.need(ChainRecord, records.CHAIN)

    @property
    def committee(self) -> CommitteeRecord:
        return self.need(CommitteeRecord, records.COMMITTEE)

    def account(self, key: bytes) -> Account:
        return self.get(Account, records.account_key(key)) or _UNUSED

    def credit(self, key: bytes, amount: int) -> None:
        account = self.account(key)
        self.put(records.account_key(key), Account(account.balance + amount, account.nonce))

    def debit(self, key: bytes, amount: int) -> None:
        """The caller has made sure of the balance."""
        account = self.account(key)
        if account.balance < amount:
            raise AssertionError("a debit above the balance")
        self.put(records.account_key(key), Account(account.balance - amount, account.nonce))

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Encoded changes by key, without those that change nothing."""
        result: list[tuple[bytes, bytes | None]] = []
        for key in sorted(self._written):
            value = self._written[key]
            if value != self.base.get(records.RECORD_TYPES[key[:1]], key):
                result.append((key, None if value is None else encode(value)))
        return result

    def money_moved(self) -> int:
        """Grains made (or lost, negative) by this draft: zero in every lawful block."""
        total = 0
        for key, value in self._written.items():
            before = self.base.get(records.RECORD_TYPES[key[:1]], key)
            total += records.money(cast(Record, value)) if value is not None else 0
            total -= records.money(cast(Record, before)) if before is not None else 0
        return total

    def finish(self, changes: Iterable[tuple[bytes, bytes | None]]) -> State:
        """The state with this draft's own *changes*."""
        moved = self.money_moved()
        if moved:
            raise AssertionError(f"supply changed by {moved} grains")
        tree = trie.update(self.base.tree, changes)
        # Accounts are what blocks read most. They are two integers each: decoding them again would give the same.
        accounts = {key: value for key, value in self._written.items() if key[:1] == b"a"}
        return State(self.chain, self.parameters, tree, Read(accounts))


def supply(state: State) -> int:
    """Grains in the whole ledger, counted one by one."""
    return grains_of(state.items())


def grains_of(stored: Iterable[tuple[bytes, bytes]]) -> int:
    """Grains in all of *stored*, (key, record) each."""
    return sum(
        records.money(cast(Record, decode(records.RECORD_TYPES[key[:1]], value, max_bytes=_RECORD_BYTES)))
        for key, value in stored
    )


def restored(chain: bytes, parameters: Parameters, stored: Iterable[tuple[bytes, bytes]]) -> State:
    """The state that *stored* (key, record) pairs make up."""
    return State(chain, parameters, trie.update(None, list(stored)))


def genesis_state(genesis: Genesis, *, chain: bytes) -> State:
    """State before the first block."""
    shares = genesis.parameters
    if shares.trainer_share_ppm + shares.auditor_share_ppm + shares.validator_share_ppm != 1_000_000:
        raise AssertionError("reward shares sum to one million")
    entries: list[tuple[bytes, Wire]] = [
        (records.account_key(account.key), Account(account.balance)) for account in genesis.accounts
    ]
    entries += [(records.validator_key(v.key), Validator(v.onion, v.bond)) for v in genesis.validators]
    members, powers = tuple(v.key for v in genesis.validators), tuple(v.power for v in genesis.validators)
    entries.append((records.COMMITTEE, CommitteeRecord(0, members, powers)))
    entries.append((records.FOLLOWING, CommitteeRecord(1, members, powers)))
    bonded = sorted(v.key for v in genesis.validators if v.bond >= shares.validator_bond)
    entries.append((records.ROSTER, Roster(tuple(bonded))))
    entries.append((records.CHAIN, ChainRecord(0, genesis.time_ms, genesis.seed, genesis_supply(genesis), 0, (), ())))
    return restored(chain, genesis.parameters, [(key, encode(value)) for key, value in entries])
