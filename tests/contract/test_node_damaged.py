"""A disk that gives back something else than was written ends the daemon, whoever's question met it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from potminer.base.errors import PotminerError
from potminer.core.ledger.apply import RULES
from potminer.node.config import load_config
from potminer.node.life import lives
from potminer.world.api.attach import Client, find
from potminer.world.store.store import Damaged, Store
from tests.contract.chain_node import ChainNode
from tests.contract.test_node_becomes_validator import home, photograph
from tests.unit.light_world import Certified

BLOCKS = 40
PAGE = 4_096


def damage(path: Path, block: bytes) -> None:
    """The page of the database on which *block* lies says of itself that it is something else."""
    content = bytearray(path.read_bytes())
    at = content.index(block[:64])
    assert at > PAGE, "the first page is read at every start"
    content[at - at % PAGE] = 0xFF
    path.write_bytes(content)


async def test_damage_that_only_a_question_meets_ends_the_daemon_and_says_what_to_do(tmp_path: Path) -> None:
    world = Certified(epoch_blocks=100)
    paths = home(tmp_path, "torn", world, [])
    async with Store.open(paths.database, rules=RULES) as store:
        node = ChainNode(paths.datadir, world, store)
        await node.begin()
        for _ in range(BLOCKS):
            await node.follow(world.add())
        ((middle, _),) = await store.blocks(BLOCKS // 2, 1, PAGE)
    damage(paths.database, middle)
    stop = asyncio.Event()
    life = asyncio.ensure_future(lives(load_config(paths.config, {}), paths, world.genesis, stop))
    seen = await photograph(paths, role="observer", height=BLOCKS)
    assert seen.chain.height == BLOCKS, "nothing that a start reads is damaged"
    async with Client(find(paths)) as client:
        with pytest.raises(PotminerError):
            await client.headers(1, BLOCKS)
    with pytest.raises(Damaged, match="damaged or not a potminer store") as ended:
        async with asyncio.timeout(120):
            await life
    assert "Move it away" in ended.value.hint
