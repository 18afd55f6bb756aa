"""A database that another key wrote: what ours has signed is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from potminer.base.errors import ConfigError, Exit
from potminer.core.pbft.application import Head
from potminer.core.pbft.memory import SILENT_MS, Memory
from potminer.node.owned import DAY_MS, OWNER, claim, long_ago, remember
from potminer.world.reached import Reached

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


NOW, CHAIN = 5_000_000, b"c" * 32


def head(height: int, time_ms: int = NOW - 1) -> Head:
    return Head(height, b"h" * 32, time_ms, b"r" * 32)


async def remembered(
    disk: Disk, at: Head, *, votes: bool = True, used: bool = True, reached: int = 0, now: int = NOW,
    silent_s: int = 60,
) -> tuple[Memory, list[str]]:
    said: list[str] = []
    journal = dict(disk.journal)
    memory = await remember(
        journal, disk.persist, at, votes=votes, used=used, reached=reached, now=now, silent_s=silent_s,
        note=said.append,
    )
    assert journal == disk.journal, "what is remembered is on the disk"
    return memory, said


async def test_a_disk_that_went_back_is_silent_for_a_minute_of_the_chain_and_then_speaks() -> None:
    disk = Disk()
    await remembered(disk, head(0), used=False, now=1)
    memory, said = await remembered(disk, head(70), reached=70)
    assert memory.reaches(head(70)), "nothing was lost"
    assert not said
    memory, said = await remembered(disk, head(60), reached=70)
    assert not memory.reaches(head(71))
    assert "went back from block 70 to 60" in said[0]
    again, _ = await remembered(disk, head(65), reached=61, now=NOW + 9)
    assert not again.reaches(head(65)), "a second start does not make it forget that it forgot"
    assert again.told(0)[0].reaches(head(200, NOW + SILENT_MS))


async def test_where_all_went_back_their_operators_may_say_what_they_know() -> None:
    disk = Disk()
    await remembered(disk, head(0), used=False, now=1)
    memory, _ = await remembered(disk, head(60), reached=70, silent_s=0)
    assert memory.reaches(head(60))


async def test_a_new_disk_of_an_old_key_is_lost_as_before() -> None:
    disk = Disk()
    memory, _ = await remembered(disk, head(0, 0), reached=70)
    assert not memory.reaches(head(5, NOW))
    fresh, said = await remembered(Disk(), head(0, 0), used=False)
    assert fresh.reaches(head(0, 0))
    assert not said


async def test_a_disk_that_began_without_a_replica_is_silent_when_its_key_has_a_seat_again() -> None:
    """A trainer whose key sits loses its disk: its new one begins without a replica, for at the genesis its key was
    nobody. Once the chain comes to where it was elected it begins again with one, and has forgotten what it signed."""
    disk = Disk()
    await remembered(disk, head(0, 0), votes=False, used=False, reached=900)
    memory, said = await remembered(disk, head(500, NOW - 60_000), reached=500, now=NOW + 5_000)
    assert not memory.reaches(head(500, NOW - 60_000))
    assert not memory.reaches(head(901, NOW + 4_000)), "its key may have signed there"
    assert "says nothing" in said[0]
    assert memory.told(0)[0].reaches(head(960, NOW + SILENT_MS)), "for who is new that is long past by then"


async def test_a_disk_that_went_back_to_before_its_key_was_elected_is_silent_as_well() -> None:
    """The note beside the key is overwritten while the chain is fetched again, so it is read before there is a
    replica."""
    disk = Disk()
    await remembered(disk, head(0), votes=False, used=False, now=1)
    await remembered(disk, head(300, 400), votes=False, used=False, reached=900)
    memory, _ = await remembered(disk, head(500, NOW - 60_000), reached=500, now=NOW + 5_000)
    assert not memory.reaches(head(901, NOW + 4_000))


def test_a_head_of_before_bonds_were_released_is_named_and_what_to_do() -> None:
    assert long_ago(head(9, NOW), unbonding_ms=7 * DAY_MS, now=NOW + 7 * DAY_MS) is None
    word = long_ago(head(9, NOW), unbonding_ms=7 * DAY_MS, now=NOW + 30 * DAY_MS)
    assert word is not None
    assert "30 days old, and bonds are held for 7" in word
    assert "chain verify --from" in word


def test_the_note_beside_the_key_is_of_one_chain_and_survives_what_damages_it(tmp_path: Path) -> None:
    path = tmp_path / "node.key.reached"
    with Reached(path, CHAIN) as note:
        assert note.height == 0
        for height in (7, 8, 300):
            note.rise(height)
    with Reached(path, CHAIN) as note:
        assert note.height == 300
    assert path.stat().st_size == 40
    with Reached(path, b"x" * 32) as note:
        assert note.height == 0, "heights of another chain say nothing"
    path.write_bytes(b"rubbish")
    with Reached(path, CHAIN) as note:
        assert note.height == 0
        note.rise(1)
    with Reached(path, CHAIN) as note:
        assert note.height == 1
