"""What this trainer has bound itself to, and how it opens it: salt, snapshots and residues of every unit.

All of a unit is one durable value, written before the commitment is said: whoever restarts, also between a
commitment and the last opening, opens the same bytes.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from potminer.base.digest import Domain, digest, number
from potminer.core.machine import Persist
from potminer.core.rounds.job import Place
from potminer.wire.codec import decode, encode
from potminer.wire.record import Audit, UnitRecord
from potminer.wire.residue import leaf_number, leaf_path, leaves_of
from potminer.wire.tx import OpenResidue, RevealWork

PREFIX = b"unit/"
_WORK_BYTES = 1 << 16


class Bound:
    """Units of rounds in progress."""

    def __init__(self, persisted: Mapping[bytes, bytes]) -> None:
        self._units: dict[Place, tuple[RevealWork, bytes]] = {}
        for name, value in persisted.items():
            if name.startswith(PREFIX):
                end = 4 + int.from_bytes(value[:4], "big")
                work = decode(RevealWork, value[4:end], max_bytes=_WORK_BYTES)
                self._units[place_of(work)] = work, value[end:]

    def bind(self, work: RevealWork, residues: bytes) -> Persist:
        """Remember *work*; to be durable before anybody hears of it."""
        self._units[place_of(work)] = work, residues
        encoded = encode(work)
        return Persist(_key(place_of(work)), len(encoded).to_bytes(4, "big") + encoded + residues)

    def work(self, place: Place) -> RevealWork | None:
        kept = self._units.get(place)
        return None if kept is None else kept[0]

    def openings(self, place: Place, unit: UnitRecord, audits: list[Audit]) -> list[OpenResidue]:
        """The leaves that auditors of *unit* have spoken for and that the ledger has not yet seen. Nothing is
        shown before: whoever is still to speak could repeat it."""
        kept = self._units.get(place)
        if kept is None:
            return []
        spoken = {(said.judge, said.segment) for said in unit.verdicts if said.sketch}
        shown = {(opening.segment, opening.leaf) for opening in unit.openings}
        asked = [
            (audit.segment, audit.leaf)
            for audit in audits
            if (audit.auditor, audit.segment) in spoken and (audit.segment, audit.leaf) not in shown
        ]
        return [_opening(place, kept[1], segment, leaf) for segment, leaf in asked]

    def forget(self, task: bytes, *, but: Container[tuple[int, int]]) -> Iterator[Persist]:
        """Drop what belongs to other rounds and attempts of *task*."""
        old = [place for place in self._units if place[0] == task and place[1:3] not in but]
        for place in old:
            del self._units[place]
            yield Persist(_key(place), None)


def place_of(work: RevealWork) -> Place:
    return work.task, work.round, work.attempt, work.slot


def _opening(place: Place, residues: bytes, segment: int, leaf: int) -> OpenResidue:
    at = leaf_number(segment, leaf)
    return OpenResidue(*place, segment, leaf, leaves_of(residues)[at], leaf_path(residues, at))


def _key(place: Place) -> bytes:
    task, number_, attempt, slot = place
    return PREFIX + digest(Domain.UNIT, task, number(number_), number(attempt), number(slot))
