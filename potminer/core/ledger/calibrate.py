"""Calibration: what honest work measures here, what the smallest cheat would, and the tolerance between the two.

A task's first round, and later the first round of a device class that is new to it, is measured before anything it
measures proves a thing. Such a unit is audited in every segment, so that a cheat in it is found and unpaid although
nobody is expelled for it; one segment of it is recomputed by up to ``AUDITORS``, and every auditor measures the
smallest cheat as well.

    tolerance = max(LEAST_PPM, min(cap, MARGIN * noise)); refused where MARGIN * tolerance > cheat
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from msgspec.structs import replace

from potminer.base import limits
from potminer.base.bounded import MILLION
from potminer.base.quorum import is_weak_quorum
from potminer.core.ledger.event import Event, TaskCalibrated
from potminer.core.ledger.judge import median_ppm
from potminer.core.ledger.sketch import SURELY_PROVES_PPM, differs
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import Calibration, CommitteeRecord, Outcome, SeenDevice, TaskRecord, UnitRecord, Verdict
from potminer.wire.tx import Finding

AUDITORS = limits.AUDITORS_PER_SEGMENT
"""Who recompute the drawn segment of a unit, where there are so many."""
FEWEST = 2
"""With fewer auditors the committee recomputes it as well."""
MARGIN = 10
LEAST_PPM = 10


def is_calibrating(task: TaskRecord, device: str) -> bool:
    """Whether a unit that *device* computed is measured first. The list of known classes is bounded, and with it how
    often somebody can invent one."""
    found = task.calibration
    if found is None:
        return True
    return len(found.devices) < limits.DEVICE_CLASSES and all(seen.name != device for seen in found.devices)


def allowed_ppm(task: TaskRecord, *, calibrating: bool) -> int:
    """Largest error that passes; the requester's cap where nothing better is known."""
    cap = task.spec.audit.tolerance_ppm
    return cap if calibrating or task.calibration is None else min(cap, task.calibration.tolerance_ppm)


def proves_a_cheat(task: TaskRecord, unit: UnitRecord, measured_ppm: int | None) -> bool:
    """Whether an error is nobody's rounding: a tenth of the smallest cheat or more. Less is unpaid, not punished."""
    return not unit.calibrating and is_no_rounding(task, measured_ppm)


