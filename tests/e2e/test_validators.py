"""A network of real processes whose committee changes, and loses members: killed, frozen, left. Marked e2e."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomlkit

from potminer.core.light.trust import Terms, from_genesis
from potminer.devnet.plan import Member, Plan, make_plan
from potminer.devnet.processes import Processes
from potminer.devnet.verify import verify_members
from potminer.node.build import unix_ms
from potminer.node.courier import Courier
from potminer.node.follower import Follower
from potminer.node.genesisfile import read_genesis, write_genesis
from potminer.wire.answers import ChainStatus
from potminer.wire.control import Until
from potminer.wire.genesis import chain_id
from potminer.wire.tx import Transaction, Transfer, sign_transaction
from tests.e2e.test_requester import command

pytestmark = pytest.mark.e2e

BOND = 10**13
WAIT_S = 240
"""For each thing that must happen. Nothing here is timed."""


def prepared(folder: Path) -> tuple[Plan, Member]:
    """Four validators of the genesis, and a node that would like to be one; epochs of five blocks."""
    plan = make_plan(folder, validators=4, trainers=1, seed=11, byzantine=[])
    newcomer = replace(plan.trainers[0], role="validator")
    plan = replace(plan, members=(*plan.validators, newcomer))
    path = newcomer.datadir / "potminer.toml"
    file = tomlkit.parse(path.read_text(encoding="utf-8"))
    file["node"]["role"] = "validator"
    path.write_text(tomlkit.dumps(file), encoding="utf-8")
    genesis = read_genesis(plan.genesis)
    parameters = msgspec.structs.replace(genesis.parameters, epoch_blocks=5)
    genesis = msgspec.structs.replace(genesis, parameters=parameters)
    for place in (plan.genesis, *(member.datadir / "genesis.json" for member in plan.members)):
        write_genesis(place, genesis)
    return plan, newcomer


class Network:
    """What the test sees of it: certified transactions, and what members say of the chain."""

    def __init__(self, plan: Plan, processes: Processes) -> None:
        self.plan, self.processes = plan, processes
        self.genesis = read_genesis(plan.genesis)
        self.follower = Follower(from_genesis(self.genesis), Terms(), clock=unix_ms)
        self.asked = list(plan.members)
        """Whose APIs are asked: not those who are down."""
        self.nonce = 0

    async def pay(self, to: bytes, amount: int) -> None:
        """One transfer, until it is proven to be in a block."""
        addresses = [(await self.processes.face(member)).address for member in self.asked]
        key, chain = self.plan.requester, chain_id(self.genesis)
        transaction = Transaction(chain, key.public, self.nonce, 1_000, 2**32, Transfer(to=to, amount=amount))
        self.nonce += 1
        # What became of it is known a block later, and without more transactions that block takes five seconds.
        await Courier(addresses, self.follower).send(
            sign_transaction(transaction, key), until=Until.INCLUDED, within_s=WAIT_S
        )

    async def chain(self, member: Member) -> ChainStatus:
        return await (await self.processes.face(member)).chain()

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Until *holds*, with a block for every question: nothing else happens here."""
        async with asyncio.timeout(WAIT_S):
            while not await holds():
                await self.pay(self.plan.requester.public, 1)

    async def seats(self) -> set[bytes]:
        status = await self.chain(self.asked[0])
        return {member.key for member in self.plan.members if any(s.key == _address(member) for s in status.committee)}

    async def proposers(self) -> set[bytes]:
        node = await self.processes.face(self.asked[0])
        height = (await node.chain()).height
        headers = (await node.headers(max(1, height - 9), 10)).headers
        return {certified.header.proposer for certified in headers}


def _address(member: Member) -> str:
    from potminer.base.address import encode_address

    return encode_address(member.key)


async def test_a_newcomer_is_elected_proposes_is_needed_and_leaves_while_members_die(tmp_path: Path) -> None:
    plan, newcomer = prepared(tmp_path / "net")

    async def said(*words: str) -> dict[str, Any]:
        code, out, err = await command(newcomer.datadir, "validator", *words, "--json")
        assert code == 0, out + err
        found: dict[str, Any] = json.loads(out)
        return found

    async with Processes(plan) as processes:
        network = Network(plan, processes)
        await network.pay(newcomer.key, 2 * BOND)

        async def proves() -> bool:
            """What a block did is proven by the next one, and its own node is asked."""
            return (await network.chain(newcomer)).provable_last is not None

        await network.until(proves)
        assert (await said("register", f"{BOND}grains"))["status"] == "applied"

        async def sits() -> bool:
            return newcomer.key in await network.seats()

        async def proposes() -> bool:
            return newcomer.key in await network.proposers()

        await network.until(sits)
        await network.until(proposes)

        # Five members, a quorum is four: with one frozen nothing is final without the newcomer's vote.
        frozen = plan.validators[1]
        network.asked.remove(frozen)
        processes.freeze(frozen)
        for _ in range(3):
            await network.pay(plan.requester.public, 1)
        processes.thaw(frozen)
        network.asked.append(frozen)

        killed = plan.validators[2]
        network.asked.remove(killed)
        await processes.kill(killed)
        for _ in range(3):
            await network.pay(plan.requester.public, 1)
        await processes.start(killed)
        network.asked.append(killed)

        seen = await said("status")
        assert (seen["bond"], seen["candidate"], seen["power"] is not None) == (BOND, True, True)
        assert (await said("unbond", "--all"))["status"] == "applied"

        async def left() -> bool:
            return newcomer.key not in await network.seats()

        await network.until(left)
        seen = await said("status")
        assert (seen["bond"], seen["candidate"], seen["coming_power"]) == (0, False, None)
        assert [each["amount"] for each in seen["leaving"]] == [BOND]

        head = (await network.chain(plan.validators[0])).height

        async def everybody_has_it() -> bool:
            return min([(await network.chain(member)).height for member in plan.members]) >= head

        await network.until(everybody_has_it)
    verified = await verify_members(plan)
    assert verified.roots_agree
    assert verified.supply_ok
    assert verified.slashed == ()
