"""Whoever may be elected holds a replica: a daemon of another role begins again, from its store, with one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from potminer.base.digest import Domain, digest
from potminer.base.errors import PotminerError
from potminer.core.ledger.apply import RULES
from potminer.core.pbft.memory import Memory
from potminer.node.build import open_node
from potminer.node.config import load_config
from potminer.node.genesisfile import write_genesis
from potminer.node.life import lives
from potminer.node.onions import onion_of
from potminer.node.template import config_text
from potminer.wire.control import Snapshot
from potminer.wire.tx import RegisterValidator
from potminer.world.api.attach import Client, find
from potminer.world.keys import NODE_KEY, create_key
from potminer.world.paths import Paths, locate, private_folder
from potminer.world.store.store import Store
from tests.contract.chain_node import ChainNode
from tests.unit.ledger_world import SMALLEST_BOND, key
from tests.unit.light_world import Certified

BEFORE, AFTER = 3, 4


def home(folder: Path, name: str, world: Certified, seeds: list[str]) -> Paths:
    paths = locate({}, datadir=folder / name, network="devnet-seat")
    private_folder(paths.datadir)
    write_genesis(paths.genesis, world.genesis)
    said = {"node.role": "observer", "node.host": "127.0.0.1", "node.port": 0, "node.bootstrap": seeds}
    paths.config.write_text(config_text(said), encoding="utf-8")
    return paths


async def photograph(paths: Paths, *, role: str, height: int) -> Snapshot:
    """Ample time: two minutes of looking."""
    seen: Snapshot | None = None
    for _ in range(6_000):
        with suppress(PotminerError):  # it begins, or begins again
            async with Client(find(paths)) as client:
                seen = await client.snapshot()
        if seen is not None and (seen.chain.role, seen.chain.height) == (role, height):
            return seen
        await asyncio.sleep(0.02)
    raise AssertionError(f"it stands at {seen}")


async def test_a_daemon_whose_key_became_a_candidate_begins_again_with_a_replica(tmp_path: Path) -> None:
    world = Certified(epoch_blocks=100)
    old = home(tmp_path, "old", world, [])
    async with Store.open(old.database, rules=RULES) as store:
        node = ChainNode(old.datadir, world, store)
        await node.begin()
        for _ in range(BEFORE):
            await node.follow(world.add())
        rich = key("rich")
        await node.follow(world.add(("rich", RegisterValidator(onion_of(rich).outside, 10 * SMALLEST_BOND))))
        for _ in range(AFTER):
            await node.follow(world.add())
    async with open_node(load_config(old.config, {}), old, world.genesis) as served:
        running = asyncio.ensure_future(served.engine.run())
        assert served.network.listening is not None
        new = home(tmp_path, "new", world, [f"127.0.0.1:{served.network.listening[1]}"])
        create_key(private_folder(new.keys) / NODE_KEY, seed=digest(Domain.DRAW, b"rich"))
        stop, begun = asyncio.Event(), list[int]()
        life = asyncio.ensure_future(
            lives(load_config(new.config, {}), new, world.genesis, stop, ready=lambda: begun.append(1))
        )
        seen = await photograph(new, role="validator", height=BEFORE + 1 + AFTER)
        assert seen.chain.height == len(world.blocks)
        stop.set()
        await life
        assert len(begun) == 2, "once as what it was, once with a replica, and no more"
        async with Store.open(new.database, rules=RULES) as store:
            memory = Memory.of(await store.load_journal())
        assert memory.lost, "a disk that began without a replica does not know what its key has signed elsewhere"
        running.cancel()
