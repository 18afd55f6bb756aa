"""The course of a devnet: order a task as a requester would, watch it to its end, fetch the model.

Everything said here is learnt from the members' APIs, or computed from blobs whose ids the
ledger names; accuracy is measured by a worker of our own on the validation split.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from potminer.base.errors import PotminerError
from potminer.devnet.plan import Member, Plan
from potminer.devnet.processes import Processes
from potminer.node.genesisfile import read_genesis
from potminer.node.taskfile import TaskFile
from potminer.train.weights import decode_model, encode_weights
from potminer.wire.control import ReceiptStatus, RoundView, TaskDetail, Until
from potminer.wire.genesis import chain_id
from potminer.wire.model import ModelSpec
from potminer.wire.task import TaskSpec, kept_beside, task_digest
from potminer.wire.trainer import Evaluated, EvaluateJob, Failed, Initialised, InitialiseJob
from potminer.wire.tx import Bond, RegisterTrainer, SubmitTask, Transaction, sign_transaction
from potminer.world.api.attach import Client
from potminer.world.child import Child, Launch
from potminer.world.keys import NODE_KEY, load_key
from potminer.world.paths import private_folder
from potminer.world.store.blobs import BlobStore

POLL_S = 0.3
STALL_S = 300.0
"""No round closed and none failed for so long: the devnet has failed."""
FEE = 1_000
BOND_MS = 10_000


@dataclass(slots=True)
class Score:
    """Accuracy and loss on the validation split after a round."""

    round: int
    accuracy_ppm: int
    loss_micro: int


@dataclass(slots=True)
class Course:
    """What is known of the run so far. *scores* follow the rounds a little later."""

    task: str = ""
    name: str = ""
    rounds_wanted: int = 0
    detail: TaskDetail | None = None
    scores: list[Score] = field(default_factory=list)
    started_s: float = 0.0
    ended_s: float = 0.0
    sent_bytes: dict[str, int] = field(default_factory=dict)
    commit_ms: tuple[int | None, int | None] = (None, None)
    height: int = 0
    view: int = 0
    peers: int = 0

    @property
    def rounds(self) -> list[RoundView]:
        """Closed rounds, oldest first."""
        return [] if self.detail is None else list(reversed(self.detail.rounds))

    @property
    def accepted(self) -> int:
        return sum(view.units.accepted for view in self.rounds)

    @property
    def rejected(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for view in self.rounds:
            for reason, count in view.units.rejected.items():
                found[reason] = found.get(reason, 0) + count
        return found


@asynccontextmanager
async def bench_worker(folder: Path) -> AsyncIterator[tuple[Child, BlobStore]]:
    """The requester's own worker and blobs: initial weights, accuracy after every round."""
    store = BlobStore(private_folder(folder / "requester"))
    async with Child(Launch(blobs=folder / "requester", device="cpu", threads=1)) as child:
        yield child, store


