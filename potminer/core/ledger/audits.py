"""Which units are audited, in which segments, by whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from msgspec.structs import replace

from potminer.base import draw
from potminer.base.bounded import MILLION
from potminer.base.digest import number
from potminer.core.ledger.calibrate import AUDITORS, FEWEST, allowed_ppm, is_calibrating
from potminer.core.ledger.outliers import outliers
from potminer.core.ledger.progress import units_in
from potminer.core.ledger.rewards import audited_ppm
from potminer.core.ledger.stake import stakes
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import Audit, RoundRecord, TaskRecord, Trainer, UnitRecord
from potminer.wire.residue import LEAVES


def draw_audits(
    draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord, units: list[UnitRecord]
) -> tuple[Audit, ...]:
    """How many segments follows from what each trainer stands to lose, which is noted in its units. Auditors take turns
    in a drawn order: nobody gets much more than others, nobody audits itself, and the pair of the last round is avoided
    where it can be. Where several units claim one update, each is audited in its last segment: the tag
    at the head of the snapshot names the author.

    Whoever proposes this block knows the beacon before anybody else. So what a unit is drawn depends on nothing that a
    transaction could still change: not on who else is expelled, and no stake counts that came after the reveals."""
    place = (task_id, number(current.number), number(current.attempt))
    playing = [slot for slot, unit in enumerate(units) if unit.judgement is None]
    at_stake = stakes(draft, task_id, task, sorted({units[slot].trainer for slot in playing}))
    order = draw.shuffled(draw.words(draft.head.beacon, *place), list(at_stake))
    turns = [t for t in order if not draft.need(Trainer, records.trainer_key(t)).expelled]
    last = {member.trainer: member.last_auditor for member in task.members}
    claims = Counter(units[slot].snapshots[-1] for slot in playing)
    # A false calibrating unit proves nothing and is never paid: its pay is nothing that a cheat would lose.
    together = Counter(units[slot].trainer for slot in playing if not is_calibrating(task, units[slot].device))
    long = outliers({slot: units[slot] for slot in playing})
    audits: list[Audit] = []
    for slot in playing:
        calibrating = is_calibrating(task, units[slot].device)
        stream = draw.words(draft.head.beacon, *place, number(slot))
        unit = replace(
            units[slot], stake=min(units[slot].stake, at_stake[units[slot].trainer]), calibrating=calibrating,
            allowed_ppm=allowed_ppm(task, calibrating=calibrating), outlier=slot in long,
        )  # fmt: skip
        draft.put(records.unit_key(task_id, current.number, slot), unit)
        segments = _segments(stream, draft, task, unit, together=max(1, together[unit.trainer]))
        if claims[unit.snapshots[-1]] > 1:
            segments |= {task.spec.segments}
        measured = draw.below(stream, task.spec.segments) + 1 if calibrating else 0
        few = len(set(turns) - {unit.trainer}) < FEWEST
        for segment in sorted(segments):
            several: list[bytes] = []
            taken: list[int] = []
            for _ in range(AUDITORS if segment == measured else 1):
                auditor = _next_auditor(turns, unit.trainer, last[unit.trainer], several)
                if auditor is None and several:
                    break
                leaf = _next_leaf(stream, taken)
                taken.append(leaf)
                audits.append(Audit(slot, segment, auditor, leaf, disputed=few and segment == measured))
                if auditor is None:
                    break  # the committee judges the segment, once
                several.append(auditor)
    return tuple(audits)


def note_stakes(draft: Draft, task_id: bytes, task: TaskRecord, current: RoundRecord) -> None:
    """What everybody stands to lose when all has been shown and no beacon of the draw is known. More than this does not
    count in the draw: money that is bonded for it by whoever sees its outcome first was never at risk."""
    units = units_in(draft, task_id, current)
    at_stake = stakes(draft, task_id, task, sorted({unit.trainer for unit in units}))
    for slot, unit in enumerate(units):
        if unit.judgement is None:
            noted = replace(unit, stake=at_stake[unit.trainer])
            draft.put(records.unit_key(task_id, current.number, slot), noted)


def _segments(stream: Iterator[int], draft: Draft, task: TaskRecord, unit: UnitRecord, *, together: int) -> set[int]:
    """As many segments as the stake and the pay of the *together* drawn units of its trainer ask for; what is left of a
    segment is a chance. Where an error proves nothing yet it is all of them: a cheat that costs nothing must gain
    nothing. So it is of an outlier: a sum would take it at its own length."""
    spec = task.spec
    wanted = audited_ppm(
        price=spec.reward.price_per_unit, stake=unit.stake, units=together, segments=spec.segments,
        factor=draft.parameters.audit_factor, floor_ppm=spec.audit.rate_ppm,
    )  # fmt: skip
    count = wanted // MILLION + (draw.below(stream, MILLION) < wanted % MILLION)
    if unit.calibrating or unit.outlier:
        count = spec.segments
    return set(draw.shuffled(stream, range(1, spec.segments + 1))[:count])


def _next_auditor(turns: list[bytes], trainer: bytes, last: bytes | None, but: list[bytes]) -> bytes | None:
    others = [auditor for auditor in turns if auditor != trainer and auditor not in but]
    fresh = [auditor for auditor in others if auditor != last] or others
    if not fresh:
        return None
    turns.remove(fresh[0])
    turns.append(fresh[0])
    return fresh[0]


def _next_leaf(stream: Iterator[int], taken: list[int]) -> int:
    """The leaf to be sketched: while there are others, none that another auditor of the segment may show before."""
    left = [leaf for leaf in range(LEAVES) if leaf not in taken] or list(range(LEAVES))
    return left[draw.below(stream, len(left))]


def audit_load(audits: tuple[Audit, ...], units: list[UnitRecord]) -> int:
    """Most segments that one auditor recomputes; where it measures the smallest cheat too, it does so twice."""
    load: Counter[bytes] = Counter()
    for audit in audits:
        if audit.auditor is not None:
            load[audit.auditor] += 2 if units[audit.slot].calibrating else 1
    return max(load.values(), default=0)
