"""What stands behind a daemon's numbers: an honest one is proven, every lie about money is found out and typed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from potminer.base.address import encode_address
from potminer.base.errors import Exit
from potminer.cli.main import main
from potminer.cli.place import Place
from potminer.cli.sources import Daemon
from potminer.cli.trusted import Examiner
from potminer.core.light.trust import Terms
from potminer.node.believed import recall
from potminer.node.follower import Follower
from potminer.node.genesisfile import write_genesis
from potminer.node.proven import Said, examine
from potminer.wire.control import SNAPSHOT_BYTES, Snapshot, from_json
from potminer.wire.proven import Backing, ProvenView
from potminer.world.api.attach import Client
from tests.contract.chain_node import chain_nodes
from tests.contract.telling_node import (
    OWN,
    BoastfulNode,
    ForgingNode,
    MuteNode,
    RichNode,
    SlyNode,
    StrayNode,
    TellingNode,
)
from tests.unit.light_world import Certified


@asynccontextmanager
async def telling(
    folder: Path, kind: type[TellingNode] = TellingNode, *, rounds: int = 1, epoch_blocks: int = 100
) -> AsyncIterator[tuple[Certified, TellingNode, Client]]:
    """A node that was there while a task closed so many rounds, and two blocks more."""
    async with chain_nodes(folder, kind, epoch_blocks=epoch_blocks) as (world, [(node, address)]):
        assert isinstance(node, TellingNode)
        world.calibrated = True
        world.submit()
        for _ in range(rounds):
            world.whole_round()
        world.add()
        world.add()
        await node.keep_up()
        async with Client(address) as client:
            yield world, node, client


async def looked(
    world: Certified, client: Client, follower: Follower | None = None, *, exact: bool = False, anchored: bool = True,
    patience_s: float = 60.0, most_epochs: int = 512,
) -> ProvenView:
    follower = follower or Follower(world.trust, Terms(), clock=lambda: world.now)
    said = Said(await client.snapshot(), await client.earnings(units=0))
    return await examine(
        follower, client, said, escrow_rounds=world.genesis.parameters.escrow_rounds, anchored=anchored,
        clock=lambda: world.now, exact=exact, patience_s=patience_s, most_epochs=most_epochs,
    )  # fmt: skip


async def test_an_honest_daemon_is_proven_by_the_committee(tmp_path: Path) -> None:
    async with telling(tmp_path, rounds=2) as (world, node, client):
        view = await looked(world, client)
        assert (view.backing, view.why, view.contradictions) == (Backing.PROVEN, "", ())
        assert (view.signers, view.members, view.height) == (3, 4, world.state.head.height - 1)
        assert view.key == encode_address(OWN)
        assert view.owed == node.history.takings.all.pending > 0
        assert (view.whole, len(view.rounds)) == (True, 2)
        assert view.balance == world.state.account(OWN).balance


@pytest.mark.parametrize(
    ("liar", "what"),
    [(BoastfulNode, "pending"), (RichNode, "as bond"), (SlyNode, "pending of digits")],
)
async def test_a_daemon_that_says_more_than_is_proven_is_contradicted(
    tmp_path: Path, liar: type[TellingNode], what: str
) -> None:
    """It waits for the block that proves the very height that the daemon spoke of: then there is no way out."""
    async with telling(tmp_path, liar) as (world, node, client):
        asking = asyncio.create_task(looked(world, client))
        await node.waited.wait()
        await node.step()
        view = await asking
        assert view.backing is Backing.CONTRADICTED
        (found,) = view.contradictions
        assert (found.what, found.height) == (what, world.state.head.height - 1)
        assert found.said != found.proven
        assert what in view.why
        assert view.owed == node.history.takings.all.pending, "what is proven is shown beside it"


async def test_another_state_than_the_committees_is_a_contradiction(tmp_path: Path) -> None:
    async with telling(tmp_path, StrayNode) as (world, node, client):
        assert (await looked(world, client)).backing is Backing.PROVEN, "of that height nothing is proven yet"
        asking = asyncio.create_task(looked(world, client, exact=True))
        await node.waited.wait()
        await node.step()
        view = await asking
        assert (view.backing, [each.what for each in view.contradictions]) == (Backing.CONTRADICTED, ["state"])


async def test_an_honest_daemon_is_never_accused_for_a_block_that_came_between(tmp_path: Path) -> None:
    """A round closes in the newest block: what is owed is another sum than what can be proven before the next."""
    async with telling(tmp_path) as (world, node, client):
        world.whole_round()
        await node.keep_up()
        assert node.history.takings.all.pending > 0
        asking = asyncio.create_task(looked(world, client))
        await node.waited.wait()
        assert not asking.done()
        await node.step()
        view = await asking
        assert (view.backing, view.height, len(view.rounds)) == (Backing.PROVEN, world.state.head.height - 1, 2)


async def test_without_the_next_block_it_stays_the_daemons_word(tmp_path: Path) -> None:
    async with telling(tmp_path, BoastfulNode) as (world, _, client):
        view = await looked(world, client, patience_s=0.05)
        assert (view.backing, view.contradictions) == (Backing.WORD, ())
        assert "could not be proven in" in view.why


async def test_a_certificate_without_a_quorum_is_no_proof(tmp_path: Path) -> None:
    async with telling(tmp_path, ForgingNode) as (world, _, client):
        view = await looked(world, client)
        assert (view.backing, view.owed, view.height) == (Backing.FORGED, None, None)
        assert "without a quorum" in view.why


async def test_a_genesis_that_the_daemon_hands_us_proves_nothing_by_itself(tmp_path: Path) -> None:
    async with telling(tmp_path) as (world, node, client):
        view = await looked(world, client, anchored=False)
        assert (view.backing, view.owed) == (Backing.WORD, node.history.takings.all.pending)
        assert "genesis" in view.why


async def test_a_daemon_of_another_chain_is_not_accused(tmp_path: Path) -> None:
    async with telling(tmp_path) as (world, _, client):
        other = Follower(Certified(epoch_blocks=7).trust, Terms(), clock=lambda: world.now)
        view = await looked(world, client, other)
        assert (view.backing, view.height) == (Backing.WORD, None)
        assert "another chain" in view.why


async def test_a_daemon_far_behind_what_is_proven_is_not_accused_and_not_proven(tmp_path: Path) -> None:
    async with chain_nodes(tmp_path, TellingNode, TellingNode) as (world, [(ahead, there), (late, here)]):
        assert isinstance(ahead, TellingNode)
        assert isinstance(late, TellingNode)
        for _ in range(2):
            world.add()
        await late.keep_up()
        for _ in range(29):
            world.add()
        world.step(after_ms=60_000)
        await ahead.keep_up()
        follower = Follower(world.trust, Terms(), clock=lambda: world.now)
        async with Client(there) as client:
            assert (await looked(world, client, follower)).backing is Backing.PROVEN
        async with Client(here) as client:
            view = await looked(world, client, follower)
        assert (view.backing, view.height) == (Backing.WORD, 1)
        assert "30 blocks behind" in view.why


async def test_a_long_chain_is_followed_in_several_looks(tmp_path: Path) -> None:
    async with telling(tmp_path, epoch_blocks=2) as (world, _, client):
        epochs = (world.state.head.height) // 2
        assert epochs > 4
        follower, said = Follower(world.trust, Terms(), clock=lambda: world.now), []
        while not said or said[-1].backing is Backing.WORD:
            said.append(await looked(world, client, follower, most_epochs=2))
            assert len(said) < 20
        assert said[0].why.startswith("still following the committees: epoch 2 of")
        assert len(said) >= epochs // 2 - 1
        assert said[-1].backing is Backing.PROVEN


# ---- commands ----------------------------------------------------------------------------


async def told(
    capsys: pytest.CaptureFixture[str], node: TellingNode, client: Client, place: Path, *words: str
) -> tuple[int, str]:
    """A command against the node, which makes a block where the command waits for one."""
    asking = asyncio.create_task(
        asyncio.to_thread(main, ["--datadir", str(place), *words, "--socket", str(client.address)])
    )
    node.forget_questions()
    waiting = asyncio.create_task(node.waited.wait())
    await asyncio.wait((asking, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if not asking.done():
        await node.step()
    code = await asking
    return code, capsys.readouterr().out


def own_folder(folder: Path, world: Certified) -> Path:
    place = folder / "own"
    place.mkdir()
    write_genesis(place / "genesis.json", world.genesis)
    return place


async def test_status_and_earnings_say_what_is_proven_and_begin_there_the_next_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with telling(tmp_path, epoch_blocks=2) as (world, node, client):
        place = own_folder(tmp_path, world)
        code, seen = await told(capsys, node, client, place, "status", "--json")
        said = json.loads(seen)
        assert (code, said["schema"], said["proven"]["backing"]) == (Exit.OK, 1, "proven")
        assert from_json(Snapshot, seen, max_bytes=SNAPSHOT_BYTES) == await client.snapshot(), "readers pass it over"
        assert said["proven"]["owed"] == said["earnings"]["pending"] > 0
        trust, _ = recall(place / "believed", world.genesis)
        assert trust.height > 0
        code, seen = await told(capsys, node, client, place, "status")
        assert (code, "by 3 of 4 validators" in seen) == (Exit.OK, True), seen
        code, seen = await told(capsys, node, client, place, "earnings", "--json")
        assert (code, json.loads(seen)["proven"]["backing"]) == (Exit.OK, "proven")
        code, seen = await told(capsys, node, client, place, "earnings", "--units", "9")
        assert code == Exit.OK
        assert "days: the daemon's own books" in seen
        assert "round owes" in seen
        assert "by 3 of 4 validators" in seen
        assert max(map(len, seen.splitlines())) <= 80


@pytest.mark.parametrize("command", ["status", "earnings"])
async def test_a_lie_is_loud_and_ends_the_command_with_8(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    async with telling(tmp_path, RichNode) as (world, node, client):
        place = own_folder(tmp_path, world)
        code, seen = await told(capsys, node, client, place, command)
        assert code == Exit.BAD_SIGNATURE
        assert "CONTRADICTED" in seen
        assert "as bond" in seen


async def test_without_a_genesis_of_ours_the_command_says_that_it_is_the_daemons_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with telling(tmp_path) as (_, node, client):
        code, seen = await told(capsys, node, client, tmp_path / "nothing", "status")
        assert code == Exit.OK
        assert "the daemon's word, not proven: there is no genesis" in seen
        assert not (tmp_path / "nothing").exists()


async def test_a_damaged_memory_is_said_and_hides_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with telling(tmp_path) as (world, node, client):
        place = own_folder(tmp_path, world)
        (place / "believed").write_bytes(b"nonsense")
        code, seen = await told(capsys, node, client, place, "status")
        assert (code, "is damaged" in " ".join(seen.split()), "today" in seen) == (Exit.OK, True, True), seen


# ---- the dashboard -----------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "backing"), [(TellingNode, Backing.PROVEN), (RichNode, Backing.CONTRADICTED)])
async def test_the_dashboard_compares_what_it_paints(
    tmp_path: Path, kind: type[TellingNode], backing: Backing
) -> None:
    """Own and far rigs are one path, and one light client; what is in memory is not followed again."""
    async with telling(tmp_path, kind) as (world, node, client):
        source = Daemon(lambda: client.address, Examiner(Place(datadir=own_folder(tmp_path, world))))
        painted = await client.snapshot()
        asking = asyncio.create_task(source.prove(painted, None))
        await node.waited.wait()
        await node.step()
        view = await asking
        assert (view.backing, view.height) == (backing, painted.chain.height)
        asking = asyncio.create_task(source.prove(await client.snapshot(), await client.earnings(units=9)))
        node.forget_questions()
        await node.waited.wait()
        await node.step()
        assert (await asking).backing is backing


async def test_a_daemon_that_shows_nothing_is_its_word_and_not_a_lie(tmp_path: Path) -> None:
    async with telling(tmp_path, MuteNode) as (world, _, client):
        examiner = Examiner(Place(datadir=own_folder(tmp_path, world)))
        view = await examiner.examine(client, await client.snapshot())
        assert (view.backing, view.height, view.why) == (Backing.WORD, None, "it has forgotten")
