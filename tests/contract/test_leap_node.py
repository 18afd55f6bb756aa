"""Leaps over real links and real stores: a node whose only peer let the past go."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from potminer.base.errors import ConfigError
from potminer.core.ledger.apply import RULES
from potminer.node.blame import oldest
from potminer.node.build import Node, Thrift, open_node, thrift_of
from potminer.node.config import load_config
from potminer.node.genesisfile import write_genesis
from potminer.node.leaping import Snapshots
from potminer.node.past import OUTCOMES
from potminer.node.recheck import recheck
from potminer.node.template import config_text
from potminer.wire.control import Until
from potminer.wire.tx import Transfer, transaction_digest
from potminer.world.paths import Paths, locate
from potminer.world.store.chain import Applied
from potminer.world.store.copy import open_for_reading
from potminer.world.store.snapshots import Landing, Snapshot
from potminer.world.store.store import Store
from tests.contract.chain_node import ChainNode
from tests.unit.light_world import Certified

EPOCH, EVERY, LENGTH = 4, 5, 17
LANDING = 15


async def until_height(node: Node, height: int) -> None:
    """Ample time: a minute of looking."""
    for _ in range(3_000):
        if (await node.publisher.chain()).height == height:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"it stands at {(await node.publisher.chain()).height}")


async def until_stored(paths: Paths, height: int) -> None:
    """What is executed is on the disk a moment later."""
    for _ in range(3_000):
        async with open_for_reading(paths.database) as store:
            head = await store.head()
            if head is not None and head.height == height:
                return
        await asyncio.sleep(0.02)
    raise AssertionError(f"block {height} was never stored")


def home(folder: Path, name: str) -> Paths:
    paths = locate({}, datadir=folder / name, network="devnet-leap")
    paths.datadir.mkdir(parents=True)
    return paths


async def prefill(paths: Paths, world: Certified) -> list[str]:
    """A store with LENGTH blocks and snapshots on the way, all but the last blocks let go; what was noted."""
    notes: list[str] = []
    async with Store.open(paths.database, rules=RULES) as store:
        node = ChainNode(paths.datadir, world, store)
        await node.begin()
        snapshots = Snapshots(store, lambda level, line: notes.append(line), epoch_blocks=EPOCH, every=EVERY)
        for _ in range(LENGTH):
            block = world.add()
            await node.follow(block)
            making = snapshots.after(node.ledger.state, world.headers[-1])
            if making is not None:
                await making
        assert [each.height for each in await store.snapshots()] == [LANDING - EVERY, LANDING]
        assert await store.prune(LANDING + 1, 100, OUTCOMES) == LANDING
        assert await store.lowest() == LANDING + 1
        assert await store.blocks(1, 64, 1 << 20) == []
    return notes


async def test_a_new_node_leaps_where_its_only_peer_pruned_and_then_takes_blocks(tmp_path: Path) -> None:
    world = Certified(epoch_blocks=EPOCH)
    old, new = home(tmp_path, "old"), home(tmp_path, "new")
    notes = await prefill(old, world)
    assert notes == [f"snapshot after block {height}: 1 chunks" for height in (5, 10, 15)]
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for paths in (old, new):
            write_genesis(paths.genesis, world.genesis)
            seeds = [f"127.0.0.1:{nodes[0].network.listening[1]}"] if nodes and nodes[0].network.listening else []
            said = {"node.role": "observer", "node.host": "127.0.0.1", "node.port": 0, "node.bootstrap": seeds}
            paths.config.write_text(config_text(said), encoding="utf-8")
            opened = open_node(load_config(paths.config, {}), paths, world.genesis)
            nodes.append(await stack.enter_async_context(opened))
            running = asyncio.ensure_future(nodes[-1].engine.run())
            stack.callback(running.cancel)
        await until_height(nodes[1], LENGTH)
        await until_stored(new, LENGTH)
    async with Store.open(new.database, rules=RULES) as store:
        head = await store.head()
        assert head is not None
        assert (head.height, head.state_root) == (LENGTH, world.states[LENGTH].root)
        assert await store.load_state() == dict(world.states[LENGTH].items())
        assert await store.lowest() == LANDING + 1
        assert [each.height for each in await store.snapshots()] == [LANDING], "it can serve what it landed on"
        assert await store.target() is None
        assert len(await store.proofs("step")) == LENGTH // EPOCH, "steps it was shown are kept, beside its own"
        assert (await recheck(store, world.genesis, lambda height, of: None)).first == LANDING + 1


async def test_a_rig_forgets_receipts_with_their_blocks_and_what_it_keeps_is_bounded(tmp_path: Path) -> None:
    world = Certified(epoch_blocks=EPOCH)
    paths = home(tmp_path, "rig")
    async with Store.open(paths.database, rules=RULES) as store:
        node = ChainNode(paths.datadir, world, store)
        await node.begin()
        snapshots = Snapshots(
            store, lambda level, line: None, epoch_blocks=EPOCH, every=EVERY, keep_blocks=7, forgets=True
        )
        names, held = [], []
        for amount in range(1, 6 * EVERY + 2):
            signed = world.sign("rich", Transfer(world.chain, amount))
            names.append(transaction_digest(signed.transaction))
            await node.follow(world.add_signed(signed))
            making = snapshots.after(node.ledger.state, world.headers[-1])
            if making is not None:
                await making
            held.append(len([name for name in names if await store.receipt(name) is not None]))
        lowest, height = await store.lowest(), len(names)
        assert max(held) <= 3 * EVERY, "the newest two snapshots, and what comes until the next"
        assert await store.receipt(names[lowest - 2]) is None
        assert await store.receipt(names[lowest - 1]) is not None
        assert (await node.prover.receipt(names[-1], wait_ms=0, until=Until.INCLUDED)) is not None
        assert await node.prover.receipt(names[0], wait_ms=0, until=Until.INCLUDED) is None
        assert len(await store.proofs("step")) == height // EPOCH, "committees stay provable from the genesis on"
        told = await recheck(store, world.genesis, lambda height, of: None)
        assert (told.first, told.height) == ((await store.snapshots())[0].height + 1, height)


async def test_of_a_task_the_newest_models_stay_provable_on_a_rig(tmp_path: Path) -> None:
    async with Store.open(tmp_path / "potminer.sqlite", rules=RULES) as store:
        world = Certified()
        await ChainNode(tmp_path, world, store).begin()
        proofs = tuple((kind, number, b"proof") for kind in ("model/a", "model/b", "step") for number in range(1, 10))
        headers = tuple(("header", number, b"header") for number in range(1, 10))
        await store.append(
            Applied(1, world.chain, world.state.root, 1, b"block", b"certificate", proofs=(*proofs, *headers))
        )
        await store.forget(5, "header", "model/", 3)
        for kind, first in (("model/a", 7), ("model/b", 7), ("step", 1), ("header", 5)):
            kept = [number for number in range(1, 10) if await store.proof(kind, number) is not None]
            assert kept == list(range(first, 10)), kind


def test_a_rig_keeps_little_and_who_votes_or_observes_the_whole_past() -> None:
    def kept(**said: object) -> Thrift:
        return thrift_of(load_config(None, {f"POTMINER_{key.upper()}": str(value) for key, value in said.items()}))

    assert kept() == Thrift(2_000, True, 8 << 30)
    for role in ("validator", "observer"):
        assert kept(node_role=role) == Thrift(0, False, 64 << 30)
        assert kept(node_role=role, node_keep_blocks=500) == Thrift(500, False, 64 << 30)
    assert kept(node_keep_blocks=0, store_blobs_gib=2) == Thrift(0, False, 2 << 30)


async def test_what_was_let_go_is_named(tmp_path: Path) -> None:
    """By whoever judges stores, and by whoever is asked for a header or a snapshot that is not there any more."""
    world = Certified(epoch_blocks=EPOCH)
    paths = home(tmp_path, "old")
    await prefill(paths, world)
    assert await oldest([paths.database]) == LANDING + 1
    async with Store.open(paths.database, rules=RULES) as store:
        node = ChainNode(paths.datadir, world, store)
        assert (await node.prover.headers(3, 4)).headers == ()
        assert len((await node.prover.headers(LANDING + 1, 4)).headers) == LENGTH - LANDING
        told = await recheck(store, world.genesis, lambda height, of: None)
        assert (told.first, told.height, told.state_root) == (LANDING + 1, LENGTH, world.states[LENGTH].root)


async def test_a_landing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    """A chunk that the disk lost: the store stays as it was."""
    world = Certified(epoch_blocks=EPOCH)
    paths = home(tmp_path, "old")
    await prefill(paths, world)
    async with Store.open(paths.database, rules=RULES) as store:
        before, state = await store.head(), await store.load_state()
        lost = Snapshot(20, b"", b"\x00", bytes(range(32)))
        with pytest.raises(ConfigError):
            await store.land(Landing(lost, bytes(32), bytes(32), 1, ()), b"")
        assert (await store.head(), await store.load_state()) == (before, state)
