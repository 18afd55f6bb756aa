"""The rounds of a task that are in progress, and what their validators attest.

Mostly there is one, number ``task.round``. A second one, the next number, may be *ahead*: it trains on the model that
the first will close with if nothing is refused, while the first is audited.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from potminer.base.quorum import is_weak_quorum
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import Attestation, Outcome, RoundRecord, TaskRecord, UnitRecord


def round_of(draft: Draft, task_id: bytes, number: int) -> RoundRecord | None:
    """Round *number* of the task, if it is in progress."""
    found = draft.get(RoundRecord, records.round_key(task_id, number))
    return found if found is not None and found.number == number else None


def rounds_of(draft: Draft, task_id: bytes) -> list[RoundRecord]:
    """The rounds in progress, the older first."""
    first = draft.need(TaskRecord, records.task_key(task_id)).round
    found = (round_of(draft, task_id, number) for number in (first, first + 1))
    return [each for each in found if each is not None]


def units_in(draft: Draft, task_id: bytes, current: RoundRecord) -> list[UnitRecord]:
    """The units of *current*, by slot."""
    keys = (records.unit_key(task_id, current.number, slot) for slot in range(len(current.slots)))
    return [draft.need(UnitRecord, key) for key in keys]


def was_shown(unit: UnitRecord) -> bool:
    """Whether *unit* was revealed and is its own: what is aggregated if no audit finds anything. Any other judgement
    than of a copy comes after the reveals."""
    return bool(unit.snapshots) and (unit.judgement is None or unit.judgement.outcome != Outcome.DUPLICATE)


def is_refused(unit: UnitRecord) -> bool:
    """Whether a unit that was shown will not be part of the model after all."""
    return was_shown(unit) and unit.judgement is not None and unit.judgement.outcome != Outcome.ACCEPTED


@dataclass(frozen=True, slots=True)
class Agreed:
    """What validators with more than a third of the power attest."""

    model: bytes
    malformed: tuple[int, ...]
    attesters: tuple[bytes, ...]


def agreed(draft: Draft, attestations: Iterable[Attestation]) -> Agreed | None:
    """At least one of them is honest, and the aggregate is exact, so every honest validator attests the same."""
    committee = draft.committee
    power = dict(zip(committee.members, committee.powers, strict=True))
    support: dict[tuple[bytes, tuple[int, ...]], list[bytes]] = {}
    for said in attestations:
        if said.validator in power:  # the others sat in an earlier epoch's committee
            support.setdefault((said.model, said.malformed), []).append(said.validator)
    for (model, malformed), attesters in support.items():
        if is_weak_quorum(sum(power[each] for each in attesters), sum(committee.powers)):
            return Agreed(model, malformed, tuple(attesters))
    return None
