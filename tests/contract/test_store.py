"""The store on a real disk: whole blocks or none, words durable before they are spoken, failures with hints."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from potminer.base.errors import AlreadyRunning, ConfigError, PotminerError
from potminer.world.store import journal
from potminer.world.store.chain import Applied, Head
from potminer.world.store.migrate import VERSION
from potminer.world.store.store import WAL_PAGES, Store, StoreError


def digest(height: int) -> bytes:
    return height.to_bytes(32, "big")


def applied(height: int, *changes: tuple[bytes, bytes | None], size: int = 10, **more: object) -> Applied:
    return Applied(
        height=height,
        digest=digest(height),
        state_root=digest(height + 1_000),
        time_ms=height * 5,
        block=b"" if height == 0 else bytes([height % 256]) * size,
        certificate=b"" if height == 0 else b"c",
        changes=changes,
        **more,  # type: ignore[arg-type]
    )


async def test_an_empty_store_has_no_head_and_nothing_else(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        assert await store.head() is None
        assert await store.load_state() == {}
        assert await store.load_journal() == {}
        assert await store.blocks(1, 10, 1_000) == []
        assert await store.receipt(digest(1)) is None
        assert await store.facts(10) == []
        assert await store.load_addresses() == []


async def test_blocks_state_and_receipts_survive_closing(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        await store.append(applied(0, (b"a", b"1"), (b"b", b"2")))
        receipts = [(digest(7), 0, "accepted", ""), (digest(8), 1, "refused", "nonce")]
        await store.append(applied(1, (b"a", None), (b"b", b"3"), (b"c", b"4"), receipts=receipts))
    async with Store.open(tmp_path / "pot.db") as store:
        assert await store.head() == Head(1, digest(1), digest(1_001), 5)
        assert await store.load_state() == {b"b": b"3", b"c": b"4"}
        assert await store.receipt(digest(8)) == (1, 1, "refused", "nonce")
        await store.append(applied(2, receipts=[(digest(8), 0, "accepted", "")]))
        assert await store.receipt(digest(8)) == (2, 0, "accepted", "")


async def test_a_block_that_does_not_follow_is_our_bug_and_writes_nothing(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        with pytest.raises(AssertionError):
            await store.append(applied(1))
        await store.append(applied(0))
        for height in (0, 2):
            with pytest.raises(AssertionError):
                await store.append(applied(height, (b"x", b"x")))
        assert await store.head() == Head(0, digest(0), digest(1_000), 0)
        assert await store.load_state() == {}


async def test_ranges_of_blocks_are_bounded_in_count_and_bytes_and_leave_out_the_genesis(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        for height in range(6):
            await store.append(applied(height, size=100))
        assert [block[0] for block, _ in await store.blocks(0, 64, 10_000)] == [1, 2, 3, 4, 5]
        assert [block[0] for block, _ in await store.blocks(2, 2, 10_000)] == [2, 3]
        assert [block[0] for block, _ in await store.blocks(2, 4, 250)] == [2, 3]
        assert len(await store.blocks(1, 4, 1)) == 1
        assert await store.blocks(6, 4, 10_000) == []
        assert await store.head() is not None  # a range cut short leaves no cursor in the way


def alter(where: Path, statement: str) -> None:
    """What a disk did behind the store's back."""
    connection = sqlite3.connect(where, isolation_level=None)
    connection.execute(statement)
    connection.close()


DISKS = {
    "lost": "DELETE FROM journal WHERE key = x'61'",
    "old": "UPDATE journal SET value = x'30' WHERE key = x'61'",
    "misplaced": "UPDATE journal SET value = (SELECT value FROM journal WHERE key = x'62') WHERE key = x'61'",
    "back from the dead": "INSERT INTO journal VALUES (x'63', x'33')",
}


