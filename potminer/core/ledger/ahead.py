"""When the next round may train while this one is audited, and on which model.

It stands on what validators attest early: the aggregate of everything that was revealed. Where a unit is refused after
all, the round ahead is void like any attempt that fails: nobody is paid or punished for it. So it opens only where
nobody can bring that about for nothing.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.ledger.calibrate import is_calibrating
from potminer.core.ledger.evaluate import has_reached_target, is_evaluating
from potminer.core.ledger.progress import agreed, is_refused, round_of, units_in, was_shown
from potminer.core.ledger.stake import Need, needs, stakes
from potminer.core.ledger.state import Draft
from potminer.wire.record import Member, Phase, RoundRecord, Standing, TaskRecord, TaskStatus, UnitRecord
from potminer.wire.task import evaluation_fee, is_evaluated

EARLY = (Phase.AUDIT, Phase.OPEN, Phase.DISPUTE)
"""Phases in which validators may attest early. The audits are drawn: whoever owes one does it before it trains."""


def active(task: TaskRecord) -> list[Member]:
    return [member for member in task.members if member.standing == Standing.ACTIVE]


def early_model(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord) -> bytes | None:
    """The model that the round after *current* may begin with now; None where it has to wait."""
    spec = task.spec
    if not spec.audit.overlap or current.phase not in EARLY or task.status != TaskStatus.OPEN:
        return None
    if task.round + 1 >= spec.rounds or round_of(draft, task_id, task.round + 1) is not None:
        return None
    found = agreed(draft, current.attestations)
    if found is None or found.malformed or _may_end(draft, task_id, task):
        return None
    fewest = spec.min_trainers * spec.units_per_trainer * spec.reward.price_per_unit
    if len(active(task)) < spec.min_trainers or funds_ahead(draft, task_id, task, current) < fewest:
        return None
    return found.model if _is_safe(draft, task_id, task, current) else None


def funds_ahead(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord) -> int:
    """What of the escrow is surely left once *current* has closed."""
    spec, shown = task.spec, sum(map(was_shown, units_in(draft, task_id, current)))
    purse = spec.evaluation.evaluators * evaluation_fee(spec) if is_evaluated(spec, task.round + 1) else 0
    return task.escrow - shown * spec.reward.price_per_unit - purse


def _may_end(draft: Draft, task_id: bytes, task: TaskRecord) -> bool:
    """Whether the task may be over before a next round: that is decided first."""
    if not task.spec.evaluation.target_ppm:
        return False
    scored = is_evaluating(draft, task_id) or is_evaluated(task.spec, task.round + 1)
    return scored or has_reached_target(task)


def _is_safe(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord) -> bool:
    """Whether everybody whose unit could void the round ahead has as much to lose as it must have to be trusted with
    its work, and has not done so lately. What calibrates proves nothing, and so costs nobody anything."""
    shown = [unit for unit in units_in(draft, task_id, current) if was_shown(unit)]
    if any(is_refused(unit) or is_calibrating(task, unit.device) for unit in shown):
        return False
    trainers = sorted({unit.trainer for unit in shown})
    if any(member.doubted > task.round for member in task.members if member.trainer in trainers):
        return False
    at_stake, need = stakes(draft, task_id, task, trainers), needs(draft)
    factor = draft.parameters.audit_factor * task.spec.reward.price_per_unit
    return all(
        at_stake[trainer] >= max(need.get(trainer, Need()).least, factor * current.slots.count(trainer))
        for trainer in trainers
    )


def doubt(draft: Draft, task: TaskRecord, units: list[UnitRecord]) -> TaskRecord:
    """*task* with those doubted for a dispute window whose units were shown and refused."""
    bad, until = {unit.trainer for unit in units if is_refused(unit)}, task.round + 1 + draft.parameters.escrow_rounds
    return replace(
        task, members=tuple(replace(m, doubted=until) if m.trainer in bad else m for m in task.members)
    )
