"""Publishing: the photographs that faces see, and the answers to their questions."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from msgspec.structs import replace

from potminer.base.address import decode_address, encode_address
from potminer.core.ledger.ending import ending
from potminer.core.ledger.ledger import Ledger
from potminer.node.answers import Answers
from potminer.node.engine import Engine
from potminer.node.history import History, TaskHistory
from potminer.node.prover import Prover
from potminer.node.rig import Rig
from potminer.node.silence import Silence
from potminer.wire import record as records
from potminer.wire.answers import (
    ChainStatus,
    DayView,
    EarningsDetail,
    HandedIn,
    LogLevel,
    LogTail,
    NetworkView,
    SettingsView,
)
from potminer.wire.control import (
    AccountView,
    Alert,
    AlertLevel,
    ChainView,
    Command,
    Drain,
    LossPoint,
    Mode,
    Pause,
    ReceiptView,
    Resume,
    SetMode,
    SetPayout,
    Snapshot,
    TaskDetail,
    TaskView,
    TrainingView,
    UnitCounts,
    UnitOutcome,
    Until,
    YieldNow,
)
from potminer.wire.proof import Epochs, Headers, Shown
from potminer.wire.record import PendingRound, RoundRecord, Standing, TaskRecord, TaskStatus, Trainer
from potminer.wire.tx import RegisterTrainer, SignedTransaction
from potminer.world.net.network import Network
from potminer.world.store.blobs import BlobStore

YIELD_MS = 5 * 60_000
"""How long a device that was asked for is left alone before duty may take it again."""
LONELY = "no other node answers: look at the network; nothing is earned until one does"
LEAST_MS = 250
"""A face is shown at most four photographs a second."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What never changes while the node runs."""

    agent: str
    network: str
    rig: str
    key: bytes
    role: str


