"""A store that somebody holds is read as a copy of one moment."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from potminer.base.errors import AlreadyRunning
from potminer.world.store import copy
from potminer.world.store.copy import open_for_reading
from potminer.world.store.store import Store, StoreError


async def test_what_a_running_node_stored_is_read_while_it_writes_on(tmp_path: Path) -> None:
    where = tmp_path / "pot.db"
    async with Store.open(where) as held:
        for number in range(300):
            await held.persist([(b"%d" % number, bytes(2_000))])
        with pytest.raises(AlreadyRunning):
            async with Store.open(where):
                pass
        writing = asyncio.create_task(held.persist([(b"later", b"x")]))
        async with open_for_reading(where) as seen:
            found = await seen.load_journal()
            await writing
            await held.persist([(b"after", b"x")])
            assert found.keys() >= {b"%d" % number for number in range(300)}
            assert b"after" not in await seen.load_journal()
        assert (await held.load_journal())[b"after"] == b"x"
    assert os.listdir(tmp_path) == ["pot.db"], "nothing is left behind"
    async with open_for_reading(where) as seen:
        assert b"after" in await seen.load_journal(), "and one that nobody holds is read where it lies"


def test_a_copy_into_which_a_checkpoint_fell_is_none(tmp_path: Path) -> None:
    where, to = tmp_path / "pot.db", tmp_path / "copy.db"
    where.write_bytes(bytes(64))
    assert not copy._copied(where, to), "written just now: nobody can tell before from after"
    os.utime(where, ns=(1, 1))
    assert copy._copied(where, to)
    with pytest.raises(StoreError, match="cannot be copied"):
        copy._copied(tmp_path / "missing.db", to)
