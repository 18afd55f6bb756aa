"""Looking at a round: which of it concerns whom."""

from __future__ import annotations

from potminer.core.rounds.events import TaskSeen
from potminer.wire.record import Audit, Outcome, Phase, RoundRecord, UnitRecord, Verdict
from potminer.wire.task import Unit


def drawn(seen: TaskSeen, current: RoundRecord, auditor: bytes) -> list[Audit]:
    """Audits drawn for *auditor* that it has not spoken on."""
    return [
        audit
        for audit in current.audits
        if audit.auditor == auditor and not _spoken(auditor, seen.units[audit.slot].verdicts, audit.segment)
    ]


def disputed(seen: TaskSeen, current: RoundRecord, judge: bytes) -> list[Audit]:
    """Audits that the committee has to repeat and *judge* has not spoken on, those of the largest stakes first. Of each
    segment it is the first that is disputed: its leaf is what a judge sketches."""
    audits: dict[tuple[int, int], Audit] = {}
    for audit in current.audits:
        unit = seen.units[audit.slot]
        if audit.disputed and unit.judgement is None and not _spoken(judge, unit.judges, audit.segment):
            audits.setdefault((audit.slot, audit.segment), audit)
    return sorted(audits.values(), key=lambda audit: -seen.units[audit.slot].stake)


def stake_in_dispute(seen: TaskSeen, judge: bytes) -> int:
    """The largest stake that *judge* has still to judge work of."""
    current = seen.round
    if current is None or current.phase != Phase.DISPUTE:
        return 0
    return max((seen.units[audit.slot].stake for audit in disputed(seen, current, judge)), default=0)


def _spoken(judge: bytes, verdicts: tuple[Verdict, ...], segment: int) -> bool:
    return any(said.judge == judge and said.segment == segment for said in verdicts)


def aggregated(seen: TaskSeen) -> tuple[int, ...]:
    """Slots whose updates the next model is made of: the accepted. While audits go on it is all that was shown, as
    long as nothing of it is refused."""
    if seen.round is None or seen.round.phase == Phase.AGGREGATE:
        return tuple(slot for slot, unit in enumerate(seen.units) if _ended(unit) == Outcome.ACCEPTED)
    shown = [slot for slot, unit in enumerate(seen.units) if unit.snapshots and _ended(unit) != Outcome.DUPLICATE]
    stands = all(_ended(seen.units[slot]) in (None, Outcome.ACCEPTED) for slot in shown)
    return tuple(shown) if stands else ()


def _ended(unit: UnitRecord) -> Outcome | None:
    return unit.judgement.outcome if unit.judgement is not None else None


def unit_of(task: bytes, current: RoundRecord, slot: int) -> Unit:
    return Unit(task, current.number, current.attempt, slot, current.slots[slot], current.seed)

