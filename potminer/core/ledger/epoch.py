"""Who decides: turns that were missed, and at the end of an epoch the committee after the next one.

After the last block of epoch e the committee of e + 1 takes over, and the one of e + 2 is elected
from the bonds as they are then. So everybody, light clients too, knows a committee a whole epoch
before it acts, from a record that the committee before it has certified.
"""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base import limits
from potminer.core.committee import committee_of
from potminer.core.ledger import bonds
from potminer.core.ledger.event import EpochBegan, Event
from potminer.core.ledger.state import Draft
from potminer.wire import record as records
from potminer.wire.record import CommitteeRecord, Roster, Validator

FEWEST = 4
"""The smallest committee that bears a fault. An election that finds fewer, or fewer than there were where they
were fewer, is filled up with those who sat before: consensus goes on with those who were there."""
GREATEST_POWER = 100


def count_turns(draft: Draft, *, proposer: bytes) -> None:
    """Skip whoever's turn passed before *proposer*'s, for the rest of the epoch."""
    record = draft.committee
    committee = committee_of(record)
    skipped = committee.skipping(committee.missed(height=draft.head.height, proposer=proposer))
    if skipped != record.skipped:
        draft.put(records.COMMITTEE, replace(record, skipped=skipped))


def end_epoch(draft: Draft, events: list[Event]) -> None:
    """After the last block of an epoch; nothing after any other."""
    if draft.head.height % draft.parameters.epoch_blocks:
        return
    coming = draft.need(CommitteeRecord, records.FOLLOWING)
    elected = elect(draft)
    after = CommitteeRecord(coming.epoch + 1, *(elected or (coming.members, coming.powers)))
    # Whoever is slashed before its epoch begins still votes in it, but need not hold up its turns.
    skipped = committee_of(coming).skipping(seat for seat, key in enumerate(coming.members) if _slashed(draft, key))
    draft.put(records.COMMITTEE, replace(coming, skipped=skipped))
    draft.put(records.FOLLOWING, after)
    bonds.release(draft)
    events.append(EpochBegan(coming.epoch, coming.members, kept=elected is None))


def elect(draft: Draft) -> tuple[tuple[bytes, ...], tuple[int, ...]] | None:
    """Members by falling bond, ties by key, and their powers; None where nobody is bonded: all stays as it is."""
    candidates = draft.need(Roster, records.ROSTER).candidates
    bonded = {key: draft.need(Validator, records.validator_key(key)).bond for key in candidates}
    members = tuple(sorted(bonded, key=lambda key: (-bonded[key], key))[: limits.COMMITTEE])
    if not members:
        return None
    before = draft.need(CommitteeRecord, records.FOLLOWING).members
    if len(members) < min(FEWEST, len(before)):
        members = _filled(draft, members, before)
    units = [bonded.get(key, 0) // draft.parameters.validator_bond for key in members]
    return members, powers_of([max(1, each) for each in units])


def _filled(draft: Draft, elected: tuple[bytes, ...], before: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """*elected*, too few, and with them everybody of *before* who was never slashed, in the order of the seats; of
    the slashed only as many as it takes: a proven cheat sits where nobody else is there."""
    staying = [key for key in before if key not in elected]
    clean = [key for key in staying if not _slashed(draft, key)]
    cheats = [key for key in staying if _slashed(draft, key)]
    missing = max(0, min(FEWEST, len(before)) - len(elected) - len(clean))
    return (*elected, *clean, *cheats[:missing])[: limits.COMMITTEE]


def powers_of(bonds_each: list[int]) -> tuple[int, ...]:
    """Power is the bond in units of the smallest one, at most GREATEST_POWER, and at most what leaves
    every single member below a third. Where nothing does (fewer than four members) all are equal."""
    for cap in range(GREATEST_POWER, 1, -1):
        powers = tuple(min(bond, cap) for bond in bonds_each)
        if 3 * max(powers) < sum(powers):
            return powers
    return (1,) * len(bonds_each)


def _slashed(draft: Draft, key: bytes) -> bool:
    return draft.need(Validator, records.validator_key(key)).slashed
