"""How far back a replica remembers what it signed: as far as its disk does (docs/spec/pbft.md §5).

A disk that is younger than the chain was perhaps wiped, and the key may have signed things that
nobody can tell it any more. What it signed before the disk began was at most one height above a
block that was final then, whose time is at most the voters' tolerance past that moment. So above a
block that is SILENT_MS younger than the disk nothing of it can be left, and there it speaks again.

When a disk began its own clock says, and the clock of a machine that was just put together is the one to be wrong. So
it is asked of the committee's clocks too, and nothing is said before they were heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from potminer.core.machine import Persist
from potminer.core.pbft.application import Head

SILENT_MS: Final = 60_000
"""Voters allow a block five seconds; the rest is for clocks that are wrong, and costs a wiped member a minute."""
START_MS: Final = 10_000
"""Members of a new network do not start at the same moment, nor by the same clock."""
TOLERANCE_MS: Final = 1_000
"""A clock that is behind by less is left alone: so much is the network's."""
SINCE: Final = b"memory/since"
TRUE: Final = b"memory/true"
LOST: Final = b"memory/lost"


@dataclass(frozen=True, slots=True)
class Memory:
    """*since_ms* is when the disk began by its own clock, *true_ms* by the committee's, where that is later.
    *lost*: the key is older than the disk, or the chain is. *heard*: the committee's clocks were, in this life."""

    since_ms: int = 0
    lost: bool = False
    silent_ms: int = SILENT_MS
    true_ms: int = 0
    heard: bool = False

    @staticmethod
    def of(journal: Mapping[bytes, bytes], *, silent_ms: int = SILENT_MS) -> Memory:
        """As ``begun`` and ``met`` wrote it. A journal of before they did is whole."""
        since = int.from_bytes(journal.get(SINCE, b""), "big")
        return Memory(since, LOST in journal, silent_ms, int.from_bytes(journal.get(TRUE, b""), "big"))

    @property
    def until_ms(self) -> int:
        """The time of a head above which nothing is forgotten."""
        return max(self.since_ms, self.true_ms) + self.silent_ms

    def begun(self) -> list[tuple[bytes, bytes]]:
        """What a new disk is to hold."""
        lost = [(LOST, b"\x01")] if self.lost else []
        return [(SINCE, self.since_ms.to_bytes(8, "big")), *lost]

    def met(self, first_ms: int) -> tuple[Memory, list[Persist]]:
        """The first block that came to this disk is of *first_ms*, and this replica had no part in it. Where it is
        older than the disk the chain is, and the key may have spoken from another disk."""
        if self.lost or first_ms >= self.since_ms - START_MS:
            return self, []
        return replace(self, lost=True), [Persist(LOST, b"\x01")]

    def told(self, behind_ms: int) -> tuple[Memory, list[Persist]]:
        """The committee's clocks are *behind_ms* ahead of ours. A word that a disk began later than it believes counts
        for good: our clock may have been set right since."""
        true_ms = self.since_ms + behind_ms
        if true_ms <= max(self.since_ms, self.true_ms) + TOLERANCE_MS:
            return replace(self, heard=True), []
        return replace(self, heard=True, true_ms=true_ms), [Persist(TRUE, true_ms.to_bytes(8, "big"))]

    def elsewhere(self) -> Memory:
        """Another committee sits: its clocks are to be heard."""
        return replace(self, heard=False)

    def reaches(self, head: Head) -> bool:
        """Whether all that this key ever signed above *head* is known."""
        return not self.lost or (self.heard and head.time_ms >= self.until_ms)

    def regained(self, head: Head) -> tuple[Memory, list[Persist]]:
        """Above *head* everything is known, and it is on this disk: nothing more has to be heard, in later lives
        neither."""
        if not self.lost or not self.reaches(head):
            return self, []
        return replace(self, lost=False), [Persist(LOST, None)]


WHOLE: Final = Memory()
