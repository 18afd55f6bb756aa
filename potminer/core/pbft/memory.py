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
_TIME_BYTES: Final = 8
LOST: Final = b"memory/lost"


@dataclass(frozen=True, slots=True)
class Memory:
    """*since_ms* is when the disk began by its own clock, *true_ms* by the committee's, where that is later.
    *lost*: the key is older than the disk, or the chain is; *first_ms* is the time of its first block, where nothing
    else speaks for it. *heard*: the committee's clocks were, in this life."""

    since_ms: int = 0
    lost: bool = False
    silent_ms: int = SILENT_MS
    true_ms: int = 0
    heard: bool = False
    first_ms: int | None = None

    @staticmethod
    def of(journal: Mapping[bytes, bytes], *, silent_ms: int = SILENT_MS) -> Memory:
        """As ``begun`` and ``met`` wrote it. A journal of before they did is whole."""
        since = int.from_bytes(journal.get(SINCE, b""), "big")
        lost, true_ms = journal.get(LOST, b""), int.from_bytes(journal.get(TRUE, b""), "big")
        first_ms = int.from_bytes(lost, "big") if len(lost) == _TIME_BYTES else None
        return Memory(since, bool(lost), silent_ms, true_ms, first_ms=first_ms)

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
        lost = Persist(LOST, first_ms.to_bytes(_TIME_BYTES, "big"))
        return replace(self, lost=True, first_ms=first_ms), [lost]

    def seen(self, now: int) -> tuple[Memory, list[Persist]]:
        """A disk did not begin later than *now*: a clock that says so was set back since."""
        if self.since_ms <= now:
            return self, []
        return replace(self, since_ms=now), [Persist(SINCE, now.to_bytes(_TIME_BYTES, "big"))]

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

    def regained(self, head: Head, off_ms: int | None) -> tuple[Memory, list[Persist]]:
        """Above *head* everything is known, and it is on this disk: nothing more has to be heard, in later lives
        neither. Nor is there anything to know where the chain only seemed older than the disk: the committee, a quorum
        of it with us, says that our clock was ahead (*off_ms* below 0)."""
        if not self.lost or not (self.reaches(head) or self._is_the_first(off_ms)):
            return self, []
        return replace(self, lost=False, first_ms=None), [Persist(LOST, None)]

    def _is_the_first(self, off_ms: int | None) -> bool:
        """Whether the chain's first block is, by the committee's clock, no older than the disk."""
        if self.first_ms is None or off_ms is None:
            return False
        return self.first_ms >= max(self.since_ms + min(0, off_ms), self.true_ms) - START_MS


WHOLE: Final = Memory()
