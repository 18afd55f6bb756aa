"""An executable reading of what people say in a round, ../ledger.md §3, and of calibration, ../rounds.md §11.

Written from the text, on top of rounds.py. ``Whole`` is the ledger with nothing left out but what ledger.py names.
"""

from __future__ import annotations

from typing import Any

from .facts import (
    CLASSES,
    MEASURED,
    Attestation,
    Calibration,
    Device,
    Opening,
    PartAttestation,
    Round,
    Slice,
    Unit,
    Update,
    Verdict,
    differ,
    median,
)
from .records import AGGREGATE, AUDIT, COMMIT, DISPUTE, OPENING, REVEAL, Committee, Refusal, Task
from .rounds import Rounds


class Whole(Rounds):
    # ---- ledger.md §3: work -----------------------------------------------------------------

    def _work(self, body: Any, *phases: int) -> Refusal | None:
        """Work refusals."""
        if self.get("task", body.task) is None:
            return "UNKNOWN_TASK"
        current = self.at(body.task, body.round)
        if current is None or current.attempt != body.attempt:
            return "WRONG_ROUND"
        if current.phase not in phases:
            return "LATE" if current.phase > max(phases) else "WRONG_PHASE"
        return "LATE" if self._over(current) else None

    def _own(self, said: Any, *phases: int) -> Refusal | None:
        refusal = self._work(said.body, *phases)
        if refusal is not None:
            return refusal
        place, slot = (said.body.task, said.body.round % 2), said.body.slot
        if self.get("round", *place).slots[slot : slot + 1] != (said.sender,):
            return "NOT_ASSIGNED"
        return "ALREADY_DONE" if self.get("unit", *place, slot).judgement is not None else None

    def on_CommitWork(self, said: Any) -> Refusal | None:
        body, refusal = said.body, self._own(said, COMMIT)
        if refusal is not None:
            return refusal
        current = self.get("round", body.task, body.round % 2)
        if self.get("unit", body.task, body.round % 2, body.slot).commitment is not None:
            return "ALREADY_DONE"
        arrived = self.chain.time_ms - current.opened_ms
        self.change(
            "unit", body.task, body.round % 2, body.slot,
            commitment=body.commitment, device=body.device, arrived_ms=arrived,
        )
        if body.base != current.base:
            self._judge(body.task, current, body.slot, "wrong-base")
        return None

    def on_RevealWork(self, said: Any) -> Refusal | None:
        body, refusal = said.body, self._own(said, REVEAL)
        if refusal is not None:
            return refusal
        task, unit = self.get("task", body.task), self.get("unit", body.task, body.round % 2, body.slot)
        if unit.snapshots:
            return "ALREADY_DONE"
        if self.facts.commitment(body, said.sender) != unit.commitment:
            return "COMMITMENT_MISMATCH"
        if len(body.snapshots) != task.spec.segments or len(set(body.snapshots)) < task.spec.segments:
            return "WRONG_SNAPSHOTS"
        if len(body.lengths) != self.get("round", body.task, body.round % 2).slices:
            return "WRONG_LENGTHS"
        self.change(
            "unit", body.task, body.round % 2, body.slot,
            loss_micro=body.loss_micro, snapshots=body.snapshots, residues=body.residues,
            lengths=body.lengths,
        )  # fmt: skip
        owner = self.get("update", body.task, body.snapshots[-1])
        if owner is None:
            self.put(Update(body.round, said.sender), "update", body.task, body.snapshots[-1])
        elif owner.round < body.round or owner.trainer == said.sender:
            current = self.get("round", body.task, body.round % 2)
            self._judge(body.task, current, body.slot, "duplicate")
            self._expel(body.task, said.sender)
        return None

    def on_AuditVerdict(self, said: Any) -> Refusal | None:
        body, refusal = said.body, self._work(said.body, AUDIT, DISPUTE)
        shown_by = self._shown_by(body)
        if shown_by is not None:
            return self._judge_shown(said, shown_by)
        if refusal is not None:
            return refusal
        if len(body.sketch) != (64 if body.finding == MEASURED else 0):
            return "WRONG_SKETCH"
        current = self.get("round", body.task, body.round % 2)
        audits = [a for a in current.audits if (a.slot, a.segment) == (body.slot, body.segment)]
        if not audits:
            return "NOT_AUDITOR"
        unit = self.get("unit", body.task, body.round % 2, body.slot)
        verdict = Verdict(
            said.sender, body.segment, int(body.finding), body.error_ppm, body.sketch, body.cheat_ppm
        )

        def spoke(those: tuple[Verdict, ...]) -> bool:
            return any((v.judge, v.segment) == (said.sender, body.segment) for v in those)

        if current.phase == AUDIT:
            if all(audit.auditor != said.sender for audit in audits):
                return "NOT_AUDITOR"
            if spoke(unit.verdicts):
                return "ALREADY_DONE"
            self.change("unit", body.task, body.round % 2, body.slot, verdicts=(*unit.verdicts, verdict))
            return None
        if said.sender not in self.committee.members:
            return "NOT_VALIDATOR"
        if unit.judgement is not None or spoke(unit.judges):
            return "ALREADY_DONE"
        if not any(audit.disputed for audit in audits):
            return "NOT_AUDITOR"
        seated = tuple(judge for judge in unit.judges if judge.judge in self.committee.members)
        self.change("unit", body.task, body.round % 2, body.slot, judges=(*seated, verdict))
        return None

    def on_OpenResidue(self, said: Any) -> Refusal | None:
        body, refusal = said.body, self._own(said, AUDIT, OPENING)
        if refusal is not None:
            return refusal
        task, unit = self.get("task", body.task), self.get("unit", body.task, body.round % 2, body.slot)
        asked = [
            verdict
            for audit in self.get("round", body.task, body.round % 2).audits
            if (audit.slot, audit.segment, audit.leaf) == (body.slot, body.segment, body.leaf)
            and (verdict := self._said(audit, unit)) is not None
            and verdict.sketch
        ]
        if not asked:
            return "NOT_ASKED"
        if any((o.segment, o.leaf) == (body.segment, body.leaf) for o in unit.openings):
            return "ALREADY_DONE"
        if not self.facts.path_leads(unit.residues, body, task.spec.segments):
            return "WRONG_RESIDUES"
        opening = Opening(body.segment, body.leaf, body.residues)
        self.change("unit", body.task, body.round % 2, body.slot, openings=(*unit.openings, opening))
        return None

    def on_AggregateResult(self, said: Any) -> Refusal | None:
        body, phases = said.body, (AUDIT, OPENING, DISPUTE) if said.body.early else (AGGREGATE,)
        refusal = self._work(body, *phases)
        if refusal is not None:
            return refusal
        cut = self.get("round", body.task, body.round % 2).slices > 1
        if body.early and (cut or not self.get("task", body.task).spec.audit.overlap):
            return "WRONG_PHASE"
        current, members = self.get("round", body.task, body.round % 2), self.committee.members
        if said.sender not in members:
            return "NOT_VALIDATOR"
        if any(each.validator == said.sender for each in current.attestations):
            return "ALREADY_DONE"
        seated = tuple(each for each in current.attestations if each.validator in members)
        attestation = Attestation(said.sender, body.model, body.malformed)
        self.change("round", body.task, body.round % 2, attestations=(*seated, attestation))
        return None

    def on_SliceResult(self, said: Any) -> Refusal | None:
        body, refusal = said.body, self._work(said.body, AGGREGATE)
        if refusal is not None:
            return refusal
        current, members = self.get("round", body.task, body.round % 2), self.committee.members
        if said.sender not in members:
            return "NOT_VALIDATOR"
        if current.slices == 1 or body.slice >= current.slices:
            return "NOT_SLICED"
        if body.lengths and not hasattr(self.get("task", body.task).spec.aggregation, "bucket"):
            return "NOT_SLICED"
        table = "lengths" if body.lengths else "slice"
        before = self.get(table, body.task, body.slice) or Slice(())
        for each in before.attestations:
            if each.validator == said.sender and not set(each.malformed) < set(body.malformed):
                return "ALREADY_DONE"
        others = [each for each in before.attestations if each.validator in members and each.validator != said.sender]
        word = PartAttestation(said.sender, body.part, body.malformed)
        self.put(Slice((*others, word)), table, body.task, body.slice)
        return None

    # ---- rounds.md §11: calibration -----------------------------------------------------------

    def _is_calibrating(self, task: Task, device: str) -> bool:
        known = task.calibration
        if known is None:
            return True
        return len(known.devices) < CLASSES and device not in [seen.name for seen in known.devices]

    def _allowed(self, task: bytes, calibrating: bool) -> int:
        found = self.get("task", task)
        cap = int(found.spec.audit.tolerance_ppm)
        return cap if calibrating or found.calibration is None else min(cap, found.calibration.tolerance_ppm)

    def _proves(self, task: Task, unit: Unit, error: int | None) -> bool:
        known = task.calibration
        if unit.calibrating or known is None or error is None:
            return False
        return bool(error > max(known.tolerance_ppm, known.cheat_ppm // 10))

    def _calibrate(self, task: bytes, current: Round) -> None:
        units = self.units(task, current)
        measured = [unit for unit in units if unit.calibrating and reports(unit)]
        if not measured:
            return
        known = self.get("task", task).calibration
        learnt = self._first(task, units, measured) if known is None else self._widened(task, known, measured)
        if learnt is not None:
            self.change("task", task, calibration=learnt)

    def _tolerance(self, task: bytes, noise: int) -> int:
        return int(max(10, min(self.get("task", task).spec.audit.tolerance_ppm, 10 * noise)))

    def _first(self, task: bytes, units: list[Unit], measured: list[Unit]) -> Calibration | None:
        good = [unit for unit in measured if accepted(unit)]
        cheat, devices = smallest_cheat(good or measured), classes(measured)
        chaos: dict[bytes, int] = {}
        for unit in measured:
            found = chaotic(unit, self.committee, cheat)
            if found is not None:
                chaos[unit.trainer] = found
        if 3 * len(chaos) > len({unit.trainer for unit in units}):
            return Calibration(0, median(list(chaos.values())), cheat, devices, refused=True)
        if chaos or not good or not cheat:
            return None
        noise = max([median_noise(good), *(segment_noise(unit) for unit in good)])
        if 10 * self._tolerance(task, noise) > cheat:
            shown = [max(segment_noise(u) for u in good if u.trainer == who) for who in {u.trainer for u in good}]
            noise = median(shown)
        tolerance = self._tolerance(task, noise)
        return Calibration(tolerance, noise, cheat, devices, refused=10 * tolerance > cheat)

    def _widened(self, task: bytes, known: Calibration, measured: list[Unit]) -> Calibration:
        noise = max([segment_noise(unit) for unit in measured if accepted(unit)], default=0)
        wanted = min(self._tolerance(task, noise), known.cheat_ppm // 10)
        return known._replace(
            tolerance_ppm=max(known.tolerance_ppm, wanted),
            noise_ppm=max(known.noise_ppm, noise),
            devices=(known.devices + classes(measured))[:CLASSES],
        )


def accepted(unit: Unit) -> bool:
    return unit.judgement is not None and unit.judgement.outcome == "accepted"


def reports(unit: Unit) -> list[Verdict]:
    """All who measured, but for auditors whose small number is made up."""
    found = []
    for said in unit.verdicts:
        shown = [opening.residues for opening in unit.openings if opening.segment == said.segment]
        guessed = bool(shown) and bool(said.sketch) and all(differ(said.sketch, leaf) for leaf in shown)
        if said.error_ppm > 300 or not guessed:
            found.append(said)
    return [said for said in (*found, *unit.judges) if said.finding == MEASURED]


def smallest_cheat(units: list[Unit]) -> int:
    """C."""
    least: dict[bytes, int] = {}
    for said in [said for unit in units for said in reports(unit) if said.cheat_ppm]:
        least[said.judge] = min(said.cheat_ppm, least.get(said.judge, said.cheat_ppm))
    return min(10**6, median(least.values())) if least else 0


def chaotic(unit: Unit, committee: Committee, cheat: int) -> int | None:
    """The lower median of the high readings of its first chaotic segment."""
    cap = unit.allowed_ppm or 0
    judges = [said for said in unit.judges if said.finding == MEASURED]
    for segment in sorted({said.segment for said in judges}):
        here = [said for said in judges if said.segment == segment]
        low = {said.judge for said in here if said.error_ppm <= cap}
        high = [said for said in here if said.error_ppm > max(cheat // 10, 2 * cap)]
        if committee.is_weak_quorum(low) and committee.is_weak_quorum({said.judge for said in high}):
            return median([said.error_ppm for said in high])
    return None


def segment_noise(unit: Unit) -> int:
    """The largest lower median of a segment that more than one measured."""
    numbers: dict[int, list[int]] = {}
    for said in reports(unit):
        numbers.setdefault(said.segment, []).append(said.error_ppm)
    return max([median(errors) for errors in numbers.values() if len(errors) > 1], default=0)


def median_noise(units: list[Unit]) -> int:
    """Lower median, over all who measured accepted units, of the worst that each found within what was allowed."""
    worst: dict[bytes, int] = {}
    for unit in units:
        for said in reports(unit):
            if unit.passes(said):
                worst[said.judge] = max(said.error_ppm, worst.get(said.judge, 0))
    return median(worst.values()) if worst else 0


def classes(units: list[Unit]) -> tuple[Device, ...]:
    names = list(dict.fromkeys(unit.device for unit in units))[:CLASSES]
    noise = {n: [segment_noise(u) for u in units if u.device == n and accepted(u)] for n in names}
    return tuple(Device(name, max(noise[name], default=None)) for name in names)
