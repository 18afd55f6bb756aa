"""How far back a replica remembers what it signed: as far as its disk does (docs/spec/pbft.md §5).

A disk that is younger than the chain was perhaps wiped, and the key may have signed things that
nobody can tell it any more. What it signed before the disk began was at most one height above a
block that was final then, whose time is at most the voters' tolerance past that moment. So above a
block that is SILENT_MS younger than the disk nothing of it can be left, and there it speaks again.
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
SINCE: Final = b"memory/since"
LOST: Final = b"memory/lost"


@dataclass(frozen=True, slots=True)
class Memory:
    """*since_ms* is when the disk began. *lost*: the key is older than the disk, or the chain is."""

    since_ms: int = 0
    lost: bool = False
    silent_ms: int = SILENT_MS

    @staticmethod
    def of(journal: Mapping[bytes, bytes], *, silent_ms: int = SILENT_MS) -> Memory:
        """As ``begun`` and ``met`` wrote it. A journal of before they did is whole."""
        since = int.from_bytes(journal.get(SINCE, b""), "big")
        return Memory(since, LOST in journal, silent_ms)

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

    def reaches(self, head: Head) -> bool:
        """Whether all that this key ever signed above *head* is known."""
        return not self.lost or head.time_ms >= self.since_ms + self.silent_ms


WHOLE: Final = Memory()
