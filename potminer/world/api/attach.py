"""The other side of the door: how the CLI, the dashboard and devnet speak to a node."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import aiohttp

from potminer.base.address import encode_address
from potminer.base.errors import Malformed, NotPermitted, PotminerError, Unreachable, UsageError
from potminer.wire.answers import (
    Accepted,
    ChainStatus,
    DayView,
    EarningsDetail,
    HandedIn,
    LogLevel,
    LogTail,
    NetworkView,
    SettingsView,
    StoredBlob,
    TaskList,
    UnitList,
)
from potminer.wire.codec import decode, encode
from potminer.wire.control import (
    REPLY_BYTES,
    SNAPSHOT_BYTES,
    AccountView,
    Command,
    ReceiptView,
    Refusal,
    Snapshot,
    TaskDetail,
    TaskView,
    UnitOutcome,
    Until,
    from_json,
    to_json,
)
from potminer.wire.genesis import GENESIS_BYTES, Genesis
from potminer.wire.proof import PROOF_BYTES, Epochs, Headers, Shown
from potminer.wire.tx import Batch, SignedTransaction
from potminer.world.api.address import Address, UnixAddress, WebAddress, parse_address
from potminer.world.api.lockfile import read_note
from potminer.world.api.token import check_owner, read_token
from potminer.world.paths import Paths

_REPLY_S = 10.0
_CHUNK_BYTES = 1_048_576
_SILENCE_S = 60.0
"""A stream that says nothing for so long is dead: the server pings every 20 s."""

T = TypeVar("T")


class NotFound(PotminerError):
    """The node answered that it knows no such thing."""


def find(paths: Paths) -> Address:
    """Where the daemon of *paths* listens; Unreachable where none does."""
    note = read_note(paths.lock)
    if note is not None and note.address:
        try:
            return parse_address(note.address)
        except Malformed as error:
            raise Unreachable(f"{paths.lock} is damaged: {error}", "Restart the daemon.") from error
    if sys.platform != "win32" and paths.socket.is_socket():
        return UnixAddress(paths.socket)
    raise Unreachable(f"no potminer daemon runs for {paths.datadir}", "Start it with `potminer run`.")


class Client:
    """One node's API. Use it as ``async with Client(address) as node``.

    Raises Unreachable where nobody answers, NotPermitted where the socket or cookie is not ours
    alone, NotFound, and PotminerError with the node's own words for every other refusal.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session: aiohttp.ClientSession | None = None

    @property
    def address(self) -> Address:
        return self._address

    async def __aenter__(self) -> Client:
        headers = {}
        if isinstance(self._address, UnixAddress):
            _check_private(self._address.path)
            connector: aiohttp.BaseConnector = aiohttp.UnixConnector(path=str(self._address.path), limit=16)
            self._base = "http://localhost"
        else:
            secret = self._address.token if isinstance(self._address, WebAddress) else self._address.cookie
            headers["Authorization"] = f"Bearer {read_token(secret)}"
            connector = aiohttp.TCPConnector(limit=16)
            self._base = self._address.url if isinstance(self._address, WebAddress) else self._address.base
        timeout = aiohttp.ClientTimeout(total=_REPLY_S)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # ---- photographs and letters ---------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        return await self._ask(Snapshot, "GET", "/v1/snapshot")

    async def watch(self) -> AsyncGenerator[Snapshot, None]:
        """Photographs until the node goes away; then Unreachable."""
        try:
            async with self._open().ws_connect(
                self._base + "/v1/stream", max_msg_size=SNAPSHOT_BYTES, autoping=True
            ) as stream:
                while True:
                    message = await stream.receive(timeout=_SILENCE_S)
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        raise self._gone("the node closed the stream")
                    yield self._read(Snapshot, message.data, SNAPSHOT_BYTES)
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 403:
                raise NotPermitted("the node refused this face", "Check the owner of its socket or cookie.") from error
            raise PotminerError(f"the node refused the stream (HTTP {error.status})") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._gone(str(error)) from error

    async def command(self, command: Command) -> None:
        await self._ask(Accepted, "POST", "/v1/commands", data=to_json(command))

    # ---- the ledger ----------------------------------------------------------------------

    async def submit(self, transaction: SignedTransaction) -> str:
        """Hex digest under which the receipt will be found."""
        return (await self.post(transaction)).transaction

    async def post(
        self, transaction: SignedTransaction, *, wait_ms: int = 0, until: Until = Until.INCLUDED
    ) -> ReceiptView:
        """Submit, and wait up to *wait_ms* (at most 10,000) for what *until* says. The same again is the same once."""
        query = {"wait_ms": str(wait_ms), "until": until.value}
        return await self._ask(
            ReceiptView, "POST", "/v1/transactions", wait_ms=wait_ms, data=encode(transaction), params=query
        )

    async def submit_all(self, transactions: Sequence[SignedTransaction]) -> HandedIn:
        """Many at once, at most ``limits.BATCH_TRANSACTIONS``; what became of each, in their order."""
        batch = Batch(tuple(signed.encoded for signed in transactions))
        return await self._ask(HandedIn, "POST", "/v1/transactions/batch", data=encode(batch))

    async def receipt(self, transaction: str, *, wait_ms: int = 0, until: Until = Until.INCLUDED) -> ReceiptView:
        query = {"wait_ms": str(wait_ms), "until": until.value}
        return await self._ask(
            ReceiptView, "GET", f"/v1/transactions/{transaction}", wait_ms=wait_ms, params=query
        )

    async def chain(self) -> ChainStatus:
        return await self._ask(ChainStatus, "GET", "/v1/chain")

    async def genesis(self) -> Genesis:
        return await self._ask_bytes(Genesis, "/v1/genesis", GENESIS_BYTES)

    async def headers(self, first: int, count: int) -> Headers:
        return await self._ask_bytes(Headers, "/v1/headers", PROOF_BYTES, first=str(first), count=str(count))

    async def epochs(self, first: int, count: int) -> Epochs:
        return await self._ask_bytes(Epochs, "/v1/epochs", PROOF_BYTES, first=str(first), count=str(count))

    async def model_proof(self, task: bytes, round: int) -> Shown:
        """NotFound where the node keeps none."""
        return await self._ask_bytes(Shown, f"/v1/tasks/{task.hex()}/models/{round}", PROOF_BYTES)

    async def show(self, keys: Sequence[bytes], *, height: int | None = None) -> Shown:
        """Proofs of *keys* after block *height*, without it after the newest that can be proven."""
        query = {"keys": ",".join(key.hex() for key in keys), **({} if height is None else {"height": str(height)})}
        return await self._ask_bytes(Shown, "/v1/proofs", PROOF_BYTES, **query)

    async def account(self, key: bytes) -> AccountView:
        return await self._ask(AccountView, "GET", f"/v1/accounts/{encode_address(key)}")

    async def tasks(self) -> tuple[TaskView, ...]:
        return (await self._ask(TaskList, "GET", "/v1/tasks")).tasks

    async def task(self, task: str) -> TaskDetail:
        return await self._ask(TaskDetail, "GET", f"/v1/tasks/{task}")

    async def units(self, *, last: int, task: str | None = None) -> tuple[UnitOutcome, ...]:
        """This rig's newest units, newest first."""
        query = {"last": str(last), **({} if task is None else {"task": task})}
        return (await self._ask(UnitList, "GET", "/v1/why", params=query)).units

    async def unit(self, task: str, *, round: int, slot: int) -> UnitOutcome:
        query = {"task": task, "round": str(round), "slot": str(slot)}
        found = (await self._ask(UnitList, "GET", "/v1/why", params=query)).units
        if not found:
            raise NotFound("the node knows no such unit")
        return found[0]

    # ---- what else a face shows ----------------------------------------------------------

    async def network(self) -> NetworkView:
        return await self._ask(NetworkView, "GET", "/v1/peers")

    async def earnings(self, *, units: int = 50) -> EarningsDetail:
        """Days, tasks and this rig's newest *units* (at most 200)."""
        return await self._ask(EarningsDetail, "GET", "/v1/earnings", params={"units": str(units)})

    async def log(self, *, after: int = 0, last: int = 200, level: LogLevel = LogLevel.DEBUG) -> LogTail:
        query = {"after": str(after), "last": str(last), "level": level.value}
        return await self._ask(LogTail, "GET", "/v1/logs", params=query)

    async def settings(self) -> SettingsView:
        return await self._ask(SettingsView, "GET", "/v1/settings")

    async def day(self) -> DayView:
        return await self._ask(DayView, "GET", "/v1/day")

    # ---- blobs ---------------------------------------------------------------------------

    async def put_blob(self, path: Path) -> str:
        """Upload a file; its hex id."""
        if not await asyncio.to_thread(path.is_file):
            raise UsageError(f"{path} is not a file", "Name a file to upload.")
        reply = await self._ask(StoredBlob, "PUT", "/v1/blobs", data=_file_chunks(path), patient=True)
        return reply.blob

    async def get_blob(self, blob: str, target: Path) -> None:
        """Download a blob to *target*, which appears only when it is whole. Its id is not checked here."""
        part = target.with_name(target.name + ".part")
        timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_S)
        try:
            async with self._open().get(f"{self._base}/v1/blobs/{blob}", timeout=timeout) as reply:
                await self._raise_refusal(reply)
                with part.open("wb") as file:
                    async for chunk in reply.content.iter_chunked(_CHUNK_BYTES):
                        await asyncio.to_thread(file.write, chunk)
            part.replace(target)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise self._gone(str(error)) from error
        finally:
            part.unlink(missing_ok=True)

    # ---- one request ---------------------------------------------------------------------

    async def _ask(
        self, kind: type[T], method: str, path: str, *, patient: bool = False, wait_ms: int = 0, **how: Any
    ) -> T:
        total = None if patient else _REPLY_S + wait_ms / 1000
        timeout = aiohttp.ClientTimeout(total=total, sock_read=_SILENCE_S if patient else None)
        return self._read(kind, await self._fetch(method, path, REPLY_BYTES, timeout=timeout, **how), REPLY_BYTES)

    async def _ask_bytes(self, kind: type[T], path: str, max_bytes: int, **query: str) -> T:
        data = await self._fetch("GET", path, max_bytes, params=query)
        try:
            return decode(kind, data, max_bytes=max_bytes)
        except Malformed as error:
            raise self._not_understood(error) from error

    async def _fetch(self, method: str, path: str, max_bytes: int, **how: Any) -> bytes:
        try:
            async with self._open().request(method, self._base + path, **how) as reply:
                await self._raise_refusal(reply)
                return await _bounded(reply, max_bytes)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._gone(str(error)) from error

    async def _raise_refusal(self, reply: aiohttp.ClientResponse) -> None:
        if reply.status < 400:
            return
        try:
            refusal: Refusal = from_json(Refusal, await _bounded(reply, REPLY_BYTES), max_bytes=REPLY_BYTES)
        except Malformed:
            raise PotminerError(f"the node answered HTTP {reply.status}", "Its log says more.") from None
        kind = {400: UsageError, 403: NotPermitted, 404: NotFound, 503: Unreachable}.get(reply.status, PotminerError)
        raise kind(refusal.error.what, refusal.error.hint)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise AssertionError("a client is used inside its async with")
        return self._session

    def _read(self, kind: type[T], data: bytes | str, max_bytes: int) -> T:
        try:
            value: T = from_json(kind, data, max_bytes=max_bytes)
        except Malformed as error:
            raise self._not_understood(error) from error
        return value

    def _not_understood(self, error: Malformed) -> PotminerError:
        hint = "Use the same version of potminer for the daemon and its faces."
        return PotminerError(f"the node's answer is not understood: {error}", hint)

    def _gone(self, detail: str) -> Unreachable:
        where = str(self._address).partition(" ")[0].removeprefix("unix:").removeprefix("http://")
        return Unreachable(f"the daemon at {where} does not answer: {detail or 'no reply'}", "Is `potminer run` alive?")


async def _bounded(reply: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_chunked(65_536):
        body += chunk
        if len(body) > max_bytes:
            raise aiohttp.ClientPayloadError(f"more than {max_bytes} bytes")
    return bytes(body)


async def _file_chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk


def _check_private(path: Path) -> None:
    """A socket that others may open, or that another user planted, is not spoken to."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise Unreachable(f"no daemon listens on {path}", "Start it with `potminer run`.") from error
    except PermissionError as error:
        raise NotPermitted(f"{path} belongs to another user", "Run as the user of the daemon.") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise Unreachable(f"{path} is not a socket", "Give the path of the node's api.sock.")
    check_owner(path, found)
