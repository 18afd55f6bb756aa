"""Aggregating in slices: which slices are ours, what they are made of, and when the whole model is known.

A slice belongs to as many validators as have together more than a third of the power, so one of them is honest, and
what all of them name is true. Everybody fetches that share of every update, and from the others the finished parts.
What is still open in the second half of the phase is everybody's.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from potminer.core.committee import Committee
from potminer.core.rounds.events import FetchExcerpt, TaskSeen
from potminer.core.rounds.job import Attempt, Running, Slicing
from potminer.core.rounds.look import aggregated, unit_of
from potminer.wire.record import RoundRecord, SliceRecord
from potminer.wire.slice import excerpt_ranges
from potminer.wire.task import TaskSpec, Unit, snapshot_size
from potminer.wire.trainer import Sliced
from potminer.wire.tx import SliceResult

RETRY_MS = 2_000
LASTING_MS = 600_000
REMEMBERED = 65_536


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice to compute: of *units*, the *slots* of an attempt, with an excerpt of each. *left_out* could be had
    from nobody."""

    purpose: Slicing
    slots: tuple[int, ...]
    units: tuple[Unit, ...]
    excerpts: tuple[bytes, ...]
    left_out: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """What all slices together are: no *parts* where no update was left, and the base stays."""

    parts: tuple[bytes, ...]
    malformed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Owed:
    """What to say, to fetch and to compute; *whole* once every slice is known."""

    said: tuple[SliceResult, ...] = ()
    fetches: tuple[FetchExcerpt, ...] = ()
    slices: tuple[Slice, ...] = ()
    whole: Whole | None = None


def aggregators(committee: Committee, index: int, of: int) -> tuple[bytes, ...]:
    """Whose slice *index* is: from its place in the committee on, until a third of the power is exceeded."""
    count = len(committee.members)
    first = index * count // of
    seats: list[int] = []
    while not committee.is_weak_quorum(seats):
        seats.append((first + len(seats)) % count)
    return tuple(committee.members[seat] for seat in seats)


