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
from potminer.core.ledger.event import Event, TaskCalibrated
from potminer.core.ledger.judge import median_ppm
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import Calibration, Outcome, SeenDevice, TaskRecord, UnitRecord, Verdict
from potminer.wire.tx import Finding

AUDITORS = 3
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
    if unit.calibrating or task.calibration is None or measured_ppm is None:
        return False
    return measured_ppm > max(task.calibration.tolerance_ppm, task.calibration.cheat_ppm // MARGIN)


def refusal_of(task: TaskRecord) -> str | None:
    found = task.calibration
    if found is None or not found.refused:
        return None
    return f"calibration: honest noise {found.noise_ppm} ppm too near the smallest cheat {found.cheat_ppm} ppm"


def settle_calibration(draft: Draft, task_id: bytes, units: list[UnitRecord], events: list[Event]) -> None:
    """Learn from the calibrating units of a round whose every unit has its outcome."""
    measured = [unit for unit in units if unit.calibrating and (_passed(unit) or _is_noisy(unit))]
    if not measured:
        return
    task = draft.need(TaskRecord, records.task_key(task_id))
    found = _first(task, measured) if task.calibration is None else _widened(task, task.calibration, measured)
    if found is None:
        return
    draft.put(records.task_key(task_id), replace(task, calibration=found))
    events.append(TaskCalibrated(task_id, found))


def _first(task: TaskRecord, measured: list[UnitRecord]) -> Calibration | None:
    """None where nobody could be measured, or nobody said what a cheat would measure: the next round tries again."""
    cheat = _smallest_cheat(measured)
    good = [unit for unit in measured if _passed(unit)]
    fit = {unit.trainer for unit in good}
    unfit = {unit.trainer for unit in measured} - fit
    devices = _devices(measured)
    if len(unfit) > len(fit):
        noise = median_ppm([max(_errors(unit)) for unit in measured if unit.trainer in unfit])
        return Calibration(0, noise, cheat, devices, refused=True)
    if not cheat:
        return None
    noise = max(max(_noise(unit) for unit in good), _reporters_noise(good))
    if MARGIN * _tolerance(task, noise) > cheat:
        # One trainer alone, or one auditor, must not be able to end a task with noise.
        by_trainer = [max(_noise(unit) for unit in good if unit.trainer == trainer) for trainer in sorted(fit)]
        noise = median_ppm(by_trainer)
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


def _is_noisy(unit: UnitRecord) -> bool:
    """Found above what is allowed by a quorum, or by so many of those who measured it that no quorum denies it."""
    outcome = unit.judgement.outcome if unit.judgement is not None else None
    if outcome == Outcome.OUT_OF_TOLERANCE:
        return True
    above = [error for error in _errors(unit) if error > (unit.allowed_ppm or 0)]
    return outcome == Outcome.UNAVAILABLE and 3 * len(above) > len(_errors(unit))


def _reports(unit: UnitRecord) -> list[Verdict]:
    return [said for said in (*unit.verdicts, *unit.judges) if said.finding == Finding.MEASURED]


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
    """Lower median, over all who measured one, of the smallest that each found; a minority moves it nowhere.
    0 where nobody did."""
    least: dict[bytes, int] = {}
    for unit in units:
        for said in _reports(unit):
            if said.cheat_ppm:
                least[said.judge] = min(least.get(said.judge, said.cheat_ppm), said.cheat_ppm)
    return median_ppm(list(least.values())) if least else 0


def _devices(units: list[UnitRecord]) -> tuple[SeenDevice, ...]:
    names = dict.fromkeys(unit.device for unit in units)
    found = {name: [_noise(u) for u in units if u.device == name and _passed(u)] for name in names}
    return tuple(SeenDevice(name, max(noise, default=None)) for name, noise in found.items())[: limits.DEVICE_CLASSES]
