"""Aggregation in slices: the board on which validators say what they made of each slice of the next model.

It decides nothing: a model is still attested whole. But a part that more than a third of the power names is true, one
of them being honest, so whoever reads it here need not fetch the updates it was made of. Where updates are clipped, the
lengths on every slice are said first, in the same way.
"""

from __future__ import annotations

from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft, State
from potminer.wire import record as records
from potminer.wire.record import PartAttestation, RoundRecord, SliceRecord, TaskRecord
from potminer.wire.slice import is_measured
from potminer.wire.task import TaskSpec
from potminer.wire.tx import SliceResult


def attest(draft: Draft, sender: bytes, body: SliceResult, current: RoundRecord) -> Refusal | None:
    """Take *sender*'s word on a slice of *current*. Later it may only say it without more of the updates."""
    if sender not in draft.committee.members:
        return Refusal.NOT_VALIDATOR
    if current.slices == 1 or body.slice >= current.slices:
        return Refusal.NOT_SLICED
    if body.lengths and not is_measured(draft.need(TaskRecord, records.task_key(body.task)).spec):
        return Refusal.NOT_SLICED
    key = (records.lengths_key if body.lengths else records.slice_key)(body.task, body.slice)
    said = _said(draft, key)
    mine = next((each for each in said if each.validator == sender), None)
    if mine is not None and not set(mine.malformed) < set(body.malformed):
        return Refusal.ALREADY_DONE
    seated = (each for each in said if each.validator in draft.committee.members and each.validator != sender)
    draft.put(key, SliceRecord((*seated, PartAttestation(sender, body.part, body.malformed))))
    return None


def slices_of(state: State, task: bytes, current: RoundRecord | None) -> tuple[SliceRecord, ...]:
    """What is said of every slice of *current*; nothing where it is aggregated whole."""
    found = (state.get(SliceRecord, records.slice_key(task, index)) for index in range(_count(current)))
    return tuple(record or SliceRecord(()) for record in found)


def lengths_of(state: State, task: bytes, current: RoundRecord | None, spec: TaskSpec) -> tuple[SliceRecord, ...]:
    """What is said of the lengths on every slice; nothing where the rule needs none."""
    count = _count(current) if is_measured(spec) else 0
    found = (state.get(SliceRecord, records.lengths_key(task, index)) for index in range(count))
    return tuple(record or SliceRecord(()) for record in found)


def forget(draft: Draft, task_id: bytes, current: RoundRecord) -> None:
    """The round is over, whatever came of it."""
    for index in range(_count(current)):
        for key in (records.slice_key(task_id, index), records.lengths_key(task_id, index)):
            if draft.get(SliceRecord, key) is not None:
                draft.put(key, None)


def _count(current: RoundRecord | None) -> int:
    return current.slices if current is not None and current.slices > 1 else 0


def _said(draft: Draft, key: bytes) -> tuple[PartAttestation, ...]:
    found = draft.get(SliceRecord, key)
    return () if found is None else found.attestations