class Slicer:
    """*key* is ours. Knows nothing that the ledger or the network would not tell it again."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._said: dict[tuple[Attempt, int], SliceResult] = {}
        self._excerpts: dict[tuple[bytes, int], bytes] = {}
        self._asked: dict[tuple[bytes, int], int] = {}
        self._missing: set[tuple[bytes, int]] = set()

    # ---- what happens ---------------------------------------------------------------------

    def fetched(self, update: bytes, index: int, excerpt: bytes | None, now: int) -> None:
        place = update, index
        if excerpt is None:
            self._missing.add(place)
            self._asked[place] = now + RETRY_MS
            return
        self._excerpts[place] = excerpt
        self._missing.discard(place)

    def lost(self) -> None:
        """Some excerpt is gone from our folder: all are asked for again."""
        for place in self._excerpts:
            self._asked.pop(place, None)
        self._excerpts.clear()

    def found(self, running: Running, report: Sliced, *, base: bytes) -> None:
        """Our answer for a slice. Where no update was left *base* stands for the part."""
        purpose = running.purpose
        if not isinstance(purpose, Slicing):
            raise AssertionError("a Sliced report answers a slice")
        bad = {running.slots[position] for position in report.malformed}
        malformed = tuple(sorted(bad | set(running.left_out) | set(purpose.without)))
        said = SliceResult(*purpose.attempt, purpose.index, report.part or base, malformed)
        self._said[purpose.attempt, purpose.index] = said

    def forget(self, task: bytes, *, but: Container[tuple[int, int]]) -> None:
        """Drop what belongs to other attempts of *task*; excerpts are fetched again where they are still needed."""
        self._said = {k: v for k, v in self._said.items() if k[0][0] != task or k[0][1:] in but}
        for remembered in (self._excerpts, self._asked, self._missing):
            if len(remembered) > REMEMBERED:
                remembered.clear()

    # ---- what is owed ---------------------------------------------------------------------

    def early(self, seen: TaskSeen, current: RoundRecord, now: int) -> tuple[FetchExcerpt, ...]:
        """Our share of every update that was revealed and may be accepted."""
        committee = _committee(seen)
        updates = [unit.snapshots[-1] for unit in seen.units if unit.snapshots and unit.judgement is None]
        mine = self._mine(committee, current)
        return tuple(self._fetches(seen.record.spec, updates, mine, current.slices, now))

    def owed(self, seen: TaskSeen, current: RoundRecord, now: int) -> Owed:
        committee = _committee(seen)
        known = [_supported(record, committee) for record in seen.slices]
        without = tuple(sorted({slot for result in known if result is not None for slot in result[1]}))
        parts = [result[0] for result in known if result is not None and result[1] == without]
        good = [slot for slot in aggregated(seen) if slot not in without]
        if without and not good:
            return Owed(whole=Whole((), without))
        if len(parts) == current.slices:
            return Owed(whole=Whole(tuple(parts), without))
        late = now > current.deadline_ms - seen.record.spec.deadlines.aggregate_ms // 2
        unknown = [at for at, result in enumerate(known) if result is None or result[1] != without]
        mine = unknown if late else [at for at in self._mine(committee, current) if at in unknown]
        return self._compute(seen, current, good, without, mine, late=late, now=now)

    def _compute(
        self, seen: TaskSeen, current: RoundRecord, good: list[int], without: tuple[int, ...], mine: list[int], *,
        late: bool, now: int,
    ) -> Owed:
        attempt = seen.task, current.number, current.attempt
        said: list[SliceResult] = []
        slices: list[Slice] = []
        fetches: list[FetchExcerpt] = []
        for index in mine:
            result = self._said.get((attempt, index))
            if result is not None and set(without) <= set(result.malformed):
                said += [] if self._on_ledger(seen.slices[index], result) else [result]
                continue
            updates = {slot: seen.units[slot].snapshots[-1] for slot in good}
            fetches += self._fetches(seen.record.spec, updates.values(), [index], current.slices, now)
            have = {slot: self._excerpts[b, index] for slot, b in updates.items() if (b, index) in self._excerpts}
            gone = tuple(slot for slot, b in updates.items() if slot not in have and (b, index) in self._missing)
            if len(have) == len(good) or (late and len(have) + len(gone) == len(good)):
                units = tuple(unit_of(seen.task, current, slot) for slot in have)
                purpose = Slicing(attempt, index, without)
                slices.append(Slice(purpose, tuple(have), units, tuple(have.values()), gone))
        return Owed(tuple(said), tuple(fetches), tuple(slices))

    def _mine(self, committee: Committee, current: RoundRecord) -> list[int]:
        of = current.slices
        return [index for index in range(of) if self._key in aggregators(committee, index, of)]

    def _on_ledger(self, record: SliceRecord, result: SliceResult) -> bool:
        mine = (each for each in record.attestations if each.validator == self._key)
        return any(each.malformed == result.malformed for each in mine)

    def _fetches(
        self, spec: TaskSpec, updates: Iterable[bytes], indices: list[int], of: int, now: int
    ) -> list[FetchExcerpt]:
        """Ask for an excerpt once; again some time after a failure."""
        size, asked = snapshot_size(spec, spec.segments), []
        for update in updates:
            for index in indices:
                place = update, index
                if place not in self._excerpts and self._asked.get(place, -1) <= now:
                    self._asked[place] = now + LASTING_MS
                    asked.append(FetchExcerpt(update, index, size, excerpt_ranges(spec, index, of)))
        return asked


def _committee(seen: TaskSeen) -> Committee:
    if seen.committee is None:
        raise AssertionError("slices are shared out among a committee")
    return seen.committee


def _supported(record: SliceRecord, committee: Committee) -> tuple[bytes, tuple[int, ...]] | None:
    """The part and the slots left out that a weak quorum names; of several the one with more left out, which is the
    later one."""
    backers: dict[tuple[bytes, tuple[int, ...]], list[int]] = {}
    for said in record.attestations:
        seat = committee.index_of(said.validator)
        if seat is not None:
            backers.setdefault((said.part, said.malformed), []).append(seat)
    known = [result for result, seats in backers.items() if committee.is_weak_quorum(seats)]
    return max(known, key=lambda result: (len(result[1]), result), default=None)
