"""A database that another key wrote: what ours has signed is not in it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from potminer.base.errors import ConfigError, Exit
from potminer.node.owned import OWNER, claim

OURS, THEIRS = b"o" * 32, b"t" * 32


class Disk:
    def __init__(self) -> None:
        self.journal: dict[bytes, bytes] = {}

    async def persist(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        self.journal.update(entries)

    async def opened(self, key: bytes) -> dict[bytes, bytes]:
        journal = dict(self.journal)
        await claim(journal, key, self.persist)
        return journal


async def test_a_disk_belongs_to_the_key_that_began_it() -> None:
    disk = Disk()
    assert (await disk.opened(OURS))[OWNER] == OURS
    assert (await disk.opened(OURS))[OWNER] == OURS
    with pytest.raises(ConfigError, match="another node") as refused:
        await disk.opened(THEIRS)
    assert refused.value.exit is Exit.CONFIG
    assert "Move it away" in refused.value.hint
    assert disk.journal == {OWNER: OURS}, "who is refused changes nothing"


async def test_a_disk_of_before_is_its_next_openers() -> None:
    disk = Disk()
    disk.journal[b"memory/since"] = bytes(8)
    await disk.opened(THEIRS)
    with pytest.raises(ConfigError):
        await disk.opened(OURS)