class Requester:
    """Orders one task on a running devnet and follows it. *tell* hears of every change."""

    def __init__(
        self, plan: Plan, processes: Processes, child: Child, blobs: BlobStore, tell: Callable[[Course], None]
    ) -> None:
        self._plan = plan
        self._processes = processes
        self._child = child
        self._blobs = blobs
        self._tell = tell
        self.course = Course()
        self._receipt = ""

    async def bond_trainers(self) -> None:
        """Register every trainer and bond what the genesis gave it, as its owner would: it begins with a stake that
        others have grown by work. Before any task is ordered, for then its node speaks for its key."""
        if not self._plan.trainer_bond:
            return
        node = await self._processes.face(self._plan.honest_validators[0])
        chain, said = chain_id(read_genesis(self._plan.genesis)), dict[str, str]()
        for member in self._plan.trainers:
            key = load_key(member.datadir / "keys" / NODE_KEY)
            account = await node.account(key.public)
            register = RegisterTrainer(member.payout or key.public)
            until = account.height + 10_000
            await node.submit(sign_transaction(Transaction(chain, key.public, account.nonce, 0, until, register), key))
            bonds = Transaction(chain, key.public, account.nonce + 1, FEE, until, Bond(self._plan.trainer_bond))
            said[member.name] = await node.submit(sign_transaction(bonds, key))
        for name, receipt in said.items():
            found = await node.receipt(receipt, wait_ms=BOND_MS, until=Until.DECIDED)
            if found.status is not ReceiptStatus.APPLIED:
                raise PotminerError(f"{name} could not bond: {found.reason or found.status}")

    async def order(self, task: TaskFile) -> TaskSpec:
        """Upload data and first weights to two validators, then escrow the budget."""
        model = await self._initialise(task.model, task.seed)
        train = await asyncio.to_thread(self._blobs.put_file, task.train)
        validation = await asyncio.to_thread(self._blobs.put_file, task.validation)
        spec = task.to_spec(train=train, validation=validation, initial_model=model)
        for member in self._plan.honest_validators[:2]:
            node = await self._processes.face(member)
            for blob in (train, validation, model):
                await node.put_blob(self._blobs.path(blob))
        node = await self._processes.face(self._plan.honest_validators[0])
        account = await node.account(self._plan.requester.public)
        chain = chain_id(read_genesis(self._plan.genesis))
        transaction = Transaction(
            chain, self._plan.requester.public, account.nonce, FEE, account.height + 10_000, SubmitTask(spec)
        )
        self.course.task = task_digest(spec, requester=transaction.sender, nonce=transaction.nonce).hex()
        self.course.name, self.course.rounds_wanted = spec.name, spec.rounds
        self.course.started_s = time.monotonic()
        self._receipt = await node.submit(sign_transaction(transaction, self._plan.requester))
        return spec

    async def follow(self, spec: TaskSpec) -> None:
        """Until the task is closed; PotminerError where it does not move any more."""
        scoring = asyncio.create_task(self._score_rounds(spec), name="scores")
        try:
            await self._watch()
            await scoring
        finally:
            scoring.cancel()

    async def _watch(self) -> None:
        moved_s, known = time.monotonic(), -1
        while True:
            detail = await self._detail()
            if detail is None:
                await self._check_receipt()
            else:
                self.course.detail = detail
                await self._measure()
                self._tell(self.course)
                if detail.task.status != "open":
                    self.course.ended_s = time.monotonic()
                    return
                if len(detail.rounds) != known:
                    moved_s, known = time.monotonic(), len(detail.rounds)
            if time.monotonic() - moved_s > STALL_S:
                raise PotminerError(
                    f"no round has closed for {STALL_S:.0f} s", f"The logs are below {self._plan.folder}."
                )
            await asyncio.sleep(POLL_S)

    async def _check_receipt(self) -> None:
        """PotminerError where the ledger refused the task: it would never begin."""
        node = await self._processes.face(self._plan.honest_validators[0])
        receipt = await node.receipt(self._receipt)
        if receipt.status is ReceiptStatus.REFUSED:
            raise PotminerError(f"the ledger refuses the task: {receipt.reason}", "See potminer task check.")

    async def _detail(self) -> TaskDetail | None:
        """From the first honest validator that answers: one of them may be down."""
        for member in self._plan.honest_validators:
            try:
                node = await self._processes.face(member)
                return await node.task(self.course.task)
            except PotminerError:
                continue
        return None

    async def _measure(self) -> None:
        for member in self._plan.members:
            try:
                chain = (await (await self._processes.face(member)).snapshot()).chain
            except PotminerError:
                continue
            self.course.sent_bytes[member.name] = chain.sent_bytes
            if member is self._plan.honest_validators[0]:
                self.course.commit_ms = (chain.commit_p50_ms, chain.commit_p99_ms)
                self.course.height, self.course.view, self.course.peers = chain.height, chain.view, chain.peers

    async def _score_rounds(self, spec: TaskSpec) -> None:
        """Score every round's model in turn; where we fall behind, the newest one only."""
        scored = 0
        while True:
            rounds = self.course.rounds
            ended = self.course.ended_s > 0
            if len(rounds) > scored and rounds[-1].model is not None:
                self.course.scores.append(await self._score(spec, len(rounds), rounds[-1].model))
                scored = len(rounds)
                self._tell(self.course)
            elif ended:
                return
            else:
                await asyncio.sleep(POLL_S)

    async def _score(self, spec: TaskSpec, number: int, model: str) -> Score:
        await self.fetch(model)
        job = EvaluateJob(self._child.next_job(), spec, bytes.fromhex(model))
        report = await self._child.request(job)
        if not isinstance(report, Evaluated):
            raise PotminerError(f"round {number}'s model could not be scored: {_why(report)}")
        return Score(number, report.accuracy_ppm, report.loss_micro)

    async def fetch(self, blob: str) -> Path:
        """A blob from whichever honest validator holds it, checked against its id."""
        path = self._blobs.path(bytes.fromhex(blob))
        if self._blobs.has(bytes.fromhex(blob)):
            return path
        draft = self._blobs.folder / f"{blob}.draft"
        for member in self._plan.honest_validators:
            try:
                await (await self._processes.face(member)).get_blob(blob, draft)
            except PotminerError:
                continue
            found = await asyncio.to_thread(self._blobs.put_file, draft)
            draft.unlink()
            if found.hex() != blob:
                raise PotminerError(f"{member.name} served another blob for {blob[:12]}")
            return path
        raise PotminerError(f"no honest validator holds blob {blob[:12]}")

    async def save_model(self, spec: TaskSpec, target: Path) -> Path:
        """Write the weights to *target*; an outer momentum that travelled with them is left out."""
        detail = self.course.detail
        if detail is None or detail.task.model is None:
            raise PotminerError("the task has no model")
        await asyncio.to_thread(_save_weights, spec, await self.fetch(detail.task.model), target)
        return target

    async def _initialise(self, model: ModelSpec, seed: int) -> bytes:
        report = await self._child.request(InitialiseJob(self._child.next_job(), model, seed))
        if not isinstance(report, Initialised):
            raise PotminerError(
                f"the first weights could not be made: {_why(report)}", "Install potminer with the extra `train`."
            )
        return report.model


def _save_weights(spec: TaskSpec, source: Path, target: Path) -> None:
    model = decode_model(spec.model, source.read_bytes(), beside=kept_beside(spec))
    target.write_bytes(encode_weights(spec.model, model.weights))


def _why(report: object) -> str:
    return f"{report.reason}: {report.detail}" if isinstance(report, Failed) else repr(report)


async def wallet_of(node: Client, member: Member) -> int:
    """Grains paid to *member*'s payout account, and those kept as its bond."""
    if member.payout is None:
        return 0
    return (await node.account(member.payout)).balance + (await node.account(member.key)).bond
