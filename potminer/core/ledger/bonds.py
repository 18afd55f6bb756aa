"""A validator's money: its bond, its way out, and what it loses for saying two things.

Whoever unbonds in an epoch may still sit in the committee of the next one; its money stays within
reach of evidence for two more epochs, and at least for the unbonding time.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base import limits
from potminer.core.committee import committee_of
from potminer.core.ledger.event import Event, ValidatorSlashed
from potminer.core.ledger.refusal import Refusal
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire import tx
from potminer.wire.record import Roster, Unbonding, Validator
from potminer.wire.seal import Purpose, statement, verify

ACTING_DELAY = 2
"""What is decided in epoch e, a committee or an onion, acts from e + 2 on."""
REACH = 4
"""A bond that is unbonded in epoch e is out of reach when epoch e + 4 begins: it last acts in e + 1."""
UNBONDINGS_EACH = 4
_MILLION = 1_000_000
_BALLOT = frozenset({Purpose.PRE_PREPARE, Purpose.PREPARE})
"""A primary's PRE-PREPARE is its PREPARE: the two are one ballot."""


def register(draft: Draft, sender: bytes, body: tx.RegisterValidator) -> Refusal | None:
    """Bond more, renew the onion, or both. A new validator brings an onion and at least the smallest bond."""
    found = draft.get(Validator, records.validator_key(sender))
    refusal = _registers_nothing(draft, found, body)
    if refusal is not None:
        return refusal
    if draft.account(sender).balance < body.amount:
        return Refusal.BALANCE_TOO_LOW
    bond = body.amount + (found.bond if found is not None else 0)
    candidates = _candidates_with(draft, sender, bond)
    if found is None and sender not in candidates:
        return Refusal.TOO_MANY
    epoch = draft.committee.epoch
    if found is None:
        named = Validator(body.onion or b"", bond)
    elif body.onion is None:
        named = replace(found, bond=bond)
    else:
        acts = epoch + ACTING_DELAY
        named = replace(found, onion=found.onion_in(epoch), bond=bond, next_onion=body.onion, next_epoch=acts)
    draft.debit(sender, body.amount)
    draft.put(records.validator_key(sender), named)
    draft.put(records.ROSTER, replace(_roster(draft), candidates=candidates))
    return None


def _registers_nothing(draft: Draft, found: Validator | None, body: tx.RegisterValidator) -> Refusal | None:
    if found is None:
        if body.onion is None:
            return Refusal.NOT_REGISTERED
        return Refusal.BOND_TOO_LOW if body.amount < draft.parameters.validator_bond else None
    if found.slashed:
        return Refusal.SLASHED
    if body.onion is None:
        return None if body.amount else Refusal.BOND_TOO_LOW
    waiting = found.next_onion is not None and draft.committee.epoch < found.next_epoch
    return Refusal.ALREADY_DONE if waiting else None


def _roster(draft: Draft) -> Roster:
    return draft.need(Roster, records.ROSTER)


def _candidates_with(draft: Draft, key: bytes, bond: int) -> tuple[bytes, ...]:
    """The candidates once *key* has *bond*. Where all places are taken, the smallest bond gives way, the
    larger key where bonds are equal: as in an election."""
    others = {k: draft.need(Validator, records.validator_key(k)).bond for k in _roster(draft).candidates if k != key}
    if bond >= draft.parameters.validator_bond:
        others[key] = bond
    while len(others) > limits.CANDIDATES:
        del others[max(others, key=lambda k: (-others[k], k))]
    return tuple(sorted(others))


