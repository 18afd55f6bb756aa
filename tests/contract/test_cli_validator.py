"""Becoming a validator and leaving, from the command line to the ledger: a real ledger behind a real API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.base.errors import Exit
from potminer.cli.main import main
from potminer.node.onions import onion_of
from potminer.view.silence import PATIENCE_MS
from potminer.wire import record as records
from potminer.wire.answers import MemberView, NetworkView
from potminer.wire.control import Snapshot
from potminer.wire.record import Validator
from potminer.world.keys import create_key
from tests.contract.chain_node import ChainNode, chain_nodes
from tests.contract.test_cli_wallet import RICH, answered, told
from tests.unit.ledger_world import SMALLEST_BOND, key


class Standby(ChainNode):
    """Runs with the rich key, in whatever role the test says."""

    role = "validator"

    async def snapshot(self) -> Snapshot:
        found = await super().snapshot()
        return replace(
            found, node=encode_address(key("rich").public), chain=replace(found.chain, role=self.role)
        )


async def test_a_node_becomes_a_candidate_and_unbonds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine"
    own = create_key(mine / "keys/node.key", seed=RICH)
    least, short = f"{SMALLEST_BOND}grains", f"{SMALLEST_BOND - 1}grains"
    async with chain_nodes(tmp_path, Standby, epoch_blocks=8) as (_, [(node, address)]):
        assert isinstance(node, Standby)
        where = ["--socket", str(address), "--json"]
        await node.step()
        await node.step()

        async def standing() -> dict[str, object]:
            assert await asyncio.to_thread(main, ["--datadir", str(mine), "validator", "status", *where]) == Exit.OK
            return answered(capsys)

        seen = await standing()
        assert (seen["registered"], seen["candidate"], seen["power"]) == (False, False, None)
        assert await told(node, mine, "validator", "register", short, *where) == Exit.USAGE
        node.role = "trainer"
        assert await told(node, mine, "validator", "register", least, *where) == Exit.NOT_PERMITTED
        assert "config set node.role validator" in capsys.readouterr().err
        node.role = "validator"
        assert await told(node, mine, "validator", "register", least, *where) == Exit.OK
        record = node.ledger.state.get(Validator, records.validator_key(own.public))
        assert record is not None
        assert (record.onion, record.bond) == (onion_of(own).outside, SMALLEST_BOND)
        capsys.readouterr()
        for _ in range(5):
            await node.step()
        seen = await standing()
        assert (seen["candidate"], seen["candidates"], seen["needed"]) == (True, 1, 4)
        assert (seen["power"], seen["coming_power"]) == (None, 1)

        assert await told(node, mine, "validator", "unbond", f"{SMALLEST_BOND + 1}grains", *where) == Exit.USAGE
        assert await told(node, mine, "validator", "unbond", *where) == Exit.USAGE, "neither an amount nor --all"
        assert await told(node, mine, "validator", "unbond", "--all", *where) == Exit.OK
        capsys.readouterr()
        seen = await standing()
        assert (seen["bond"], seen["candidate"]) == (0, False)
        assert [each["amount"] for each in seen["leaving"]] == [SMALLEST_BOND]  # type: ignore[attr-defined]
        people = ["--datadir", str(mine), "validator", "status", "--socket", str(address)]
        assert await asyncio.to_thread(main, people) == Exit.OK
        assert "potminer validator register" in capsys.readouterr().out


class Wiped(Standby):
    """Its disk is younger than its key's votes."""

    until_ms: int | None = None
    late_ms = 0

    async def snapshot(self) -> Snapshot:
        found = await super().snapshot()
        until = None if self.until_ms is None else found.taken_ms - self.late_ms
        return replace(found, chain=replace(found.chain, silent_until_ms=until))

    async def network(self) -> NetworkView:
        own, others = encode_address(key("rich").public), (True, True, False)
        members = tuple(MemberView(key=f"pot1{at}", power=1, linked=each) for at, each in enumerate(others))
        return NetworkView(taken_ms=0, committee=(MemberView(key=own, power=1, linked=None), *members))


async def test_a_wiped_member_is_said_to_be_silent_and_what_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    create_key(mine / "keys/node.key", seed=RICH)
    async with chain_nodes(tmp_path, Wiped, epoch_blocks=8) as (_, [(node, address)]):
        assert isinstance(node, Wiped)
        await node.step()
        await node.step()

        async def shown(*more: str) -> str:
            words = ["--datadir", str(mine), "validator", "status", "--socket", str(address), *more]
            assert await asyncio.to_thread(main, words) == Exit.OK
            return capsys.readouterr().out

        assert "voice" not in await shown()
        node.until_ms = 0
        said = await shown()
        assert "voice      silent until a block of" in said
        assert "Two at once" not in said
        node.late_ms = PATIENCE_MS + 1
        assert "none comes, 2 of 3 others are linked. See docs/validators.md, Two at once" in await shown()
        told = json.loads(await shown("--json"))
        assert (told["members_linked"], told["members_others"]) == (2, 3)
        assert told["silent_until_ms"] > 0
