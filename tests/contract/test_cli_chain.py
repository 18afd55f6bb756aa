"""``potminer chain`` as a user meets it: against nodes' APIs, stores and evidence, true and false ones."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.base.errors import Exit
from potminer.cli.main import main
from potminer.core.ledger.ledger import Ledger
from potminer.core.ledger.vouched import spot_checks
from potminer.node import believed
from potminer.node.genesisfile import write_genesis
from potminer.wire.block import block_digest
from potminer.wire.codec import decode, encode
from potminer.wire.proof import PROOF_BYTES, Believed, Epochs, Headers
from potminer.wire.task import task_digest
from potminer.wire.tx import (
    JoinTask,
    RegisterTrainer,
    SignedTransaction,
    SubmitTask,
    Transfer,
    Unbond,
    transaction_digest,
)
from potminer.world.store.store import Store
from tests.contract.chain_node import ChainNode, chain_nodes
from tests.unit.ledger_world import blob, key, spec
from tests.unit.light_world import Certified, certified

FIXTURES = Path(__file__).parent / "fixtures"
TO = key("ann").public


async def potminer(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, output, errors of a command, run beside this loop's servers."""
    code = await asyncio.to_thread(main, [str(word) for word in words])
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def datadir(folder: Path, world: Certified) -> tuple[str, Path]:
    """A user's own data folder, which holds nothing but the genesis."""
    own = folder / "own"
    own.mkdir(exist_ok=True)
    write_genesis(own / "genesis.json", world.genesis)
    return "--datadir", own


# ---- status and verify -------------------------------------------------------------------


async def test_verify_proves_balances_tasks_and_transactions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]):
        await node.step()
        transfer, refused = world.sign("rich", Transfer(TO, 5)), world.sign("rich", Unbond(1))
        for signed in (transfer, refused):
            node.ledger.submit(signed)
        await node.step()
        await node.step()
        place = datadir(tmp_path, world)
        code, seen, _ = await potminer(capsys, *place, "chain", "status", "--connect", address, "--json")
        status = json.loads(seen)
        assert (code, status["height"], status["provable_last"], len(status["committee"])) == (0, 3, 2, 4)
        code, seen, _ = await potminer(capsys, *place, "chain", "status", "--connect", address)
        assert code == 0
        assert world.chain.hex()[:16] in seen
        verify = (*place, "chain", "verify", "--connect", address, "--json")
        name, other = (transaction_digest(signed.transaction).hex() for signed in (transfer, refused))
        code, seen, errors = await potminer(
            capsys, *verify, "--account", encode_address(TO), "--task", "ab" * 32, "--transaction", other
        )
        told = json.loads(seen)
        assert (code, errors) == (0, "")
        assert told["to"] == f"3:{world.head.hex()}"
        assert (told["balance"], told["account_after"]) == (5, 2)
        assert told["task"] == "proven not to exist"
        assert told["transaction"] == "in block 2, refused: not-registered"
        code, seen, _ = await potminer(capsys, *verify, "--transaction", name)
        assert (code, json.loads(seen)["transaction"]) == (0, "in block 2, done")
        code, seen, _ = await potminer(capsys, *verify, "--account", encode_address(key("nobody").public))
        assert (code, json.loads(seen)["account"]) == (0, "proven to be unused")


async def test_verify_shows_a_task_with_its_model_and_its_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]):
        task = task_digest(spec(), requester=key("requester").public, nonce=0)
        trainers = [(name, RegisterTrainer(key(name).public)) for name in ("ann", "ben")]
        joins = [(name, JoinTask(task)) for name in ("ann", "ben")]
        for bodies in ([*trainers, ("requester", SubmitTask(spec()))], joins):
            for name, body in bodies:
                assert node.ledger.submit(world.sign(name, body)) is None
            await node.step()
        for _ in range(2):
            await node.step()
        verify = (*datadir(tmp_path, world), "chain", "verify", "--connect", address, "--task", task.hex(), "--json")
        code, seen, _ = await potminer(capsys, *verify)
        told = json.loads(seen)
        assert (code, told["task"]) == (0, "digits, open, 0 of 3 rounds")
        assert told["model"] == spec().initial_model.hex()
        assert told["round"] == "commit, 4 units open"


async def test_verify_shows_the_model_of_a_round_long_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]):
        world.calibrated = True
        world.submit()
        for _ in range(2):
            world.whole_round()
        for _ in range(70):
            world.add()
        for block in world.blocks:
            await node.follow(block)
        task = (*datadir(tmp_path, world), "chain", "verify", "--connect", address, "--task", world.task.hex())
        code, seen, _ = await potminer(capsys, *task, "--round", 2, "--json")
        told = json.loads(seen)
        assert (code, told["model"], told["round"]) == (0, blob("theta", 2).hex(), "2 closed")
        assert told["owed"].endswith(" to 5"), "three trainers, and two validators that attested"
        code, _, errors = await potminer(capsys, *task, "--round", 3)
        assert (code, "keeps no proof" in errors) == (Exit.FAILURE, True)