class Publisher:
    """The node's Backend (``world/api/backend.py``)."""

    def __init__(
        self,
        identity: Identity,
        ledger: Ledger,
        history: History,
        rig: Rig,
        blobs: BlobStore,
        network: Network,
        engine: Engine,
        answers: Answers,
        prover: Prover,
        silence: Silence,
        clock: Callable[[], int],
    ) -> None:
        self._identity = identity
        self._ledger = ledger
        self._history = history
        self._rig = rig
        self._blobs = blobs
        self._network = network
        self._engine = engine
        self._answers = answers
        self._prover = prover
        self._silence = silence
        self._clock = clock
        self._changed = asyncio.Event()
        self._alerts: dict[str, Alert] = {}
        self._lonely = False

    def changed(self) -> None:
        self._changed.set()
        self._prover.changed()

    def alert(self, level: AlertLevel, text: str) -> None:
        """Keep *text* before the owner's eyes; the newest sixteen stay."""
        self._alerts[text[:200]] = Alert(level=level, text=text[:200], since_ms=self._clock())
        while len(self._alerts) > 16:
            del self._alerts[next(iter(self._alerts))]
        self.changed()

    def heed_network(self) -> None:
        """Say so while no other node can be reached at two looks in a row; take it back when one can."""
        needs = set(self._ledger.state.committee.members) - {self._identity.key}
        lonely = bool(needs) and not self._network.peers()
        if lonely and self._lonely and LONELY not in self._alerts:
            self.alert(AlertLevel.WARNING, LONELY)
        elif not lonely and self._alerts.pop(LONELY, None) is not None:
            self.changed()
        self._lonely = lonely

    # ---- photographs ----------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        now, us = self._clock(), self._identity
        return Snapshot(
            taken_ms=now,
            agent=us.agent,
            network=us.network,
            rig=us.rig,
            node=encode_address(us.key),
            control=self._rig.control(now),
            devices=self._rig.devices(now),
            miners=self._rig.miners(),
            training=self._training(),
            losses=self._losses(),
            earnings=self._answers.money(),
            chain=self._chain(),
            alerts=(*self._silence.alerts, *self._alerts.values()),
            next_check_ms=self._rig.next_check_ms(now),
        )

    async def watch(self) -> AsyncIterator[Snapshot]:
        while True:
            self._changed.clear()
            yield await self.snapshot()
            await asyncio.sleep(LEAST_MS / 1000)
            try:
                # Ages and rates move on even where nothing happens.
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _chain(self) -> ChainView:
        head, commits = self._ledger.state.head, self._engine.commit_ms
        points = quantiles(commits, n=100) if len(commits) > 1 else None
        traffic = self._network.traffic()
        return ChainView(
            height=head.height,
            view=self._engine.view,
            epoch=self._ledger.state.committee.epoch,
            peers=len(self._network.peers()),
            validators=len(self._ledger.state.committee.members),
            role=self._identity.role,
            state_root=self._ledger.state.root.hex(),
            last_block_ms=head.time_ms,
            commit_p50_ms=None if points is None else int(points[49]),
            commit_p99_ms=None if points is None else int(points[98]),
            sent_bytes=traffic.total_sent,
            received_bytes=traffic.total_received,
            mempool=len(self._ledger.mempool),
            standing=self._engine.standing,
            silent_until_ms=self._silence.until_ms,
        )

    def _newest(self) -> tuple[bytes, TaskHistory] | None:
        """The open task, or the one that ended last."""
        tasks = self._history.tasks
        running = [pair for pair in tasks.items() if pair[1].ended is None]
        return running[-1] if running else next(reversed(tasks.items()), None)

    def _training(self) -> TrainingView | None:
        newest = self._newest()
        if newest is None:
            return None
        task_id, task = newest
        record = self._ledger.state.get(TaskRecord, records.task_key(task_id))
        if record is None:
            return None
        current = self._ledger.state.get(RoundRecord, records.round_key(task_id, record.round))
        accepted, rejected = task.accepted, task.rejected
        took = self._history.takings.task(task_id).accepted
        mine = sum(task.my_rejected.values()) + took
        return TrainingView(
            task=task_id.hex(),
            name=task.name,
            round=min(record.round + 1, record.spec.rounds),
            rounds=record.spec.rounds,
            phase=_phase(record, current),
            phase_ends_ms=None if current is None else current.deadline_ms,
            units=UnitCounts(
                assigned=accepted + sum(rejected.values()) + (0 if current is None else len(current.slots)),
                accepted=accepted,
                rejected=dict(rejected),
            ),
            my_units=UnitCounts(assigned=mine, accepted=took, rejected=dict(task.my_rejected)),
            loss_micro=task.losses[-1].loss_micro if task.losses else None,
            accuracy_ppm=task.score_ppm,
        )

    def _losses(self) -> tuple[LossPoint, ...]:
        newest = self._newest()
        return () if newest is None else tuple(newest[1].losses)

    # ---- letters --------------------------------------------------------------------------

    async def command(self, command: Command) -> None:
        match command:
            case Pause(device, for_ms):
                self._rig.override(Mode.OFF, for_ms, device=device, paused=True)
            case Resume(device):
                self._rig.override(Mode.AUTO, None, device=device)
            case YieldNow(device):
                self._rig.override(Mode.OFF, YIELD_MS, device=device)
            case Drain(device):
                self._rig.finish(device)
            case SetMode(mode, for_ms):
                self._rig.override(mode, for_ms)
            case SetPayout(address):
                self._engine.say(RegisterTrainer(decode_address(address)))
        self.changed()

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        return await self._prover.submit(transaction, wait_ms=wait_ms, until=until)

    async def submit_all(self, transactions: Sequence[SignedTransaction]) -> HandedIn:
        return await self._prover.submit_all(transactions)

    # ---- what clients check themselves ----------------------------------------------------

    async def receipt(self, transaction: bytes, *, wait_ms: int, until: Until) -> ReceiptView | None:
        return await self._prover.receipt(transaction, wait_ms=wait_ms, until=until)

    async def genesis(self) -> bytes:
        return await self._prover.genesis()

    async def chain(self) -> ChainStatus:
        return await self._prover.chain()

    async def headers(self, first: int, count: int) -> Headers:
        return await self._prover.headers(first, count)

    async def epochs(self, first: int, count: int) -> Epochs:
        return await self._prover.epochs(first, count)

    async def model(self, task: bytes, round: int) -> Shown | None:
        return await self._prover.model(task, round)

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        return await self._prover.show(keys, height)

    # ---- questions ------------------------------------------------------------------------

    async def account(self, key: bytes) -> AccountView:
        state = self._ledger.state
        account, trainer = state.account(key), state.get(Trainer, records.trainer_key(key))
        return AccountView(
            address=encode_address(key),
            balance=account.balance,
            pending=self._pending(key),
            bond=0 if trainer is None else trainer.bond,
            nonce=self._ledger.mempool.next_nonce(key, state),
            height=state.head.height,
        )

    def _pending(self, key: bytes) -> int:
        state, window = self._ledger.state, self._ledger.state.parameters.escrow_rounds
        total = 0
        for task in state.head.open_tasks:
            record = state.need(TaskRecord, records.task_key(task))
            for number in range(max(0, record.round - window), record.round):
                pending = state.get(PendingRound, records.pending_key(task, number))
                shares = () if pending is None else pending.shares
                total += sum(share.amount for share in shares if share.account == key)
        return total

    async def tasks(self) -> tuple[TaskView, ...]:
        views = (self._task_view(task_id, task) for task_id, task in reversed(self._history.tasks.items()))
        return tuple(view for view in views if view is not None)

    async def task(self, task: bytes) -> TaskDetail | None:
        history = self._history.tasks.get(task)
        view = None if history is None else self._task_view(task, history)
        if history is None or view is None:
            return None
        return TaskDetail(task=view, rounds=tuple(history.rounds))

    def _task_view(self, task_id: bytes, task: TaskHistory) -> TaskView | None:
        record = self._ledger.state.get(TaskRecord, records.task_key(task_id))
        if record is None:
            return None
        current = self._ledger.state.get(RoundRecord, records.round_key(task_id, record.round))
        return TaskView(
            task=task_id.hex(),
            name=task.name,
            requester=encode_address(record.requester),
            status=record.status.name.lower(),
            round=record.round,
            rounds=record.spec.rounds,
            phase=_phase(record, current),
            trainers=len(record.members),
            escrow=record.escrow,
            price_per_unit=record.spec.reward.price_per_unit,
            model=record.model.hex(),
            loss_micro=task.losses[-1].loss_micro if task.losses else None,
            accuracy_ppm=task.score_ppm,
            ended=ending(self._ledger.state, task_id),
        )

    def _with_end(self, unit: UnitOutcome) -> UnitOutcome:
        return replace(unit, task_ended=ending(self._ledger.state, bytes.fromhex(unit.task)))

    async def units(self, task: bytes | None, last: int) -> tuple[UnitOutcome, ...]:
        return tuple(self._with_end(unit) for unit in self._history.my_units(task, last))

    async def unit(self, task: bytes, *, round: int, slot: int) -> UnitOutcome | None:
        found = self._history.unit(task, round=round, slot=slot)
        return None if found is None else self._with_end(found)

    async def network(self) -> NetworkView:
        return self._answers.network()

    async def earnings(self, units: int) -> EarningsDetail:
        return self._answers.earnings(units)

    async def log(self, *, after: int, last: int, level: LogLevel) -> LogTail:
        return self._answers.log(after=after, last=last, level=level)

    async def settings(self) -> SettingsView:
        return self._answers.settings()

    async def day(self) -> DayView:
        return self._answers.day()

    # ---- blobs ----------------------------------------------------------------------------

    async def put_blob(self, chunks: AsyncIterator[bytes]) -> bytes:
        """Through a temporary file: a blob may be larger than memory."""
        with tempfile.NamedTemporaryFile(dir=self._blobs.folder, prefix="upload-") as draft:
            async for chunk in chunks:
                await asyncio.to_thread(draft.write, chunk)
            draft.flush()
            blob = await asyncio.to_thread(self._blobs.put_file, Path(draft.name))
        self._blobs.pin(blob)
        return blob

    async def blob_path(self, blob: bytes) -> Path | None:
        if not self._blobs.has(blob):
            return None
        return self._blobs.path(blob)


def _phase(record: TaskRecord, current: RoundRecord | None) -> str:
    if current is not None:
        return current.phase.name.lower()
    if record.status != TaskStatus.OPEN:
        return record.status.name.lower()
    lacking = record.spec.min_trainers - sum(member.standing == Standing.ACTIVE for member in record.members)
    if lacking > 0 and record.round < record.spec.rounds:
        return f"needs {lacking} more trainer{'s' if lacking > 1 else ''}"
    return "between rounds"
