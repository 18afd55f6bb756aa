"""What a validator does about the next model: aggregate it, whole or in slices, and attest it."""

from __future__ import annotations

from collections.abc import Container

from msgspec.structs import replace

from potminer.core.rounds.events import Effect, TaskSeen
from potminer.core.rounds.job import Apart, Attempt, Running, Slicing, slots_of
from potminer.core.rounds.look import aggregated, unit_of
from potminer.core.rounds.means import Means
from potminer.core.rounds.slicing import Slicer, Whole
from potminer.wire.record import Phase, RoundRecord
from potminer.wire.slice import part_size
from potminer.wire.task import snapshot_bytes
from potminer.wire.trainer import Aggregated, AggregateJob, AssembleJob, Sliced, SliceJob
from potminer.wire.tx import AggregateResult

EARLY = (Phase.AUDIT, Phase.OPEN, Phase.DISPUTE)
"""Phases in which a model may be attested before the audits are over."""
BEGINS = (Phase.DRAW, *EARLY)
"""Phases in which the model is made, whether or not it may be attested."""


class Attester:
    """*key* is ours."""

    def __init__(self, key: bytes, means: Means) -> None:
        self._key = key
        self._means = means
        self._found: dict[Attempt, tuple[tuple[int, ...], AggregateResult]] = {}
        """What was found of an attempt, and of which slots."""
        self._slicer = Slicer(key)

    # ---- what happens ---------------------------------------------------------------------

    def excerpt_fetched(self, update: bytes, index: int, excerpt: bytes | None, now: int) -> None:
        self._slicer.fetched(update, index, excerpt, now)

    def lost(self) -> None:
        """The folder no longer has what it had."""
        self._slicer.lost()

    def aggregated(self, running: Running, report: Aggregated, current: RoundRecord) -> None:
        purpose = running.purpose
        if isinstance(purpose, Slicing | Apart) or len(purpose) != 3:
            raise AssertionError("an Aggregated report answers an aggregation")
        found = (running.slots[position] for position in report.malformed)
        malformed = tuple(sorted((*found, *running.left_out)))
        # Where nothing was left to aggregate the model stays, and the ledger opens the round again.
        model = report.model or current.base
        self._means.blobs.add(model)
        self._found[purpose] = slots_of(running), AggregateResult(*purpose, model, malformed)

    def sliced(self, running: Running, report: Sliced, current: RoundRecord) -> None:
        self._slicer.found(running, report, base=current.base)
        if report.part is not None:
            self._means.blobs.add(report.part)
            self._means.unavailable.discard(report.part)

    def is_timely(self, running: Running, seen: TaskSeen) -> bool:
        """Whether what was begun while audits went on is still what they leave."""
        if isinstance(running.purpose, Slicing | Apart) or len(running.purpose) != 3:
            return seen.round is not None and seen.round.phase == running.phase
        return slots_of(running) == aggregated(seen)

    def forget(self, task: bytes, *, but: Container[tuple[int, int]]) -> None:
        """Drop what belongs to other attempts of *task*."""
        self._found = {k: v for k, v in self._found.items() if k[0] != task or k[1:] in but}
        self._slicer.forget(task, but=but)

    # ---- what is owed ---------------------------------------------------------------------

    def early(self, seen: TaskSeen, current: RoundRecord, now: int) -> list[Effect]:
        """Fetch what was revealed at once: every update, or our share of each, will be aggregated. While audits go on
        aggregate all of it: almost always that is the next model. Where rounds overlap, say so."""
        if current.slices > 1:
            return list(self._slicer.early(seen, current, now))
        if current.phase in BEGINS and aggregated(seen):
            if current.phase in EARLY and seen.record.spec.audit.overlap:
                return self.owed(seen, current, now)
            if current.phase != Phase.DISPUTE and self._result(seen, current) is None:
                return self._aggregate(seen, current, now)
        limit = snapshot_bytes(seen.record.spec)
        effects: list[Effect] = []
        for unit in seen.units:
            if unit.snapshots and unit.judgement is None:
                effects += self._means.fetch(unit.snapshots[-1], limit, now)
        return effects

    def owed(self, seen: TaskSeen, current: RoundRecord, now: int) -> list[Effect]:
        if any(a.validator == self._key for a in current.attestations):
            return []
        result = self._result(seen, current)
        if result is not None:
            return self._means.submit(replace(result, early=current.phase in EARLY), now)
        return self._slices(seen, current, now) if current.slices > 1 else self._aggregate(seen, current, now)

    def _result(self, seen: TaskSeen, current: RoundRecord) -> AggregateResult | None:
        """What was found of the units that count now."""
        of, result = self._found.get((seen.task, current.number, current.attempt), ((), None))
        return result if current.slices > 1 or of == aggregated(seen) else None

    def _aggregate(self, seen: TaskSeen, current: RoundRecord, now: int) -> list[Effect]:
        means, purpose = self._means, (seen.task, current.number, current.attempt)
        ready, effects = means.need(seen, now, ("base",))
        limit = snapshot_bytes(seen.record.spec)
        slots, left_out = [], []
        # In the second half of the phase, what nobody has is left out: a trainer that shows its update to
        # its auditor alone would otherwise stall the task for ever.
        half = seen.record.spec.deadlines.aggregate_ms // 2
        patient = current.phase in BEGINS or now <= current.deadline_ms - half
        for slot in aggregated(seen):
            blob = seen.units[slot].snapshots[-1]
            if patient or not means.in_vain(blob, now, half):
                slots.append(slot)
            else:
                left_out.append(slot)
            if blob not in means.blobs:
                ready = ready and slot in left_out
                effects += means.fetch(blob, limit, now)
        if ready and means.jobs.free(purpose, now):
            units = tuple(unit_of(seen.task, current, slot) for slot in slots)
            updates = tuple(seen.units[slot].snapshots[-1] for slot in slots)
            said = tuple(seen.units[slot].lengths[0] for slot in slots)
            job = AggregateJob(means.jobs.next_id(), seen.record.spec, current.base, units, updates, said)
            effects += means.start(job, purpose, current, slots=tuple(slots), left_out=tuple(left_out))
        return effects

    def _slices(self, seen: TaskSeen, current: RoundRecord, now: int) -> list[Effect]:
        """Our slices of the next model and, once all are known, the model."""
        means = self._means
        owed = self._slicer.owed(seen, current, now, unavailable=means.unavailable)
        if owed.whole is not None:
            return self._assemble(seen, current, owed.whole, now)
        ready, effects = means.need(seen, now, ("base",))
        effects += owed.fetches
        for blob in owed.lengths:
            effects += means.fetch(blob, owed.lengths_bytes, now)
        for said in owed.said:
            effects += means.submit(said, now)
        for each in owed.slices:
            if ready and means.blobs.issuperset(each.lengths) and means.jobs.free(each.purpose, now):
                what = each.units, each.updates, each.excerpts, each.purpose.index, current.slices, each.lengths
                job = SliceJob(means.jobs.next_id(), seen.record.spec, current.base, *what, each.said)
                effects += means.start(job, each.purpose, current, slots=each.slots, left_out=each.left_out)
        return effects

    def _assemble(self, seen: TaskSeen, current: RoundRecord, whole: Whole, now: int) -> list[Effect]:
        means, purpose = self._means, (seen.task, current.number, current.attempt)
        if not whole.parts:
            result = AggregateResult(*purpose, current.base, whole.malformed)
            self._found[purpose] = (), result
            return means.submit(result, now)
        spec, effects = seen.record.spec, list[Effect]()
        for index, part in enumerate(whole.parts):
            effects += means.fetch(part, part_size(spec, index, current.slices), now)
        if means.blobs.issuperset(whole.parts) and means.jobs.free(purpose, now):
            job = AssembleJob(means.jobs.next_id(), spec, whole.parts)
            effects += means.start(job, purpose, current, left_out=whole.malformed)
        return effects
