"""Whether what a chunk holds are records: a quorum may have certified a state, but nobody need load nonsense."""

from __future__ import annotations

from typing import cast

from potminer.base.errors import Malformed
from potminer.core import trie
from potminer.core.trie import Node
from potminer.wire import record as records
from potminer.wire.codec import Wire, decode
from potminer.wire.leap import Items
from potminer.wire.proof import VALUE_BYTES
from potminer.wire.record import ChainRecord, CommitteeRecord, Record, Roster

KEY_SIZES = {b"C": 1, b"K": 1, b"F": 1, b"V": 1, b"R": 1, b"r": 34, b"u": 36, b"s": 34, b"l": 34, b"p": 37, b"d": 65}
"""By the letter of its table; every other key is the letter and 32 bytes."""
_ALWAYS: tuple[tuple[bytes, type[Wire]], ...] = (
    (records.CHAIN, ChainRecord),
    (records.COMMITTEE, CommitteeRecord),
    (records.FOLLOWING, CommitteeRecord),
    (records.ROSTER, Roster),
)


def grains_in(items: Items) -> int | None:
    """The money in a chunk's records; None where something in it is no record within its bounds."""
    grains = 0
    for key, value in items:
        letter = key[:1]
        kind = records.RECORD_TYPES.get(letter)
        if kind is None or len(key) != KEY_SIZES.get(letter, 33):
            return None
        try:
            grains += records.money(cast(Record, decode(kind, value, max_bytes=VALUE_BYTES)))
        except Malformed:
            return None
    return grains


def fault_in_state(
    tree: Node, *, height: int, epoch: int, seats: tuple[tuple[bytes, ...], tuple[int, ...]] | None, grains: int
) -> str | None:
    """Why *tree*, whose records are all sound, cannot be the state after block *height*, or None. *seats* decide
    the next block, of *epoch*; *grains* were counted in its records."""
    found: dict[bytes, Wire] = {}
    for key, kind in _ALWAYS:
        value = trie.get(tree, key)
        if value is None:
            return f"it has no {kind.__name__}"
        found[key] = decode(kind, value, max_bytes=VALUE_BYTES)
    chain = cast(ChainRecord, found[records.CHAIN])
    now, then = cast(CommitteeRecord, found[records.COMMITTEE]), cast(CommitteeRecord, found[records.FOLLOWING])
    if chain.height != height:
        return f"it is the state after block {chain.height}"
    if chain.supply != grains:
        return f"it has {grains} grains where {chain.supply} exist"
    if now.epoch != epoch or then.epoch != epoch + 1 or (now.members, now.powers) != seats:
        return "its committee is not the one that decides the next block"
    if not _can_sit(now) or not _can_sit(then):
        return "its committees cannot sit"
    return None


def _can_sit(record: CommitteeRecord) -> bool:
    distinct = len(set(record.members)) == len(record.members) == len(record.powers)
    seats = set(range(len(record.members)))
    return distinct and min(record.powers) > 0 and set(record.skipped) < seats
