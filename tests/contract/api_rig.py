"""A small Backend for the API's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

from potminer.base.address import encode_address
from potminer.base.blobs import blob_id
from potminer.base.errors import UsageError
from potminer.wire.answers import ChainStatus, Handed, HandedIn
from potminer.wire.block import Certificate, Header, block_digest
from potminer.wire.codec import encode
from potminer.wire.control import (
    AccountView,
    ChainView,
    Command,
    ControlView,
    EarningsView,
    Outcome,
    ReceiptStatus,
    ReceiptView,
    SetPayout,
    Snapshot,
    TaskDetail,
    TaskView,
    UnitOutcome,
    Until,
)
from potminer.wire.genesis import Genesis, GenesisValidator, Parameters
from potminer.wire.proof import CertifiedHeader, Epochs, Headers, Shown, StateProof
from potminer.wire.seal import SigningKey
from potminer.wire.tx import SignedTransaction, transaction_digest

NOW = 1_780_000_000_000
KEY = SigningKey(bytes(32))
GENESIS = Genesis("devnet", NOW, Parameters(), (GenesisValidator(KEY.public, 1, bytes(32)),), (), bytes(32))
HEADER = Header(bytes(32), 7, 0, bytes(32), bytes(32), KEY.public, NOW, bytes(32))
CERTIFIED = CertifiedHeader(HEADER, Certificate(3, 0, 7, 0, block_digest(HEADER), ((0, bytes(64)),)))
TASK = "1f2e3d4c" * 8


def photograph(height: int) -> Snapshot:
    return Snapshot(
        taken_ms=NOW,
        agent="potminer/0.1.0",
        network="devnet",
        rig="rig-07",
        node=encode_address(KEY.public),
        control=ControlView(),
        earnings=EarningsView(today=0, pending=0, paid=0, total=5 * 10**9),
        chain=ChainView(height=height, view=0, epoch=0, peers=3, validators=4, role="validator", state_root="0" * 64),
    )


def outcome(slot: int) -> UnitOutcome:
    return UnitOutcome(
        task=TASK, task_name="digits", round=3, slot=slot, trainer=encode_address(KEY.public),
        outcome=Outcome.REJECTED, reason="out-of-tolerance", measured_ppm=44_000, allowed_ppm=10, height=9,
    )  # fmt: skip


class Rig:
    """A small Backend that keeps what it is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[Command] = []
        self.transactions: dict[bytes, SignedTransaction] = {}
        self.photographs: asyncio.Queue[Snapshot] = asyncio.Queue()
        self.watchers = 0
        self.waiting = 0
        self.certified = asyncio.Event()

    async def snapshot(self) -> Snapshot:
        return photograph(7)

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        self.watchers += 1
        try:
            yield photograph(7)
            while True:
                yield await self.photographs.get()
        finally:
            self.watchers -= 1

    async def command(self, command: Command) -> None:
        if isinstance(command, SetPayout):
            raise UsageError("that is not an address", "It starts with pot1.")
        self.commands.append(command)

    async def submit(self, transaction: SignedTransaction, *, wait_ms: int, until: Until) -> ReceiptView:
        name = transaction_digest(transaction.transaction)
        self.transactions[name] = transaction
        return ReceiptView(transaction=name.hex(), status=ReceiptStatus.WAITING)

    async def submit_all(self, transactions: Sequence[SignedTransaction]) -> HandedIn:
        names = [transaction_digest(signed.transaction) for signed in transactions]
        self.transactions.update(zip(names, transactions, strict=True))
        return HandedIn(transactions=tuple(Handed(transaction=name.hex()) for name in names))

    async def receipt(self, transaction: bytes, *, wait_ms: int, until: Until) -> ReceiptView | None:
        if transaction not in self.transactions:
            return None
        if wait_ms:
            self.waiting += 1
            await self.certified.wait()
        return ReceiptView(transaction=transaction.hex(), status=ReceiptStatus.WAITING)

    async def genesis(self) -> bytes:
        return encode(GENESIS)

    async def chain(self) -> ChainStatus:
        return ChainStatus(
            taken_ms=NOW, network="devnet", chain="0" * 64, rules=1, height=7, digest="1" * 64, epoch=0, time_ms=NOW,
            state_root="2" * 64, provable_last=6,
        )  # fmt: skip

    async def headers(self, first: int, count: int) -> Headers:
        return Headers((CERTIFIED,) * min(count, 2))

    async def epochs(self, first: int, count: int) -> Epochs:
        return Epochs((Shown(CERTIFIED, (StateProof((), (b"K", b"value")),)),) * min(count, 2))

    async def model(self, task: bytes, round: int) -> Shown | None:
        return Shown(CERTIFIED, (StateProof((), (b"k" + task, b"value")),)) if round else None

    async def show(self, keys: Sequence[bytes], height: int | None) -> Shown:
        if height is not None and height > 6:
            raise UsageError("too high", "This node can prove the state after blocks 1 to 6.")
        return Shown(CERTIFIED, tuple(StateProof((), (key, b"value")) for key in keys))

    async def account(self, key: bytes) -> AccountView:
        return AccountView(address=encode_address(key), balance=9, pending=1, bond=0, nonce=2, height=7)

    async def tasks(self) -> tuple[TaskView, ...]:
        view = TaskView(
            task=TASK, name="digits", requester=encode_address(KEY.public), status="open", round=3, rounds=9,
            phase="commit", trainers=3, escrow=5, price_per_unit=1,
        )  # fmt: skip
        return (view,)

    async def task(self, task: bytes) -> TaskDetail | None:
        return TaskDetail(task=(await self.tasks())[0]) if task.hex() == TASK else None

    async def units(self, task: bytes | None, last: int) -> tuple[UnitOutcome, ...]:
        return tuple(outcome(slot) for slot in range(2))

    async def unit(self, task: bytes, *, round: int, slot: int) -> UnitOutcome | None:
        return outcome(slot) if (task.hex(), round) == (TASK, 3) else None

    async def put_blob(self, chunks: AsyncIterator[bytes]) -> bytes:
        data = b"".join([chunk async for chunk in chunks])
        name = blob_id(data)
        (self.folder / name.hex()).write_bytes(data)
        return name

    async def blob_path(self, blob: bytes) -> Path | None:
        path = self.folder / blob.hex()
        return path if path.is_file() else None
