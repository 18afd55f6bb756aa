"""An executable reading of ../ledger.md §1 and §7: numbers, records, what other pages say, and draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

Key = tuple[object, ...]
Refusal = str
MILLION = 1_000_000
COMMITTEE, CANDIDATES, UNBONDINGS, RELEASES = 31, 256, 1_024, 4_096
TASKS_OPEN, UNITS_PER_ROUND, SEGMENTS_PER_ROUND, MEMBERS = 256, 4_096, 16_384, 1_024
HIDDEN_UNITS, SHOWING = 256, 64
OPEN, CLOSED, CANCELLED = range(3)
ACTIVE, INACTIVE, LEFT, EXPELLED = range(4)
COMMIT, REVEAL, DRAW, AUDIT, OPENING, DISPUTE, AGGREGATE = range(7)


class Facts(NamedTuple):
    """What the ledger asks of other pages."""

    parameters: Any
    chain: bytes
    signed: Callable[[Any], bool]
    """A transaction's signature is its sender's (wire.md)."""
    spoken: Callable[[Any, Any], bool]
    """An Evidence's validator signed this half of it, for this chain (wire.md)."""
    sound: Callable[[Any], bool]
    """A task's specification does not contradict itself, and no blob of it is larger than 8 GiB (training.md)."""
    update_bytes: Callable[[Any], int]
    """The size of a task's updates (training.md)."""
    model_bytes: Callable[[Any], int]
    """The most bytes that a model of it has."""
    task_id: Callable[[Any, bytes, int], bytes]
    commitment: Callable[[Any, bytes], bytes]
    """What a reveal of this trainer opens (wire.md)."""
    path_leads: Callable[[bytes, Any, int], bool]
    """An opening's path leads from its leaf to this root of a unit of so many segments (training.md)."""


# ---- §1: records, with the fields of the table, in order ------------------------------------


class Account(NamedTuple):
    balance: int = 0
    nonce: int = 0


class Trainer(NamedTuple):
    payout: bytes
    bond: int = 0
    unbonding: int = 0
    expelled: bool = False


class Validator(NamedTuple):
    onion: bytes
    bond: int = 0
    unbonding: int = 0
    next_onion: bytes | None = None
    next_epoch: int = 0
    slashed: bool = False


class Committee(NamedTuple):
    epoch: int
    members: tuple[bytes, ...]
    powers: tuple[int, ...]
    skipped: tuple[int, ...] = ()

    def turns(self) -> list[int]:
        return [seat for seat in range(len(self.members)) if seat not in self.skipped]

    def power(self, keys: set[bytes]) -> int:
        return sum(power for key, power in zip(self.members, self.powers, strict=True) if key in keys)

    def is_quorum(self, keys: set[bytes]) -> bool:
        return 3 * self.power(keys) > 2 * sum(self.powers)

    def is_weak_quorum(self, keys: set[bytes]) -> bool:
        return 3 * self.power(keys) > sum(self.powers)

    def skip(self, seats: list[int]) -> Committee:
        """pbft.md §11: one after the other, each that leaves the skipped below a third of the power."""
        skipped = set(self.skipped)
        for seat in seats:
            if 3 * sum(self.powers[s] for s in skipped | {seat}) < sum(self.powers):
                skipped.add(seat)
        return self._replace(skipped=tuple(sorted(skipped)))


class Unbonding(NamedTuple):
    validator: bytes
    amount: int
    time_ms: int
    epoch: int


class Roster(NamedTuple):
    candidates: tuple[bytes, ...]
    unbondings: tuple[Unbonding, ...] = ()


class Release(NamedTuple):
    time_ms: int
    trainer: bytes
    amount: int


class Chain(NamedTuple):
    height: int
    time_ms: int
    beacon: bytes
    supply: int
    trainers: int = 0
    open_tasks: tuple[bytes, ...] = ()
    releases: tuple[Release, ...] = ()
    burnt: int = 0
    showing: tuple[bytes, ...] = ()


class Member(NamedTuple):
    trainer: bytes
    standing: int
    last_auditor: bytes | None = None
    capacity: int = 0
    doubted: int = 0


class Task(NamedTuple):
    spec: Any
    requester: bytes
    escrow: int
    status: int
    round: int
    attempt: int
    model: bytes
    members: tuple[Member, ...] = ()
    metric: Any = None
    calibration: Any = None
    arrivals: tuple[int, ...] = ()
    voided: int = 0

    def active(self) -> list[bytes]:
        return [member.trainer for member in self.members if member.standing == ACTIVE]

    def standing(self, trainer: bytes, standing: int) -> Task:
        """Being expelled is final."""
        return self._replace(members=tuple(
            m._replace(standing=standing) if m.trainer == trainer and m.standing != EXPELLED else m
            for m in self.members
        ))


# ---- chance (§7) ----------------------------------------------------------------------------


def digest(domain: str, *parts: bytes | int) -> bytes:
    """wire.md: each part is preceded by its length; an integer is eight bytes."""
    hasher = blake2b(digest_size=32, person=f"pot/{domain}".encode())
    for part in parts:
        written = part.to_bytes(8, "big") if isinstance(part, int) else part
        hasher.update(len(written).to_bytes(8, "big") + written)
    return hasher.digest()


class Words:
    """A stream of draws."""

    def __init__(self, *seed: bytes | int) -> None:
        self._words = self._all(seed)

    @staticmethod
    def _all(seed: tuple[bytes | int, ...]) -> Iterator[int]:
        counter = 0
        while True:
            block = digest("draw", *seed, counter)
            yield from (int.from_bytes(block[at : at + 8], "big") for at in (0, 8, 16, 24))
            counter += 1

    def below(self, bound: int) -> int:
        return next(word % bound for word in self._words if word < 2**64 // bound * bound)

    def order(self, items: list[Any]) -> list[Any]:
        """From the last place down, each changes places with one drawn from it and those before it."""
        items = list(items)
        for last in reversed(range(1, len(items))):
            drawn = self.below(last + 1)
            items[last], items[drawn] = items[drawn], items[last]
        return items
