"""What a node does about work that judges could not look at: shows its own, and looks at what others show.

A round's snapshots are on disk before its reveal is said, so whoever comes back can show them; it does so by itself,
without duty too. Where they are lost, and nobody else has them, the unit is computed again from what the ledger keeps
of it: the device that made them makes the same bytes. A validator fetches them from whoever has them, in the last
resort from the trainer.
"""

from __future__ import annotations

from collections.abc import Iterable

from potminer.core.rounds.events import Effect, HeldSeen, HiddenSeen, Remade, ShownSeen, StartJob
from potminer.core.rounds.job import Looking, Place, Remaking, Running
from potminer.core.rounds.means import Means
from potminer.wire.held import HiddenSegment, HiddenUnit
from potminer.wire.task import TaskSpec, Unit, data_bytes, model_bytes, snapshot_bytes
from potminer.wire.trainer import Audited, AuditJob, Trained, TrainJob
from potminer.wire.tx import AuditVerdict, Finding, ShowSnapshots

SAFETY_MS = 1_500
"""How long before the deadline, at the least, a judge that cannot fetch a snapshot says so."""
PATIENCE_MS = 60_000
"""Between two attempts to get hold of what is not on this disk."""
ASK_MS = 15_000
"""Before the committee is asked again, where it did not begin to look."""
PASSING = frozenset({"cancelled", "stopped", "busy", "missing-blob", "child-died"})
"""Why a unit is not made again that are worth another attempt."""


