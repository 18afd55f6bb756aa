"""A device's entry in the journal: what it must do after a crash."""

from __future__ import annotations

from msgspec.structs import replace

from potminer.base.errors import Malformed
from potminer.core.machine import Persist
from potminer.wire.codec import decode, encode
from potminer.wire.facts import JOURNAL_BYTES, DutyJournal

PREFIX = b"duty/"
"""Of every device's key."""
_CLEAN = DutyJournal(resume_miner=False, expected_hs=0, off=False)
_TORN = DutyJournal(resume_miner=True, expected_hs=0, off=False)


def promises(value: bytes) -> bool:
    """Whether an entry says that a miner must be resumed; a torn one does."""
    entry = Entry(PREFIX)
    entry.restore(value)
    return entry.resume_miner


class Entry:
    """*resume_miner*, *expected_hs* and *off* as in DutyJournal. A clean one is no entry at all."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._said = _CLEAN

    @property
    def resume_miner(self) -> bool:
        return self._said.resume_miner

    @property
    def expected_hs(self) -> int:
        return self._said.expected_hs

    @property
    def off(self) -> bool:
        return self._said.off

    def restore(self, value: bytes) -> None:
        """A torn entry counts as an unfinished hand-over: at worst a running miner is told to run."""
        try:
            self._said = decode(DutyJournal, value, max_bytes=JOURNAL_BYTES)
        except Malformed:
            self._said = _TORN

    def write(
        self, *, resume_miner: bool | None = None, expected_hs: int | None = None, off: bool | None = None
    ) -> list[Persist]:
        """What must be written for this change; nothing where it is none."""
        old = self._said
        self._said = replace(
            old,
            resume_miner=old.resume_miner if resume_miner is None else resume_miner,
            expected_hs=old.expected_hs if expected_hs is None else expected_hs,
            off=old.off if off is None else off,
        )
        if self._said == old:
            return []
        return [Persist(self._key, None if self._said == _CLEAN else encode(self._said))]
