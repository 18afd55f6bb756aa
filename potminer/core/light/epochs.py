"""From committee to committee: each certifies the record that names the next.

The state before block h holds two committees under h's state root: that of h's epoch and that of the
next. So one certified header of every epoch is enough to go from any epoch to any later one; the others
need not be seen, for a certificate is the committee's word for everything before it.
"""

from __future__ import annotations

from dataclasses import replace

from potminer.base.errors import Malformed
from potminer.core.committee import Committee
from potminer.core.light.flaw import Flaw
from potminer.core.light.header import follow
from potminer.core.light.shown import Fact, facts, facts_under
from potminer.core.light.trust import COMMITTEES_KEPT, Terms, Trust
from potminer.wire import record as records
from potminer.wire.block import block_digest
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.proof import Shown
from potminer.wire.record import CommitteeRecord

KEYS = (records.COMMITTEE, records.FOLLOWING)
"""What a step from one epoch to the next shows, in this order."""


def learn(trust: Trust, step: Shown, terms: Terms, *, now_ms: int) -> Trust | Flaw:
    """*trust* moved on to the header of *step*, and taught the committee after that header's epoch."""
    moved = follow(trust, step.certified, terms, now_ms=now_ms)
    if isinstance(moved, Flaw):
        return moved
    told = facts(step, KEYS, moved, terms, now_ms=now_ms)
    if isinstance(told, Flaw):
        return told
    epoch = step.certified.header.epoch
    committees = _committees(told, epoch)
    if committees is None or committees[0] != moved.committee(epoch):
        return Flaw.BAD_COMMITTEE
    if epoch < moved.newest_epoch:
        return moved
    return replace(moved, committees=(*moved.committees, committees[1])[-COMMITTEES_KEPT:])


def from_anchor(genesis: Genesis, digest: bytes, step: Shown) -> Trust | Flaw:
    """Trust in the block that *digest* names, which somebody vouches for: its header and the committees under it."""
    header = step.certified.header
    if block_digest(header) != digest:
        return Flaw.OTHER
    told = facts_under(step, KEYS)
    committees = None if told is None else _committees(told, header.epoch)
    if committees is None:
        return Flaw.BAD_COMMITTEE
    blocks = genesis.parameters.epoch_blocks
    trust = Trust(chain_id(genesis), blocks, header.height, digest, header.time_ms, committees)
    return Flaw.WRONG_EPOCH if header.epoch != trust.epoch_of(header.height) else trust


def _committees(told: tuple[Fact, ...], epoch: int) -> tuple[Committee, Committee] | None:
    """The committees of *epoch* and the next; None where what a quorum certified cannot be them."""
    found: list[Committee] = []
    for fact, expected in zip(told, (epoch, epoch + 1), strict=True):
        try:
            record = fact.record(CommitteeRecord)
        except Malformed:
            return None
        if record is None or record.epoch != expected or not _can_be(record):
            return None
        found.append(Committee(record.epoch, record.members, record.powers))
    return found[0], found[1]


def _can_be(record: CommitteeRecord) -> bool:
    distinct = len(set(record.members)) == len(record.members) == len(record.powers)
    return distinct and min(record.powers) > 0