def unbond(draft: Draft, sender: bytes, body: tx.UnbondValidator) -> Refusal | None:
    validator, roster = draft.get(Validator, records.validator_key(sender)), _roster(draft)
    if validator is None:
        return Refusal.NOT_REGISTERED
    if validator.bond < body.amount or not body.amount:
        return Refusal.BOND_TOO_LOW
    own = sum(unbonding.validator == sender for unbonding in roster.unbondings)
    if own >= UNBONDINGS_EACH or len(roster.unbondings) >= limits.UNBONDINGS:
        return Refusal.TOO_MANY
    candidates = _candidates_with(draft, sender, validator.bond - body.amount)
    free_ms, epoch = draft.head.time_ms + draft.parameters.unbonding_ms, draft.committee.epoch + REACH
    leaving = Unbonding(sender, body.amount, free_ms, epoch)
    draft.put(records.ROSTER, Roster(candidates, (*roster.unbondings, leaving)))
    validator = replace(validator, bond=validator.bond - body.amount, unbonding=validator.unbonding + body.amount)
    draft.put(records.validator_key(sender), validator)
    return None


def release(draft: Draft) -> None:
    """At the beginning of an epoch: what nothing can hold any longer goes to the validators' accounts."""
    roster, now, epoch = _roster(draft), draft.head.time_ms, draft.committee.epoch
    due = [unbonding for unbonding in roster.unbondings if unbonding.time_ms <= now and unbonding.epoch <= epoch]
    for unbonding in due:
        key = records.validator_key(unbonding.validator)
        validator = draft.need(Validator, key)
        draft.put(key, replace(validator, unbonding=validator.unbonding - unbonding.amount))
        draft.credit(unbonding.validator, unbonding.amount)
    if due:
        draft.put(records.ROSTER, replace(roster, unbondings=tuple(u for u in roster.unbondings if u not in due)))


# ---- evidence ----------------------------------------------------------------------------


def evidence_holds(evidence: tx.Evidence, *, chain: bytes) -> bool:
    """Whether its validator signed both statements, and no honest one signs both. A pure question: the same
    words said again are no contradiction, and those of another chain were signed for another chain."""
    kinds = {evidence.first.purpose, evidence.second.purpose}
    same_kind = kinds <= _BALLOT or kinds in ({Purpose.COMMIT}, {Purpose.CHECKPOINT})
    if not same_kind or evidence.first.digest == evidence.second.digest:
        return False
    return all(
        verify(
            evidence.validator,
            statement(
                Purpose(said.purpose),
                chain=chain,
                signer=evidence.validator,
                digest=said.digest,
                epoch=evidence.epoch,
                height=evidence.height,
                view=evidence.view,
            ),
            said.signature,
        )
        for said in (evidence.first, evidence.second)
    )


def _bench(draft: Draft, key: bytes) -> None:
    """A proven cheat that sits in the committee keeps its vote, for a committee is fixed, but loses its turns."""
    record = draft.committee
    if key in record.members:
        skipped = committee_of(record).skipping([record.members.index(key)])
        draft.put(records.COMMITTEE, replace(record, skipped=skipped))


def convict(draft: Draft, reporter: bytes, evidence: tx.Evidence, events: list[Event]) -> Refusal | None:
    """Take the whole bond of a proven cheat, also what is on its way out. A validator is slashed once and
    for good: more evidence is old news."""
    key, roster = records.validator_key(evidence.validator), _roster(draft)
    validator = draft.get(Validator, key)
    if validator is None:
        return Refusal.NOT_VALIDATOR
    if validator.slashed:
        return Refusal.ALREADY_DONE
    if not evidence_holds(evidence, chain=draft.base.chain):
        return Refusal.BAD_EVIDENCE
    amount = validator.bond + validator.unbonding
    reward = amount * draft.parameters.reporter_share_ppm // _MILLION
    draft.put(key, replace(validator, bond=0, unbonding=0, slashed=True))
    draft.put(
        records.ROSTER,
        Roster(
            tuple(k for k in roster.candidates if k != evidence.validator),
            tuple(u for u in roster.unbondings if u.validator != evidence.validator),
        ),
    )
    draft.credit(reporter, reward)
    draft.put(records.CHAIN, replace(draft.head, burnt=draft.head.burnt + amount - reward))
    _bench(draft, evidence.validator)
    events.append(ValidatorSlashed(evidence.validator, reporter, amount, reward))
    return None