def is_no_rounding(task: TaskRecord, measured_ppm: int | None) -> bool:
    if task.calibration is None or measured_ppm is None:
        return False
    return measured_ppm > max(task.calibration.tolerance_ppm, task.calibration.cheat_ppm // MARGIN)


def refusal_of(task: TaskRecord) -> str | None:
    found = task.calibration
    if found is None or not found.refused:
        return None
    return f"calibration: honest noise {found.noise_ppm} ppm too near the smallest cheat {found.cheat_ppm} ppm"


def settle_calibration(draft: Draft, task_id: bytes, units: list[UnitRecord], events: list[Event]) -> None:
    """Learn from the calibrating units of a round whose every unit has its outcome."""
    task = draft.need(TaskRecord, records.task_key(task_id))
    measured = [unit for unit in units if unit.calibrating and _errors(unit)]
    if not measured:
        return
    known = task.calibration
    found = _first(task, units, measured, draft.committee) if known is None else _widened(task, known, measured)
    if found is not None:
        draft.put(records.task_key(task_id), replace(task, calibration=found))
        events.append(TaskCalibrated(task_id, found))


def _first(
    task: TaskRecord, units: list[UnitRecord], measured: list[UnitRecord], committee: CommitteeRecord
) -> Calibration | None:
    """None where nobody's work passed, nobody said what a cheat would measure, or a trainer's machine seems at odds
    with others: the next round tries again. Where more than a third of the trainers' are, the task is refused."""
    good = [unit for unit in measured if _passed(unit)]
    # Of what was refused a state may be false in which leaving something out shows little, or anything at all.
    cheat, devices = _smallest_cheat(good or measured), _devices(measured)
    chaotic = {unit.trainer: found for unit in measured if (found := _disagreement(unit, committee, cheat)) is not None}
    if 3 * len(chaotic) > len({unit.trainer for unit in units}):
        return Calibration(0, median_ppm(list(chaotic.values())), cheat, devices, refused=True)
    if chaotic or not cheat or not good:
        return None
    noise = max(max(_noise(unit) for unit in good), _reporters_noise(good))
    if MARGIN * _tolerance(task, noise) > cheat:
        # One trainer alone, or one auditor, must not be able to end a task with noise.
        trainers = sorted({unit.trainer for unit in good})
        noise = median_ppm([max(_noise(unit) for unit in good if unit.trainer == trainer) for trainer in trainers])
    tolerance = _tolerance(task, noise)
    return Calibration(tolerance, noise, cheat, devices, refused=MARGIN * tolerance > cheat)


def _widened(task: TaskRecord, known: Calibration, measured: list[UnitRecord]) -> Calibration:
    """With the new classes, and the tolerance that their honest work needs, a tenth of the smallest cheat at most."""
    devices = (*known.devices, *_devices(measured))[: limits.DEVICE_CLASSES]
    noise = max((_noise(unit) for unit in measured if _passed(unit)), default=0)
    wanted = min(_tolerance(task, noise), known.cheat_ppm // MARGIN)
    return replace(
        known, devices=devices, tolerance_ppm=max(known.tolerance_ppm, wanted), noise_ppm=max(known.noise_ppm, noise)
    )


def _tolerance(task: TaskRecord, noise: int) -> int:
    return max(LEAST_PPM, min(task.spec.audit.tolerance_ppm, MARGIN * noise))


# ---- what was measured -------------------------------------------------------------------


def _passed(unit: UnitRecord) -> bool:
    return unit.judgement is not None and unit.judgement.outcome == Outcome.ACCEPTED and bool(_errors(unit))


def _disagreement(unit: UnitRecord, committee: CommitteeRecord, cheat: int) -> int | None:
    """The noise of a segment that honest machines measure both as good and as a cheat's: with more than a third of the
    committee's power on each side both have an honest judge. It is no false work, for they would all measure that."""
    power = dict(zip(committee.members, committee.powers, strict=True))
    total, allowed = sum(committee.powers), unit.allowed_ppm or 0
    least = max(cheat // MARGIN, 2 * allowed)
    judges = [said for said in unit.judges if said.finding == Finding.MEASURED]
    for segment in sorted({said.segment for said in judges}):
        here = [said for said in judges if said.segment == segment]
        high = [said for said in here if said.error_ppm > least]
        low = sum(power.get(said.judge, 0) for said in here if said.error_ppm <= allowed)
        if is_weak_quorum(low, total) and is_weak_quorum(sum(power.get(s.judge, 0) for s in high), total):
            return median_ppm([said.error_ppm for said in high])
    return None


def _reports(unit: UnitRecord) -> list[Verdict]:
    auditors = (said for said in unit.verdicts if not _is_made_up(unit, said))
    return [said for said in (*auditors, *unit.judges) if said.finding == Finding.MEASURED]


def _is_made_up(unit: UnitRecord, said: Verdict) -> bool:
    """Whether an auditor claims to have measured next to nothing with residues like a guess."""
    shown = [opening.residues for opening in unit.openings if opening.segment == said.segment]
    if not said.sketch or not shown or said.error_ppm > SURELY_PROVES_PPM:
        return False
    return all(differs(said.sketch, residues) for residues in shown)


def _errors(unit: UnitRecord) -> list[int]:
    return [said.error_ppm for said in _reports(unit)]


def _noise(unit: UnitRecord) -> int:
    """The largest error that more than one measured: of every segment the lower median."""
    by_segment: defaultdict[int, list[int]] = defaultdict(list)
    for said in _reports(unit):
        by_segment[said.segment].append(said.error_ppm)
    return max((median_ppm(errors) for errors in by_segment.values() if len(errors) > 1), default=0)


def _reporters_noise(units: Iterable[UnitRecord]) -> int:
    """Lower median over all who measured of the worst that each found: for segments that one alone recomputed."""
    worst: defaultdict[bytes, int] = defaultdict(int)
    for unit in units:
        for said in _reports(unit):
            if said.error_ppm <= (unit.allowed_ppm or 0):
                worst[said.judge] = max(worst[said.judge], said.error_ppm)
    return median_ppm(list(worst.values())) if worst else 0


def _smallest_cheat(units: Iterable[UnitRecord]) -> int:
    """Lower median, over all who measured one, of the smallest that each found; a minority moves it nowhere. At most
    the whole change: or a crowd in the first round could see to it that no error ever proves anything. 0 where nobody
    did."""
    least: dict[bytes, int] = {}
    for unit in units:
        for said in _reports(unit):
            if said.cheat_ppm:
                least[said.judge] = min(least.get(said.judge, said.cheat_ppm), said.cheat_ppm)
    return min(MILLION, median_ppm(list(least.values()))) if least else 0


def _devices(units: list[UnitRecord]) -> tuple[SeenDevice, ...]:
    names = dict.fromkeys(unit.device for unit in units)
    found = {name: [_noise(u) for u in units if u.device == name and _passed(u)] for name in names}
    return tuple(SeenDevice(name, max(noise, default=None)) for name, noise in found.items())[: limits.DEVICE_CLASSES]