class Presenter:
    """*key* is ours."""

    def __init__(self, key: bytes, means: Means) -> None:
        self._key = key
        self._means = means
        self._seen = HeldSeen()
        self._found: dict[Looking, AuditVerdict] = {}
        self._rests: dict[Place, int] = {}
        self._tries: dict[Place, int] = {}
        self._vain: set[Place] = set()
        """Made again, and not what was revealed: another device, or other settings, may do better after a restart."""

    def look(self, seen: HeldSeen) -> None:
        self._seen = seen
        wanted = {looking for shown in seen.shown for looking, _ in _lookings(shown.unit)}
        self._found = {looking: said for looking, said in self._found.items() if looking in wanted}
        own = {_place(each.unit) for each in seen.own}
        self._rests = {place: until for place, until in self._rests.items() if place in own}
        self._vain &= own
        for each in seen.own:
            self._doubt(each)
        self._tries = {_place(each.unit): each.unit.tries for each in seen.own}

    def _doubt(self, each: HiddenSeen) -> None:
        """After a showing that failed look again at what we took to be here: that a file is broken shows when it is
        asked for."""
        if each.unit.tries > self._tries.get(_place(each.unit), each.unit.tries):
            blobs = {blob for blob, _ in _blobs(each, each.unit.segments)}
            self._means.blobs -= blobs
            self._means.unavailable -= blobs

    def is_timely(self, looking: Looking) -> bool:
        return any(looking == each for shown in self._seen.shown for each, _ in _lookings(shown.unit))

    def found(self, looking: Looking, report: Audited) -> None:
        self._found[looking] = AuditVerdict(
            *looking.place, looking.segment, report.finding, report.error_ppm, report.sketch
        )

    def owed(self, now: int, *, validator: bool, may_train: bool) -> list[Effect]:
        effects = self._show(now, may_train=may_train)
        for shown in self._seen.shown if validator else ():
            effects += self._judge(shown, now)
        return effects

    # ---- our own --------------------------------------------------------------------------

    def _show(self, now: int, *, may_train: bool) -> list[Effect]:
        """Ask the committee to look at the first unit that all is here for; get hold of what is missing."""
        effects: list[Effect] = []
        for each in self._seen.own:
            place, missing = _place(each.unit), self._missing(each)
            rests = self._rests.get(place, 0) > now
            if missing:
                effects += self._remake(each, set(missing), now) if may_train else []
                effects += [] if rests else self._get(place, missing, now)
            elif not rests and not self._seen.showing and self._seen.block_ms >= each.unit.again_ms:
                self._rests[place] = now + ASK_MS
                return effects + self._means.submit(ShowSnapshots(*place), now)
        return effects

    def _missing(self, each: HiddenSeen) -> dict[bytes, int]:
        """What judges will need and is not here, with the most bytes that each may have."""
        return {blob: most for blob, most in _blobs(each, each.unit.segments) if blob not in self._means.blobs}

    def _get(self, place: Place, missing: dict[bytes, int], now: int) -> list[Effect]:
        if not self._means.unavailable.isdisjoint(missing):
            self._rests[place] = now + PATIENCE_MS
        return [fetch for blob, limit in missing.items() for fetch in self._means.fetch(blob, limit, now)]

    def _remake(self, each: HiddenSeen, missing: set[bytes], now: int) -> list[Effect]:
        """Train the unit again where nobody has its snapshots, and all that it was trained on is here."""
        hidden, purpose = each.unit, Remaking(_place(each.unit))
        lost = missing <= self._means.unavailable and missing.isdisjoint((hidden.base, each.spec.data.train))
        if not lost or purpose.place in self._vain or not self._means.jobs.free(purpose, now):
            return []
        unit = Unit(hidden.task, hidden.round, hidden.attempt, hidden.slot, self._key, hidden.seed)
        job = TrainJob(self._means.jobs.next_id(), each.spec, unit, hidden.base)
        self._means.jobs.start(Running(job.job, purpose, None))
        return [StartJob(job)]

    def misses(self, place: Place) -> bool:
        """Whether the unit at *place* is ours and hidden, and not all that it needs is here."""
        return any(_place(each.unit) == place and self._missing(each) for each in self._seen.own)

    def remade(self, place: Place, report: Trained) -> list[Effect]:
        """What it has become is shown where it is what was revealed."""
        self._means.blobs.update(report.snapshots)
        self._rests.pop(place, None)
        shots = {shot for each in self._seen.own if _place(each.unit) == place for shot in _shots(each.unit.segments)}
        if not shots.issubset(report.snapshots):
            self._vain.add(place)
        return [Remade(place[1], place not in self._vain)]

    def not_remade(self, place: Place, reason: str) -> None:
        if reason not in PASSING:
            self._vain.add(place)

    # ---- what others show -----------------------------------------------------------------

    def _judge(self, shown: ShownSeen, now: int) -> list[Effect]:
        effects: list[Effect] = []
        said = {each.segment for each in shown.judges if each.judge == self._key}
        for looking, part in _lookings(shown.unit):
            if part.segment in said:
                continue
            verdict = self._found.get(looking) or self._absent(shown, looking, part, now)
            if verdict is not None:
                effects += self._means.submit(verdict, now)
                continue
            missing = [blob for blob in _blobs(shown, (part,)) if blob[0] not in self._means.blobs]
            effects += [fetch for blob, limit in missing for fetch in self._means.fetch(blob, limit, now)]
            if not missing and self._means.jobs.free(looking, now):
                effects += self._start(shown, looking, part)
        return effects

    def _absent(self, shown: ShownSeen, looking: Looking, part: HiddenSegment, now: int) -> AuditVerdict | None:
        """Nobody has the snapshots, and the time is nearly over."""
        lasting = shown.spec.deadlines.dispute_ms * len(shown.unit.segments)
        late = max(SAFETY_MS, lasting // 4)
        needed = [shot for shot in (part.before, part.after) if shot is not None]
        if now <= shown.deadline_ms - late or not any(self._means.in_vain(shot, now, late) for shot in needed):
            return None
        return AuditVerdict(*looking.place, part.segment, Finding.UNAVAILABLE, 0, b"")

    def _start(self, shown: ShownSeen, looking: Looking, part: HiddenSegment) -> list[Effect]:
        hidden = shown.unit
        unit = Unit(hidden.task, hidden.round, hidden.attempt, hidden.slot, shown.trainer, hidden.seed)
        job = AuditJob(
            self._means.jobs.next_id(), shown.spec, unit, hidden.base, part.segment, part.before, part.after, 0
        )
        self._means.jobs.start(Running(job.job, looking, None))
        return [StartJob(job)]


def _place(unit: HiddenUnit) -> Place:
    return unit.task, unit.round, unit.attempt, unit.slot


def _lookings(unit: HiddenUnit) -> list[tuple[Looking, HiddenSegment]]:
    return [(Looking(_place(unit), part.segment), part) for part in unit.segments]


def _blobs(seen: HiddenSeen | ShownSeen, parts: Iterable[HiddenSegment]) -> list[tuple[bytes, int]]:
    """All that recomputing the *parts* needs, with the most bytes that each may have."""
    spec: TaskSpec = seen.spec
    return [
        (seen.unit.base, model_bytes(spec)),
        (spec.data.train, data_bytes(spec, samples=spec.data.train_samples)),
        *((shot, snapshot_bytes(spec)) for shot in sorted(_shots(parts))),
    ]


def _shots(parts: Iterable[HiddenSegment]) -> set[bytes]:
    return {shot for part in parts for shot in (part.before, part.after) if shot is not None}
