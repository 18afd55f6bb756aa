"""Who sits, as the ledger says after its newest block. Asked with every message, so kept and not looked up."""

from __future__ import annotations

from potminer.core.committee import Committee
from potminer.core.ledger.ledger import Ledger
from potminer.wire import record as records
from potminer.wire.control import Standing
from potminer.wire.record import Roster, Validator


class Seats:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._before: tuple[bytes, ...] = ()
        self.committee: Committee = ledger.committee
        self.following: Committee = ledger.following
        self._speakers = self._may_speak()

    def look(self) -> bool:
        """After a block: whether an epoch began with it."""
        now = self._ledger.committee
        begun = now.epoch != self.committee.epoch
        if begun:
            self._before = self.committee.members
        self.committee, self.following = now, self._ledger.following
        self._speakers = self._may_speak()
        return begun

    def sits(self, key: bytes) -> bool:
        return key in self.committee.members

    def wanted(self, key: bytes) -> bool:
        """Whether a link to *key* is one that consensus runs on, now or in the next epoch: never to be cut."""
        return key in self.committee.members or key in self.following.members

    def may_speak(self, key: bytes) -> bool:
        """Whether *key* may say what replicas say: it sits, will sit, sat, or could be elected. Members differ
        in which epoch they are, and who is late is no offender."""
        return key in self._speakers

    def standing(self, key: bytes) -> Standing:
        """How *key* stands, in one word."""
        state = self._ledger.state
        record = state.get(Validator, records.validator_key(key))
        if record is not None and record.slashed:
            return Standing.SLASHED
        sits, will_sit = key in self.committee.members, key in self.following.members
        if sits:
            return Standing.SEATED if will_sit else Standing.LEAVING
        if will_sit:
            return Standing.COMING
        return Standing.CANDIDATE if key in state.need(Roster, records.ROSTER).candidates else Standing.NONE

    def peers_of(self, key: bytes) -> frozenset[bytes]:
        """Whom a validator keeps links with."""
        return frozenset((*self.committee.members, *self.following.members)) - {key}

    def __contains__(self, key: object) -> bool:
        return key in self.committee.members

    def _may_speak(self) -> frozenset[bytes]:
        candidates = self._ledger.state.need(Roster, records.ROSTER).candidates
        return frozenset((*self._before, *self.committee.members, *self.following.members, *candidates))
