"""Statements kept as evidence: how they lie in the store and in files."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.core.committee import Committee
from potminer.core.pbft.events import DoubleVote
from potminer.wire import registry
from potminer.wire.codec import Wire
from potminer.wire.pbft import NewView, Vote
from potminer.wire.seal import Purpose

_VOTES = (Purpose.PREPARE, Purpose.COMMIT, Purpose.CHECKPOINT)


def pack(message: Wire) -> bytes:
    """Kind and body. What a NEW-VIEW proposes is named by its header; the list of transactions proves nothing."""
    if isinstance(message, NewView):
        message = replace(message, proposal=replace(message.proposal, leaves=()))
    row, body = registry.pack(message)
    return bytes([row.number]) + body


def unpack(data: bytes) -> Wire:
    """What ``pack`` wrote; Malformed otherwise."""
    return registry.unpack(data[0] if data else 0, data[1:])


def votes(double: DoubleVote, committee: Committee) -> tuple[Vote, ...]:
    """The two votes of *double*; none where it is about proposals, which are more than their signatures."""
    seat = committee.index_of(double.signer)
    if seat is None or double.purpose not in _VOTES:
        return ()
    place = (double.purpose, double.epoch, double.height, double.view)
    return tuple(Vote(*place, digest, seat, signature) for digest, signature in (double.first, double.second))
