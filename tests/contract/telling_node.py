"""A node that has real books and tells of them as a daemon does, and its liars: the real API with other answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import cast

from msgspec.structs import replace

from potminer.base.address import encode_address
from potminer.base.errors import Unreachable
from potminer.core.ledger.apply import Applied
from potminer.node.answers import Answers, Books, Prices
from potminer.node.daybook import Daybook
from potminer.node.engine import Engine
from potminer.node.gaps import Gaps
from potminer.node.history import History
from potminer.node.logbook import LogBook
from potminer.wire import record as records
from potminer.wire.answers import ChainStatus, EarningsDetail, SettingsView
from potminer.wire.control import Snapshot, TrainingView, UnitCounts
from potminer.wire.proof import Shown
from potminer.wire.record import TaskRecord
from potminer.world.net.network import Network
from potminer.world.store.store import Store
from tests.contract.api_rig import photograph
from tests.contract.chain_node import ChainNode
from tests.unit.ledger_world import key
from tests.unit.light_world import Certified

OWN = key("ann").public
"""Whose rig it is."""


class TellingNode(ChainNode):
    def __init__(self, folder: Path, world: Certified, store: Store) -> None:
        super().__init__(folder, world, store)
        self.history = History(OWN)
        self.waited = asyncio.Event()
        """Somebody asks again and again how far the chain is: it waits for the next block."""
        self._asked = 0

        async def persist(_: object) -> None: ...

        books = Books(
            LogBook(world.now), Daybook(None), SettingsView(file=""), Prices(),
            Gaps(OWN, self.history, persist, saved=None, head=0),
        )  # fmt: skip
        # Of network and engine it says nothing.
        self.answers = Answers(
            OWN, self.ledger, self.history, cast(Network, None), cast(Engine, None), books, lambda: world.now
        )

    def executed(self, applied: Applied) -> None:
        self.history.fold(applied.events, height=applied.state.head.height, time_ms=applied.state.head.time_ms)

    def forget_questions(self) -> None:
        self._asked = 0
        self.waited.clear()

    async def chain(self) -> ChainStatus:
        self._asked += 1
        if self._asked > 4:
            self.waited.set()
        return await super().chain()

    async def keep_up(self) -> None:
        """Execute what the world has made meanwhile."""
        for block in self.world.blocks[self.ledger.state.head.height :]:
            await self.follow(block)

    async def snapshot(self) -> Snapshot:
        state, seen = self.ledger.state, photograph(self.ledger.state.head.height)
        committee = state.committee
        chain = replace(
            seen.chain, state_root=state.root.hex(), epoch=committee.epoch, validators=len(committee.members)
        )
        return replace(
            seen, node=encode_address(OWN), taken_ms=self.world.now, chain=chain, earnings=self.answers.money(),
            training=self._training(),
        )  # fmt: skip

    def _training(self) -> TrainingView | None:
        for task in self.ledger.state.head.open_tasks:
            record = self.ledger.state.need(TaskRecord, records.task_key(task))
            return TrainingView(
                task=task.hex(), name=record.spec.name, round=min(record.round + 1, record.spec.rounds),
                rounds=record.spec.rounds, phase="commit", units=UnitCounts(), my_units=UnitCounts(),
            )  # fmt: skip
        return None

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        yield await self.snapshot()

    async def earnings(self, units: int) -> EarningsDetail:
        return self.answers.earnings(units)


class BoastfulNode(TellingNode):
    """Says that more is owed than is."""

    async def snapshot(self) -> Snapshot:
        seen = await super().snapshot()
        return replace(seen, earnings=replace(seen.earnings, pending=seen.earnings.pending + 10**9))


class RichNode(TellingNode):
    """Says that more of it is bond than is."""

    async def snapshot(self) -> Snapshot:
        seen = await super().snapshot()
        return replace(seen, earnings=replace(seen.earnings, kept=10**15))


class StrayNode(TellingNode):
    """Says another state than its height's."""

    async def snapshot(self) -> Snapshot:
        seen = await super().snapshot()
        return replace(seen, chain=replace(seen.chain, state_root="ab" * 32))


class SlyNode(TellingNode):
    """Lies in its tables alone."""

    async def earnings(self, units: int) -> EarningsDetail:
        told = await super().earnings(units)
        return replace(told, tasks=tuple(replace(each, pending=each.pending + 1) for each in told.tasks))


class ForgingNode(TellingNode):
    """Shows proofs under a certificate that two of four have signed."""

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        told = await super().show(keys, height)
        certificate = told.certified.certificate
        thin = replace(certificate, signatures=certificate.signatures[:2])
        return replace(told, certified=replace(told.certified, certificate=thin))


class MuteNode(TellingNode):
    """Shows nothing."""

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        raise Unreachable("it has forgotten")
