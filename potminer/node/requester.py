"""The requester's side: order a task at a node's API, cancel it, and take its model home.

A node is asked, never believed: a transaction's outcome and the models are proven by the
light client, and every blob is checked against its id.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from potminer.base.blobs import PIECE_BYTES, blob_id_from_pieces, piece_digests
from potminer.base.errors import PotminerError, UsageError
from potminer.core.light.trust import Terms, from_genesis
from potminer.node.courier import Courier
from potminer.node.follower import Follower
from potminer.node.taskfile import TaskFile
from potminer.train.weights import decode_model, encode_weights, initial_weights
from potminer.wire import record as records
from potminer.wire.genesis import Genesis, chain_id
from potminer.wire.record import TaskRecord
from potminer.wire.seal import SigningKey
from potminer.wire.task import TaskSpec, kept_beside, task_digest
from potminer.wire.tx import Body, CancelTask, SubmitTask, Transaction, sign_transaction
from potminer.world.api.attach import Client

EXPIRES_BLOCKS = 1_000
"""A transaction that no block took by then is void: it cannot come back to surprise its sender."""
WITHIN_S = 60.0
PROOF_WAITS, PROOF_WAIT_S = 60, 0.25

Tell = Callable[[str], None]
"""Hears what is being done, in a few words."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A model at home. A quorum vouched that it was the task's when *round* rounds had closed."""

    path: Path
    round: int


class Requester:
    """*key* signs and pays; None can only look and fetch."""

    def __init__(
        self, node: Client, genesis: Genesis, key: SigningKey | None = None, tell: Tell = lambda _: None
    ) -> None:
        self._node = node
        self._genesis = genesis
        self._follower = Follower(from_genesis(genesis), Terms(), clock=_now_ms)
        self._key = key
        self._tell = tell

    async def order(self, task: TaskFile) -> bytes:
        """Upload data and first weights, escrow the budget; the task's id once the ledger has taken it."""
        with tempfile.TemporaryDirectory(prefix="potminer-order-") as folder:
            first = Path(folder) / "weights.safetensors"
            weights = await asyncio.to_thread(initial_weights, task.model, seed=task.seed)
            await asyncio.to_thread(first.write_bytes, encode_weights(task.model, weights))
            blobs = [await self._upload(path) for path in (task.train, task.validation, first)]
        spec = task.to_spec(train=blobs[0], validation=blobs[1], initial_model=blobs[2])
        self._tell("escrowing the budget")
        sent = await self._say(SubmitTask(spec))
        return task_digest(spec, requester=sent.sender, nonce=sent.nonce)

    async def cancel(self, task: bytes) -> None:
        """End *task* after its round in progress; what is left of the escrow comes back."""
        await self._say(CancelTask(task))

    async def record(self, task: bytes) -> TaskRecord:
        """The task as a quorum vouches for it."""
        key = records.task_key(task)
        record = (await self._follower.facts(self._node, [key]))[0].record(TaskRecord)
        if record is None:
            raise UsageError(f"the ledger knows no task {task.hex()[:12]}", "See potminer task list.")
        return record

    async def fetch(self, task: bytes, folder: Path, *, round: int | None = None) -> Taken:
        """Write ``model.safetensors`` and ``config.json`` of the newest round, or after *round* rounds, to *folder*."""
        record = await self._newest(task)
        wanted = record.round if round is None else round
        model = record.model if wanted == record.round else await self._older(task, record, wanted)
        self._tell("fetching the model")
        data = await self._download(model)
        weights = await asyncio.to_thread(_weights, record.spec, data)
        path = folder / "model.safetensors"
        await asyncio.to_thread(_write_whole, path, weights)
        config = {"task": task.hex(), "round": wanted, "model_id": model.hex(), **_config(record.spec)}
        await asyncio.to_thread(_write_whole, folder / "config.json", json.dumps(config, indent=2).encode() + b"\n")
        return Taken(path, wanted)

    async def _newest(self, task: bytes) -> TaskRecord:
        """The task as it can be proven, once that is as new as the node says it is: a proof is a block behind, and
        without work the next block is up to 5 s away."""
        said = (await self._node.task(task.hex())).task.round
        for _ in range(PROOF_WAITS):
            record = await self.record(task)
            if record.round >= said:
                return record
            await asyncio.sleep(PROOF_WAIT_S)
        raise PotminerError(f"the node speaks of round {said} and proves {record.round} only", "Ask another node.")

    # ---- inside ---------------------------------------------------------------------------

    async def _older(self, task: bytes, record: TaskRecord, wanted: int) -> bytes:
        if wanted == 0:
            return record.spec.initial_model
        if wanted > record.round:
            raise UsageError(f"round {wanted} has not closed", f"{record.round} have.")
        return await self._follower.model(self._node, task, wanted)

    async def _upload(self, path: Path) -> bytes:
        own, size = await asyncio.to_thread(_file_id, path)
        self._tell(f"uploading {path.name}, {size:,} bytes")
        if bytes.fromhex(await self._node.put_blob(path)) != own:
            raise PotminerError(f"the node has kept something else than {path}", "Ask another node.")
        return own

    async def _download(self, blob: bytes) -> bytes:
        with tempfile.TemporaryDirectory(prefix="potminer-fetch-") as folder:
            target = Path(folder) / "blob"
            await self._node.get_blob(blob.hex(), target)
            if (await asyncio.to_thread(_file_id, target))[0] != blob:
                raise PotminerError("the node has sent another blob than was asked for", "Ask another node.")
            return await asyncio.to_thread(target.read_bytes)

    async def _say(self, body: Body) -> Transaction:
        """Sign *body*, send it, wait until its outcome is proven. PotminerError with the ledger's reason."""
        if self._key is None:
            raise UsageError("this needs a key that pays", "Name one with --key.")
        account = await self._node.account(self._key.public)
        transaction = Transaction(
            chain_id(self._genesis), self._key.public, account.nonce, self._genesis.parameters.minimum_fee,
            account.height + EXPIRES_BLOCKS, body,
        )
        courier = Courier((self._node.address,), self._follower)
        delivered = await courier.send(sign_transaction(transaction, self._key), within_s=WITHIN_S)
        if delivered.fate.refusal is not None:
            raise PotminerError(f"the ledger refuses: {delivered.fate.refusal}", "See potminer task check.")
        return transaction


def _weights(spec: TaskSpec, data: bytes) -> bytes:
    model = decode_model(spec.model, data, beside=kept_beside(spec))
    return encode_weights(spec.model, model.weights)


def _config(spec: TaskSpec) -> dict[str, object]:
    """What somebody needs to build the network that the weights are for."""
    model = msgspec.to_builtins(spec.model)
    named = dict(zip(spec.model.__struct_fields__, model[1:], strict=True)) if isinstance(model, list) else model
    return {
        "name": spec.name, "architecture": type(spec.model).__name__.lower(), "model": named,
        "objective": spec.objective, "input_shape": list(spec.data.shape), "format": "safetensors float32",
    }


def _file_id(path: Path) -> tuple[bytes, int]:
    """Content id and size of a file, a piece in memory at a time."""
    digests: list[bytes] = []
    size = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digests += piece_digests(piece)
            size += len(piece)
    return blob_id_from_pieces(digests or piece_digests(b""), size=size), size


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(data)
    draft.replace(path)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