async def test_an_anchor_from_somebody_trusted_is_a_beginning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]):
        for _ in range(5):
            await node.step()
        name = block_digest(world.blocks[2].header).hex()
        verify = (*datadir(tmp_path, world), "chain", "verify", "--connect", address)
        code, seen, _ = await potminer(capsys, *verify, "--from", f"3:{name}", "--json")
        assert (code, json.loads(seen)["from"], json.loads(seen)["to"]) == (0, f"3:{name}", f"5:{world.head.hex()}")
        for anchor, expected in (
            (f"4:{name}", Exit.BAD_SIGNATURE), (f"9:{name}", Exit.USAGE), ("3:abc", Exit.USAGE), ("last", Exit.USAGE),
        ):  # fmt: skip
            code, seen, errors = await potminer(capsys, *verify, "--from", anchor)
            assert (code, seen) == (expected, ""), anchor
            assert errors.startswith("error: ")


class Forger(ChainNode):
    """Shows headers that strangers signed."""

    async def headers(self, first: int, count: int) -> Headers:
        strangers = [(seat, key(f"stranger-{seat}")) for seat in range(3)]
        return Headers((certified(self.world.blocks[first - 1], strangers, chain=self.world.chain),))


class Thief(ChainNode):
    """Shows headers that too few signed."""

    async def headers(self, first: int, count: int) -> Headers:
        (shown,) = (await super().headers(first, 1)).headers
        few = replace(shown.certificate, signatures=shown.certificate.signatures[:2])
        return Headers((replace(shown, certificate=few),))


@pytest.mark.parametrize(("kind", "why"), [(Forger, "a signature that does not hold"), (Thief, "without a quorum")])
async def test_a_node_that_misleads_ends_verify_with_8(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: type[ChainNode], why: str
) -> None:
    async with chain_nodes(tmp_path, kind) as (world, [(node, address)]):
        await node.step()
        await node.step()
        code, seen, errors = await potminer(
            capsys, *datadir(tmp_path, world), "chain", "verify", "--connect", address
        )
        assert (code, seen) == (Exit.BAD_SIGNATURE, "")
        assert why in errors


async def test_without_a_genesis_of_our_own_the_node_s_is_named_as_such_and_another_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, address)]):
        await node.step()
        await node.step()
        verify = ("--datadir", tmp_path / "empty", "chain", "verify", "--connect", address)
        code, seen, _ = await potminer(capsys, *verify)
        assert code == 0
        assert "on the node's word" in seen
        write_genesis(tmp_path / "other.json", replace(world.genesis, seed=bytes(32)))
        code, _, errors = await potminer(capsys, *verify, "--genesis", tmp_path / "other.json")
        assert code == Exit.BAD_SIGNATURE
        assert "another chain" in errors


# ---- stores ------------------------------------------------------------------------------


async def stored(
    folder: Path, *, blocks: int = 6, fork_at: int | None = None, epoch_blocks: int = 100
) -> tuple[Certified, Path]:
    """A stopped node's data folder. With *fork_at* its block there is another, signed by seats 0, 1 and 3."""
    async with chain_nodes(folder, epoch_blocks=epoch_blocks) as (world, [(node, _)]):
        for height in range(1, blocks + 1):
            if height == fork_at:
                world.seats = (0, 1, 3)
                node.ledger.submit(world.sign("requester", Transfer(TO, 1)))
            await node.step()
        world.seats = (0, 1, 2)
        write_genesis(node.folder / "genesis.json", world.genesis)
        return world, node.folder


async def test_a_store_is_judged_again_block_by_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, home = await stored(tmp_path)
    code, seen, _ = await potminer(capsys, "chain", "verify", "--store", home, "--json")
    told = json.loads(seen)
    assert (code, told["to"], told["state"]) == (0, f"6:{world.head.hex()}", world.state.root.hex())


BENT = {
    "another certificate": ("update blocks set certificate = (select certificate from blocks where height = 2) "
                            "where height = 4", "block 4"),
    "another block": ("update blocks set block = (select block from blocks where height = 2) where height = 4",
                      "block 4"),
    "no block": ("update blocks set block = x'00' where height = 5", "block 5 cannot be read"),
    "a root": ("update blocks set state_root = zeroblob(32) where height = 3", "state root of block 3"),
    "a balance": ("delete from ledger where substr(key, 1, 1) = x'61'", "not what its blocks make"),
    "a hole": ("delete from blocks where height = 3", "block"),
}  # fmt: skip


