"""Aggregating in slices: which slices are ours, what they are made of, and when the whole model is known.

A slice belongs to as many validators as have together more than a third of the power, so one of them is honest, and
what all of them name is true. Everybody fetches that share of every update, and from the others the finished parts.
What is still open in the second half of the phase is everybody's.

Clipping looks at whole updates, so it takes two turns: first the same members say the **lengths** on their slices, then
they make the slices with those of all. What is left out is left out of all lengths before any part is made. Lengths are
everybody's after a third of the phase, parts after two thirds. What was made once and has to be made again is its
makers' for half of what is left then.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from potminer.core.committee import Committee
from potminer.core.rounds.events import FetchExcerpt, TaskSeen
from potminer.core.rounds.job import Attempt, Running, Slicing
from potminer.core.rounds.look import aggregated, unit_of
from potminer.wire.record import RoundRecord, SliceRecord
from potminer.wire.slice import excerpt_ranges, lengths_size
from potminer.wire.task import TaskSpec, Unit, snapshot_size
from potminer.wire.trainer import Sliced
from potminer.wire.tx import SliceResult

RETRY_MS = 2_000
LASTING_MS = 600_000
REMEMBERED = 65_536

_Result = tuple[bytes, tuple[int, ...]]
"""What a slice is, and the slots it was made without."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice to compute: of *units*, the *slots* of an attempt, with an excerpt of each. *left_out* could be had
    from nobody. Clipped parts need the *lengths* on every slice. *said* is how long each excerpt is said to be."""

    purpose: Slicing
    slots: tuple[int, ...]
    units: tuple[Unit, ...]
    updates: tuple[bytes, ...]
    excerpts: tuple[bytes, ...]
    left_out: tuple[int, ...]
    lengths: tuple[bytes, ...]
    said: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Whole:
    """What all slices together are: no *parts* where no update was left, and the base stays."""

    parts: tuple[bytes, ...]
    malformed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Owed:
    """What to say, to fetch and to compute; *whole* once every slice is known. *lengths* are blobs to fetch, each of
    *lengths_bytes*."""

    said: tuple[SliceResult, ...] = ()
    fetches: tuple[FetchExcerpt, ...] = ()
    slices: tuple[Slice, ...] = ()
    lengths: tuple[bytes, ...] = ()
    lengths_bytes: int = 0
    whole: Whole | None = None


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is to be made of slices of the *good* slots now: their lengths, if it *measures*, or their parts, with
    the *lengths* on all slices where updates are clipped. If it is *late*, what nobody has is left out."""

    seen: TaskSeen
    current: RoundRecord
    good: tuple[int, ...]
    without: tuple[int, ...]
    measures: bool
    lengths: tuple[bytes, ...]
    late: bool

    @property
    def attempt(self) -> Attempt:
        return self.seen.task, self.current.number, self.current.attempt

    @property
    def clips(self) -> bool:
        return bool(self.seen.lengths)


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
        self._said: dict[tuple[Attempt, int, bool], SliceResult] = {}
        """By slice, and whether it is its lengths."""
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
        """Some excerpt, or lengths, are gone from our folder: all are asked for and made again."""
        for place in self._excerpts:
            self._asked.pop(place, None)
        self._excerpts.clear()
        self._said = {place: said for place, said in self._said.items() if not said.lengths}

    def found(self, running: Running, report: Sliced, *, base: bytes) -> None:
        """Our answer for a slice. Where no update was left *base* stands for it."""
        purpose = running.purpose
        if not isinstance(purpose, Slicing):
            raise AssertionError("a Sliced report answers a slice")
        bad = {running.slots[position] for position in report.malformed}
        malformed = tuple(sorted(bad | set(running.left_out) | set(purpose.without)))
        said = SliceResult(*purpose.attempt, purpose.index, report.part or base, malformed, purpose.measures)
        self._said[purpose.attempt, purpose.index, purpose.measures] = said

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

    def owed(self, seen: TaskSeen, current: RoundRecord, now: int, *, unavailable: Container[bytes] = ()) -> Owed:
        """*unavailable* are lengths that nobody serves: late, who can makes them again."""
        committee = _committee(seen)
        parts, lengths = ([_supported(each, committee) for each in column] for column in (seen.slices, seen.lengths))
        without = tuple(sorted({slot for result in (*parts, *lengths) if result is not None for slot in result[1]}))
        good = tuple(slot for slot in aggregated(seen) if slot not in without)
        if without and not good:
            return Owed(whole=Whole((), without))
        made, measured = _agreed(parts, without), _agreed(lengths, without)
        if len(made) == current.slices:
            return Owed(whole=Whole(tuple(made.values()), without))
        measures = len(measured) < len(seen.lengths)
        left = _left(seen, measures=measures)
        late, last = (now > current.deadline_ms - each for each in (left, left // 2))
        known = () if measures else tuple(measured.values())
        turn = _Turn(seen, current, good, without, measures, known, late)
        mine, before = self._mine(committee, current), lengths if measures else parts
        # Who made a slice is there to make it again: one hidden update must not have everybody fetch everything.
        ours = [at for at in range(current.slices) if at in mine or last or (late and before[at] is None)]
        owed = self._compute(turn, [at for at in ours if at not in (measured if measures else made)], now)
        again = [at for at, blob in enumerate(known) if late and blob in unavailable]
        if again:
            more = self._compute(replace(turn, measures=True), again, now)
            owed = Owed(owed.said + more.said, owed.fetches + more.fetches, owed.slices + more.slices)
        return replace(owed, lengths=known, lengths_bytes=lengths_size(seen.record.spec, len(good)))

    def _compute(self, turn: _Turn, indices: list[int], now: int) -> Owed:
        said: list[SliceResult] = []
        slices: list[Slice] = []
        fetches: list[FetchExcerpt] = []
        updates = {slot: turn.seen.units[slot].snapshots[-1] for slot in turn.good}
        for index in indices:
            result = self._result(turn, index, turn.without, measures=turn.measures)
            if result is None:
                spec = turn.seen.record.spec
                fetches += self._fetches(spec, updates.values(), [index], turn.current.slices, now)
                made = self._slice(turn, index, updates)
                result = made if isinstance(made, SliceResult) else None
                slices += [made] if isinstance(made, Slice) else []
            said += [result] if result is not None and not self._on_ledger(turn.seen, result) else []
        return Owed(tuple(said), tuple(fetches), tuple(slices))

    def _slice(self, turn: _Turn, index: int, updates: Mapping[int, bytes]) -> Slice | SliceResult | None:
        """Slice *index* of what is here; None while something may still come. Whatever is left out has to be left out
        of all lengths: where it is a part that something is missing for, its lengths are said again without."""
        have = {slot: self._excerpts[b, index] for slot, b in updates.items() if (b, index) in self._excerpts}
        gone = tuple(slot for slot, b in updates.items() if slot not in have and (b, index) in self._missing)
        if len(have) + len(gone) < len(updates) or (gone and not turn.late):
            return None
        measures = turn.measures or (turn.clips and bool(gone))
        if measures and not turn.measures:
            result = self._result(turn, index, (*turn.without, *gone), measures=True)
            if result is not None:
                return result
        if turn.clips and not measures and len(turn.lengths) != turn.current.slices:
            raise AssertionError("a clipped part is made with the lengths on every slice")
        return Slice(
            Slicing(turn.attempt, index, turn.without, measures), tuple(have),
            tuple(unit_of(turn.seen.task, turn.current, slot) for slot in have), tuple(updates[slot] for slot in have),
            tuple(have.values()), gone, () if measures else turn.lengths,
            tuple(turn.seen.units[slot].lengths[index] for slot in have),
        )  # fmt: skip

    def _result(self, turn: _Turn, index: int, without: Iterable[int], *, measures: bool) -> SliceResult | None:
        """What we found of a slice without at least those slots."""
        result = self._said.get((turn.attempt, index, measures))
        return result if result is not None and set(without) <= set(result.malformed) else None

    def _mine(self, committee: Committee, current: RoundRecord) -> list[int]:
        of = current.slices
        return [index for index in range(of) if self._key in aggregators(committee, index, of)]

    def _on_ledger(self, seen: TaskSeen, result: SliceResult) -> bool:
        record = (seen.lengths if result.lengths else seen.slices)[result.slice]
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


def _left(seen: TaskSeen, *, measures: bool) -> int:
    """How much of the phase is left, ms, when what is open becomes everybody's."""
    phase_ms = seen.record.spec.deadlines.aggregate_ms
    if not seen.lengths:
        return phase_ms // 2
    return phase_ms * 2 // 3 if measures else phase_ms // 3


def _agreed(known: Sequence[_Result | None], without: tuple[int, ...]) -> dict[int, bytes]:
    """By slice, what was made without exactly those slots."""
    return {at: result[0] for at, result in enumerate(known) if result is not None and result[1] == without}


def _supported(record: SliceRecord, committee: Committee) -> _Result | None:
    """The part and the slots left out that a weak quorum names; of several the one with more left out, which is the
    later one."""
    backers: dict[_Result, list[int]] = {}
    for said in record.attestations:
        seat = committee.index_of(said.validator)
        if seat is not None:
            backers.setdefault((said.part, said.malformed), []).append(seat)
    known = [result for result, seats in backers.items() if committee.is_weak_quorum(seats)]
    return max(known, key=lambda result: (len(result[1]), result), default=None)