@pytest.mark.parametrize("change", DISKS.values(), ids=DISKS)
async def test_a_journal_that_a_disk_changed_is_not_read(tmp_path: Path, change: str) -> None:
    where = tmp_path / "pot.db"
    async with Store.open(where) as store:
        await store.persist([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
        await store.persist([(b"a", b"4"), (b"c", None), (b"d", None)])
    alter(where, change)
    async with Store.open(where) as store:
        with pytest.raises(ConfigError, match="not what was written"):
            await store.load_journal()


async def test_a_journal_of_before_the_seal_is_read_and_sealed(tmp_path: Path) -> None:
    where = tmp_path / "pot.db"
    async with Store.open(where) as store:
        await store.persist([(b"a", b"1"), (b"b", b"2")])
    alter(where, "DELETE FROM meta WHERE name = 'journal'")
    async with Store.open(where) as store:
        assert await store.load_journal() == {b"a": b"1", b"b": b"2"}
        await store.persist([(b"b", b"3")])
        assert await store.load_journal() == {b"a": b"1", b"b": b"3"}
    alter(where, "DELETE FROM journal")
    async with Store.open(where) as store:
        with pytest.raises(ConfigError):
            await store.load_journal()


async def test_the_journal_keeps_and_forgets(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        await store.persist([(b"vote/1", b"a"), (b"vote/2", b"b"), (b"vote/1", b"c")])
        await store.persist([(b"vote/2", None), (b"vote/3", b"d"), (b"never", None)])
        await store.persist([])
        await store.append(applied(0, journal_forget=[b"vote/3"]))
    async with Store.open(tmp_path / "pot.db") as store:
        assert await store.load_journal() == {b"vote/1": b"c"}


async def test_overlapping_persists_share_commits_and_keep_their_order(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        await asyncio.gather(*(store.persist([(b"k", b"%d" % n), (b"%d" % n, b"x")]) for n in range(200)))
        kept = await store.load_journal()
        assert len(kept) == 201
        assert kept[b"k"] == b"199"


async def test_a_cancelled_persist_disturbs_nobody(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        waiting = [asyncio.create_task(store.persist([(b"%d" % n, b"x")])) for n in range(3)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.gather(waiting[0], waiting[2])
        assert {b"0", b"2"} <= set(await store.load_journal())


async def test_addresses_are_replaced_and_bounded(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        await store.save_addresses([b"%d" % n for n in range(journal.ADDRESS_ROWS + 50)])
        assert len(await store.load_addresses()) == journal.ADDRESS_ROWS
        await store.save_addresses([b"b", b"a"])
        assert await store.load_addresses() == [b"b", b"a"]


async def test_facts_are_bounded_newest_kept(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        await store.append_facts([(n, "kind", "{}") for n in range(journal.FACT_ROWS + 20)])
        await store.append_facts([(7, "last", '{"a":1}')])
        assert await store.facts(2) == [(journal.FACT_ROWS + 19, "kind", "{}"), (7, "last", '{"a":1}')]
        assert len(await store.facts(journal.FACT_ROWS + 50)) == journal.FACT_ROWS


async def test_a_sqlalchemy_url_opens_the_same_store(tmp_path: Path) -> None:
    async with Store.open(f"sqlite:///{tmp_path}/pot.db") as store:
        await store.append(applied(0))
    async with Store.open(tmp_path / "pot.db") as store:
        assert await store.head() is not None


async def test_sqlite_is_asked_for_full_durability_and_a_bounded_log(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "pot.db") as store:
        modes = [
            await store._run(lambda c, name: c.exec_driver_sql(f"PRAGMA {name}").scalar(), name)
            for name in ("journal_mode", "synchronous", "locking_mode", "wal_autocheckpoint")
        ]
    assert modes == ["wal", 2, "exclusive", WAL_PAGES]


# ---- refusals ----------------------------------------------------------------------------


async def refusal(where: Path) -> PotminerError:
    with pytest.raises(PotminerError) as caught:
        async with Store.open(where):
            pass
    assert caught.value.hint
    return caught.value


async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    where = tmp_path / "pot.db"
    async with Store.open(where):
        pass
    with sqlite3.connect(where) as raw:
        raw.execute("UPDATE schema_version SET version = ?", (VERSION + 1,))
    raw.close()
    error = await refusal(where)
    assert isinstance(error, ConfigError)
    assert "newer" in error.what


async def test_somebody_elses_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    where = tmp_path / "theirs.db"
    with sqlite3.connect(where) as raw:
        raw.execute("CREATE TABLE songs (title TEXT)")
    raw.close()
    before = where.read_bytes()
    assert isinstance(await refusal(where), ConfigError)
    assert where.read_bytes() == before
    assert os.listdir(tmp_path) == ["theirs.db"]


async def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    where = tmp_path / "notes.txt"
    where.write_bytes(b"dear diary " * 1_000)
    assert isinstance(await refusal(where), ConfigError)
    assert where.read_bytes() == b"dear diary " * 1_000


async def test_a_damaged_store_says_so_with_a_hint(tmp_path: Path) -> None:
    where = tmp_path / "pot.db"
    async with Store.open(where) as store:
        for height in range(50):
            await store.append(applied(height, (b"%d" % height, bytes(2_000)), size=2_000))
    intact = where.read_bytes()
    where.write_bytes(intact[:8_192] + b"\xff" * (len(intact) - 8_192))

    async def read_everything() -> None:
        async with Store.open(where) as store:
            await store.load_state()
            await store.blocks(1, 64, 10**6)

    with pytest.raises(ConfigError) as caught:
        await read_everything()
    assert caught.value.hint


async def test_a_missing_folder_is_a_typed_refusal(tmp_path: Path) -> None:
    assert isinstance(await refusal(tmp_path / "nowhere" / "pot.db"), StoreError)


async def test_a_second_opener_is_told_that_somebody_is_there(tmp_path: Path) -> None:
    where = tmp_path / "pot.db"
    async with Store.open(where) as store:
        await store.append(applied(0))
        assert isinstance(await refusal(where), AlreadyRunning)
        await store.append(applied(1))
    async with Store.open(where) as store:
        head = await store.head()
        assert head is not None
        assert head.height == 1


# ---- other processes ---------------------------------------------------------------------

WRITER = """
import asyncio, sys
from pathlib import Path
from potminer.world.store.chain import Applied
from potminer.world.store.store import Store

async def main():
    async with Store.open(Path(sys.argv[1])) as store:
        head = await store.head()
        height = 0 if head is None else head.height + 1
        while True:
            number = height.to_bytes(32, "big")
            await store.persist([(b"vote/" + number, number)])
            print("vote", height, flush=True)
            changes = [(b"height", number), (b"k" + number[-1:], number * 20)]
            await store.append(Applied(height, number, number, height, b"b" * 3000, b"c", changes))
            print("block", height, flush=True)
            height += 1

asyncio.run(main())
"""

FILLER = """
import asyncio, resource, sys
from pathlib import Path
from potminer.base.errors import PotminerError
from potminer.world.store.chain import Applied
from potminer.world.store.store import Store

async def main():
    async with Store.open(Path(sys.argv[1])) as store:
        await store.append(Applied(0, bytes(32), bytes(32), 0, b"", b""))
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        height = 0
        try:
            while height < 100:
                height += 1
                number = height.to_bytes(32, "big")
                await store.append(Applied(height, number, number, 0, b"b" * 50_000, b"c", [(b"height", number)]))
        except PotminerError as error:
            print("refused", height, type(error).__name__, bool(error.hint))
        try:
            await store.persist([(b"k", bytes(500_000))])
        except PotminerError as error:
            print("refused", type(error).__name__)

asyncio.run(main())
"""


async def child(code: str, where: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(where), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def test_kill_9_in_mid_write_leaves_whole_blocks_and_every_acknowledged_word(tmp_path: Path) -> None:
    where = tmp_path / "pot.db"
    acknowledged = {"vote": -1, "block": -1}
    for lines_before_death in (1, 7, 40):
        process = await child(WRITER, where)
        assert process.stdout is not None
        for _ in range(lines_before_death):
            kind, height = (await process.stdout.readline()).decode().split()
            acknowledged[kind] = int(height)
        os.kill(process.pid, signal.SIGKILL)
        for line in (await process.stdout.read()).decode().splitlines():
            kind, height = line.split()
            acknowledged[kind] = int(height)
        await process.wait()

        async with Store.open(where) as store:
            head, state, kept = await store.head(), await store.load_state(), await store.load_journal()
            stored = -1 if head is None else head.height
            assert stored in (acknowledged["block"], acknowledged["block"] + 1)
            assert state.get(b"height") == (None if head is None else head.digest)
            assert all(b"vote/" + digest(n) in kept for n in range(acknowledged["vote"] + 1))
            assert len(await store.blocks(1, 1_000, 10**7)) == max(stored, 0)


async def test_a_full_disk_is_a_typed_refusal_and_costs_no_stored_block(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel refuse to let the file grow: a real failing write."""
    where = tmp_path / "pot.db"
    process = await child(FILLER, where)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    first, second = out.decode().splitlines()
    word, height, kind, hinted = first.split()
    assert (word, kind, hinted) == ("refused", "StoreError", "True")
    assert second == "refused StoreError"
    async with Store.open(where) as store:
        head = await store.head()
        assert head is not None
        assert head.height == int(height) - 1
        assert await store.load_state() == {b"height": digest(head.height)}
        await store.append(applied(head.height + 1))
