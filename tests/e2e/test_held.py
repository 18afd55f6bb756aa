"""A trainer's power fails between reveal and verdict, in a network of real processes. Marked e2e."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from potminer.devnet.course import Requester, bench_worker
from potminer.devnet.plan import Member, make_plan
from potminer.devnet.processes import Processes
from potminer.devnet.verify import verify_members
from potminer.node.taskfile import TaskFile, load_task_file
from potminer.wire import record as records
from potminer.wire.held import HeldStake
from potminer.wire.model import Mlp
from potminer.wire.record import Phase, RoundRecord, TaskRecord, Trainer, UnitRecord
from potminer.wire.task import AuditSpec, Deadlines, Evaluation
from potminer.world.api.attach import Client
from potminer.world.assets import asset
from tests.e2e.test_validators import WAIT_S, Network

pytestmark = pytest.mark.e2e

BOND = 100 * 10**9
PAUSE_S = 0.5
"""Between questions: blocks cost every member something."""


def short_task() -> TaskFile:
    """Small units, each audited in one segment at least. Audits and disputes of what nobody can fetch last to their
    deadlines; nothing else here comes near one."""
    return replace(
        load_task_file(asset("tasks/digits.toml")), rounds=20, model=Mlp(64, (16,), 10), units_per_trainer=1,
        segments=4, batches_per_segment=8, evaluation=Evaluation(), audit=AuditSpec(1_000_000, 1_000),
        deadlines=Deadlines(120_000, 120_000, 8_000, 8_000, 60_000),
    )  # fmt: skip


@dataclass
class Scene:
    """A task in progress as a light client sees it: every record is proven. *dying* is the trainer it is about."""

    network: Network
    task: bytes
    dying: Member

    async def of_dying(self) -> tuple[HeldStake | None, Trainer]:
        """Its held stake and its account as a trainer."""
        network, key = self.network, self.dying.key
        node = await network.processes.face(network.asked[0])
        held, trainer = await network.follower.facts(node, (records.held_key(key), records.trainer_key(key)))
        account = trainer.record(Trainer)
        assert account is not None
        return held.record(HeldStake), account

    async def units(self) -> tuple[RoundRecord | None, dict[bytes, UnitRecord]]:
        """The round in progress and its units, by trainer."""
        network = self.network
        node = await network.processes.face(network.asked[0])
        (fact,) = await network.follower.facts(node, (records.task_key(self.task),))
        task = fact.record(TaskRecord)
        number = 0 if task is None else task.round
        places = [records.unit_key(self.task, number, slot) for slot in range(3)]
        found, *units = await network.follower.facts(node, (records.round_key(self.task, number), *places))
        current = found.record(RoundRecord)
        if current is None or current.number != number:
            return None, {}
        told = [unit.record(UnitRecord) for unit in units[: len(current.slots)]]
        return current, {unit.trainer: unit for unit in told if unit is not None}

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """With a block for every question, for what is asked is proven by the next one."""
        async with asyncio.timeout(WAIT_S):
            while not await holds():
                await self.network.pay(self.network.plan.requester.public, 1)
                await asyncio.sleep(PAUSE_S)

    async def freeze_before_it_trains(self) -> None:
        """Freeze the dying one while a model is made, so that it has yet to train in the round after; where it was
        faster than we, in a later one."""
        network, processes = self.network, self.network.processes
        node = await processes.face(network.asked[0])
        async with asyncio.timeout(WAIT_S):
            while True:
                await self._next_phase(node, "aggregate")
                processes.freeze(self.dying)
                await self._next_phase(node, "commit")
                await network.pay(self.network.plan.requester.public, 1)
                current, units = await self.units()
                mine = units.get(self.dying.key)
                if current is not None and current.number and mine is not None and mine.commitment is None:
                    return
                processes.thaw(self.dying)

    async def _next_phase(self, node: Client, phase: str) -> None:
        async for _ in node.watch():
            if any(each.task == self.task.hex() and each.phase == phase for each in await node.tasks()):
                return


async def test_who_is_killed_between_reveal_and_verdict_gets_its_stake_back_by_coming_back(tmp_path: Path) -> None:
    plan = make_plan(tmp_path / "net", validators=4, trainers=3, seed=17, byzantine=[], trainer_bond=BOND)
    dying, slow, third = plan.trainers
    async with bench_worker(plan.folder) as (child, blobs), Processes(plan) as processes:
        requester = Requester(plan, processes, child, blobs, lambda course: None)
        await requester.bond_trainers()
        await requester.order(short_task())
        network = Network(plan, processes)
        network.nonce, network.asked = 1, list(plan.validators)
        scene = Scene(network, bytes.fromhex(requester.course.task), dying)

        # All others commit and wait for it; one of them is frozen before it can reveal, so that the phase lasts.
        await scene.freeze_before_it_trains()

        async def others_committed() -> bool:
            _, units = await scene.units()
            return all(units[each.key].commitment is not None for each in (slow, third))

        await scene.until(others_committed)
        processes.freeze(slow)
        processes.thaw(dying)

        async def revealed() -> bool:
            current, units = await scene.units()
            assert current is not None
            return bool(units[dying.key].snapshots) and current.phase == Phase.REVEAL

        await scene.until(revealed)
        await processes.kill(dying)
        processes.thaw(slow)

        async def is_held() -> bool:
            return (await scene.of_dying())[0] is not None

        await scene.until(is_held)
        held, trainer = await scene.of_dying()
        assert held is not None
        assert held.amount >= BOND
        assert (trainer.bond, trainer.unbonding, trainer.expelled) == (0, 0, False)
        assert [unit.task for unit in held.units] == [scene.task]

        await processes.start(dying)

        async def has_returned() -> bool:
            return not await is_held()

        await scene.until(has_returned)
        _, trainer = await scene.of_dying()
        assert trainer.bond >= held.amount
        assert not trainer.expelled
        head = (await network.chain(plan.validators[0])).height

        async def everybody_has_it() -> bool:
            return min([(await network.chain(member)).height for member in plan.members]) >= head

        await scene.until(everybody_has_it)
    verified = await verify_members(plan)
    assert verified.roots_agree
    assert verified.supply_ok
    assert verified.height >= head