@pytest.mark.parametrize("bent", BENT)
async def test_a_store_that_was_tampered_with_is_named_at_its_block(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bent: str
) -> None:
    _, home = await stored(tmp_path)
    change, said = BENT[bent]
    with closing(sqlite3.connect(home / "potminer.sqlite")) as database, database:
        database.execute(change)
    code, seen, errors = await potminer(capsys, "chain", "verify", "--store", home)
    assert (code, seen) == (Exit.BAD_SIGNATURE, "")
    assert said in errors


async def test_a_false_signature_that_a_whole_quorum_certified_is_named_where_a_follower_stored_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No honest member is in such a quorum. The store's judge checks every signature, whoever kept the store."""
    async with chain_nodes(tmp_path) as (world, [(node, _)]):
        await node.step()
        honest = world.sign("requester", Transfer(TO, 1))
        forged = SignedTransaction(honest.transaction, bytes(64))
        block = world.take(world.block(forged), verifier=lambda signed: True)
        secret = next(
            each for each in (bytes([number]) * 32 for number in range(8))
            if spot_checks(each, block_digest(block.header))(forged)
        )  # fmt: skip
        node.ledger = Ledger(node.ledger.state, head=node.ledger.head, follows=secret)
        await node.follow(block)
        write_genesis(node.folder / "genesis.json", world.genesis)
    code, seen, errors = await potminer(capsys, "chain", "verify", "--store", node.folder)
    assert (code, seen) == (Exit.BAD_SIGNATURE, "")
    assert "block 2 does not apply: transaction 0: bad-signature" in errors


# ---- blame -------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch_blocks", [100, 2], ids=["first epoch", "second epoch"])
async def test_blame_names_who_signed_both_sides_of_a_fork_and_nobody_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], epoch_blocks: int
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    world, one = await stored(tmp_path / "one", epoch_blocks=epoch_blocks)
    _, two = await stored(tmp_path / "two", fork_at=4, epoch_blocks=epoch_blocks)
    code, seen, _ = await potminer(capsys, "chain", "blame", one, "--json")
    alone = json.loads(seen)
    assert (code, alone["forks"], alone["culprits"]) == (0, [], [])
    evidence = tmp_path / "evidence"
    code, seen, _ = await potminer(capsys, "chain", "blame", one, two, "--export", evidence, "--json")
    told = json.loads(seen)
    guilty = {encode_address(key(world.validators[seat]).public) for seat in (0, 1)}
    assert (code, told["forks"][0]["height"], told["contradictory"][0]) == (0, 4, 4)
    assert {each["member"] for each in told["culprits"]} == guilty
    genesis = ("--genesis", one / "genesis.json")
    code, seen, _ = await potminer(capsys, "chain", "blame", evidence, *genesis, "--json")
    again = json.loads(seen)
    assert (code, again["forks"], again["culprits"]) == (0, told["forks"], told["culprits"])
    code, seen, _ = await potminer(capsys, "chain", "blame", one, two)
    assert "fork at height 4" in seen
    assert all(member in seen for member in guilty)


async def test_what_is_no_evidence_is_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, home = await stored(tmp_path, blocks=2)
    code, seen, _ = await potminer(capsys, "chain", "blame", home)
    assert code == 0
    assert "nobody contradicts anybody" in seen
    (tmp_path / "noise").write_bytes(os.urandom(1_000))
    for source in (tmp_path / "noise", tmp_path / "nowhere"):
        code, _, errors = await potminer(capsys, "chain", "blame", source, "--genesis", home / "genesis.json")
        assert code == Exit.USAGE
        assert errors.startswith("error: ")


async def test_what_was_proven_once_is_where_the_next_run_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path, ChainNode, epoch_blocks=4) as (world, [(node, address)]):
        where = (*datadir(tmp_path, world), "chain", "verify", "--connect", address, "--json")

        async def verify(*more: str) -> tuple[int, dict[str, str]]:
            code, out, err = await potminer(capsys, *where, *more)
            return code, json.loads(out) if code == Exit.OK else {"error": err}

        for _ in range(6):
            await node.step()
        code, first = await verify()
        assert (code, first["from"]) == (Exit.OK, "the genesis")
        code, again = await verify()
        assert (code, again["from"], again["to"]) == (Exit.OK, first["to"], first["to"])
        for _ in range(5):
            await node.step()
        code, later = await verify()
        assert (code, later["from"]) == (Exit.OK, first["to"])
        assert later["to"].startswith("11:")
        assert (await verify("--from", "GENESIS"))[1]["from"] == "the genesis"
        path = tmp_path / "own" / believed.NAME
        kept = decode(Believed, path.read_bytes(), max_bytes=PROOF_BYTES)
        path.write_bytes(encode(replace(kept, digest=blob("another block"))))
        assert (await verify())[0] == Exit.BAD_SIGNATURE, "two final blocks of one height"
        path.write_bytes(b"noise")
        assert (await verify())[0] == Exit.CONFIG
        path.write_bytes(encode(replace(kept, height=kept.height + 1_000)))
        assert (await verify())[0] == Exit.CONFIG
        path.write_bytes(encode(replace(kept, chain=blob("another chain"))))
        assert (await verify())[1]["from"] == "the genesis"


async def test_a_store_that_a_node_holds_is_judged_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path) as (world, [(node, _)]):
        home = tmp_path / "node-0"
        write_genesis(home / "genesis.json", world.genesis)
        for _ in range(3):
            await node.step()
        code, out, err = await potminer(capsys, "chain", "verify", "--store", home, "--json")
        assert (code, json.loads(out or "{}").get("to", err).partition(":")[0]) == (Exit.OK, "3")
        code, out, err = await potminer(capsys, "chain", "blame", home, "--json")
        assert (code, json.loads(out or "{}").get("forks", err)) == (Exit.OK, [])


class Busy(ChainNode):
    """Executes a block whenever it is asked for epochs."""

    async def epochs(self, first: int, count: int) -> Epochs:
        await self.step()
        return await super().epochs(first, count)


async def test_a_block_that_comes_in_the_middle_of_the_questions_makes_nobody_a_liar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with chain_nodes(tmp_path, Busy, epoch_blocks=4) as (world, [(node, address)]):
        for _ in range(6):
            await node.step()
        code, out, err = await potminer(
            capsys, *datadir(tmp_path, world), "chain", "verify", "--connect", address, "--json"
        )
        assert code == Exit.OK, err
        assert json.loads(out)["to"].startswith("7:")


# ---- old, foreign and damaged stores, as processes ---------------------------------------


def old_store(home: Path) -> None:
    """A validator's folder from before proofs were stored."""
    home.mkdir()
    with gzip.open(FIXTURES / "store-v1.sqlite.gz") as packed, (home / "potminer.sqlite").open("wb") as file:
        shutil.copyfileobj(packed, file)
    shutil.copy(FIXTURES / "store-v1-genesis.json", home / "genesis.json")


async def test_a_store_of_the_first_schema_is_lifted_and_keeps_its_blocks(tmp_path: Path) -> None:
    home = tmp_path / "old"
    old_store(home)
    async with Store.open(home / "potminer.sqlite") as store:
        head = await store.head()
        assert head is not None
        assert (head.height, await store.rules()) == (11, 1)
        assert len(await store.blocks(1, 64, 1 << 24)) == 11
        assert await store.receipt(bytes(32)) is None
        assert (await store.statements(), await store.proof("outcomes", 3)) == ([], None)
        for _ in range(2):
            await store.keep_statement(12, bytes(32), b"word")
    async with Store.open(home / "potminer.sqlite") as store:
        assert await store.statements() == [(12, b"word")]


def as_process(*words: object) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "potminer.cli.main", *(str(word) for word in words)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def spoil(home: Path, how: str) -> None:
    path = home / "potminer.sqlite"
    data = path.read_bytes()
    match how:
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "noise":
            path.write_bytes(bytes(range(256)) * 100)
        case "flipped":
            path.write_bytes(data[:5_000] + bytes(20_000) + data[25_000:])
        case _:
            raise AssertionError(how)


@pytest.mark.parametrize("how", ["old rules", "foreign genesis", "truncated", "noise", "flipped"])
async def test_a_node_on_a_store_it_cannot_use_says_so_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    if how == "old rules":
        home = tmp_path / "old"
        old_store(home)
        write_genesis(home / "genesis.json", Certified().genesis)  # the old one lacks what parameters say now
    else:
        world, home = await stored(tmp_path)
        if how == "foreign genesis":
            write_genesis(home / "genesis.json", replace(world.genesis, seed=bytes(32)))
        else:
            spoil(home, how)
    words = ("--datadir", home, "--config", home / "potminer.toml", "run", "--headless")
    judged, _, errors = await potminer(capsys, "chain", "verify", "--store", home)
    for code, said in ((judged, errors), as_process(*words)):
        assert code in (Exit.CONFIG, Exit.BAD_SIGNATURE), said
        assert "Traceback" not in said
        error, hint = said[said.index("error: ") :].splitlines()[:2]
        assert len(error) > 20
        assert hint.startswith("  ")
        assert len(hint) > 20
    if how == "old rules":
        with closing(sqlite3.connect(home / "potminer.sqlite")) as database:
            versions = database.execute("select version from schema_version").fetchall()
            assert versions == [(1,)], "whoever can use it still can"
